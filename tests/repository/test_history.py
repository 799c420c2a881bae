"""The history of a .git folder is what git itself says, loose or packed, and nothing of git is run to read it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.errors import NotFoundError
from filiation.repository import open as open_repository
from filiation.repository.gitobjects import GitError, ObjectStore, apply_delta
from filiation.repository.history import read_history
from filiation.repository.identity import git_id

GIT = shutil.which("git")
needs_git = pytest.mark.skipif(GIT is None, reason="git is not on this machine")
FIXED = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "c",
    "GIT_COMMITTER_EMAIL": "c@example.org",
}


def git(folder: Path, *arguments: str, when: str = "") -> str:
    dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when} if when else {}
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **FIXED, **dates}
    )
    return done.stdout


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A history of twelve commits and a merge, with files that change a little each time."""
    folder = tmp_path / "model"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    choose = random.Random(1)
    lines = [f"line {n} {choose.random()}" for n in range(400)]
    for number in range(12):
        lines[choose.randrange(400)] = f"changed in {number}"
        (folder / "modeling.py").write_text("\n".join(lines))
        (folder / "deep" / "er").mkdir(parents=True, exist_ok=True)
        (folder / "deep" / "er" / f"{number}.txt").write_text(str(number))
        if number == 6:
            (folder / "deep" / "er" / "2.txt").unlink()
        git(folder, "add", "-A")
        when = f"2024-05-{10 + number:02d}T12:00:00 -0700"
        git(folder, "commit", "-q", "-m", f"commit {number}\n\nwith a body", when=when)
    git(folder, "checkout", "-q", "-b", "side", "HEAD~3")
    (folder / "side.md").write_text("beside")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "beside", when="2024-05-25T12:00:00 +0530")
    git(folder, "checkout", "-q", "main")
    git(folder, "merge", "-q", "--no-ff", "-m", "merged", "side", when="2024-05-26T12:00:00 +0000")
    return folder


@needs_git
@pytest.mark.parametrize("packed", [False, True])
def test_the_history_is_what_git_says(made: Path, packed: bool) -> None:
    if packed:
        git(made, "gc", "-q", "--aggressive", "--prune=now")
        assert not (made / ".git/refs/heads/main").exists()
        assert list((made / ".git/objects/pack").glob("*.pack"))
    said = [line.split("\t") for line in git(made, "log", "--format=%H%x09%aI%x09%cI%x09%s").splitlines()]
    found = open_repository(str(made))
    assert {(c.id, c.authored, c.committed, c.subject) for c in found.commits} == {tuple(s) for s in said}
    assert found.revision == git(made, "rev-parse", "HEAD").strip()
    assert found.commits[0].subject == "merged"
    for commit in found.commits:
        listed = git(
            made, "show", "--first-parent", "-m", "--name-only", "--no-renames", "--format=", commit.id
        )
        assert set(commit.paths) == set(listed.split())
    assert found.notes == ()


@needs_git
def test_a_file_as_it_was(made: Path) -> None:
    git(made, "gc", "-q", "--aggressive", "--prune=now")
    found = open_repository(str(made))
    assert found.at is not None
    for commit in found.commits:
        was = subprocess.run(
            ["git", "-C", str(made), "show", f"{commit.id}:modeling.py"], capture_output=True, check=True
        ).stdout
        assert found.at(commit.id, "modeling.py") == was
    with pytest.raises(NotFoundError, match="no file"):
        found.at(found.commits[0].id, "deep/er/2.txt")
    with pytest.raises(NotFoundError):
        found.at("0" * 40, "modeling.py")


@needs_git
def test_ids_of_files_are_those_of_git(made: Path) -> None:
    listed = dict(line.split()[2:4][::-1] for line in git(made, "ls-tree", "-r", "HEAD").splitlines())
    found = open_repository(str(made))
    assert {path: file.git_id for path, file in found.files.items()} == listed


@needs_git
def test_no_hook_and_no_configuration_is_run(made: Path) -> None:
    """Hooks, a pager, a file-system monitor: none leaves its mark."""
    mark = made.parent / "ran"
    for name in ("post-checkout", "fsmonitor", "pre-commit", "reference-transaction"):
        hook = made / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
        hook.chmod(0o755)
    with (made / ".git/config").open("a") as file:
        file.write(f'[core]\n\tfsmonitor = "touch {mark}"\n\tpager = "touch {mark}"\n')
    assert open_repository(str(made)).commits
    assert not mark.exists()


@needs_git
def test_a_damaged_object_cuts_the_history_and_says_so(made: Path) -> None:
    second = git(made, "rev-parse", "HEAD~2").strip()
    loose = made / ".git/objects" / second[:2] / second[2:]
    loose.chmod(0o644)
    loose.write_bytes(b"no zlib at all")
    found = open_repository(str(made))
    assert (".git", "history_incomplete") in found.notes
    assert 0 < len(found.commits) < 14


@needs_git
def test_a_shallow_clone_says_so(made: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{made}", "copy")
    found = open_repository(str(tmp_path / "copy"))
    assert len(found.commits) == 1
    assert found.commits[0].paths == ()  # its parent is not there: what it changed cannot be told
    assert (".git", "history_shallow") in found.notes


def test_a_git_file_and_alternates_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /somewhere/else")
    assert read_history(tmp_path / ".git").notes == ((".git", "history_elsewhere"),)


@pytest.mark.parametrize(
    "head", ["", "ref: ../../etc/passwd", "ref: refs/heads/../../../x", "garbage", "a" * 5_000]
)
def test_a_head_that_leads_nowhere(tmp_path: Path, head: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text(head)
    found = read_history(tmp_path / ".git")
    assert found.commits == ()
    assert found.notes == ((".git", "history_unreadable"),)


def test_an_empty_repository_has_no_history(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text("ref: refs/heads/main\n")
    assert read_history(tmp_path / ".git").commits == ()


def _store(folder: Path, kind: bytes, body: bytes) -> str:
    data = kind + b" %d\0" % len(body) + body
    number = git_id(body) if kind == b"blob" else __import__("hashlib").sha1(data).hexdigest()
    path = folder / number[:2] / number[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zlib.compress(data))
    return number


def test_a_bomb_is_not_inflated(tmp_path: Path) -> None:
    bomb = tmp_path / "aa" / ("b" * 38)
    bomb.parent.mkdir()
    bomb.write_bytes(zlib.compress(b"blob 999999999\0" + bytes(200 << 20), 9))
    with pytest.raises(GitError):
        ObjectStore(tmp_path).get("aa" + "b" * 38)


def test_a_tree_that_holds_itself_in_name_only(tmp_path: Path) -> None:
    """Absurd times and damaged trees end in a note, not in an exception."""
    objects = tmp_path / ".git/objects"
    tree = _store(objects, b"tree", b"100644 x")
    commit = _store(
        objects,
        b"commit",
        f"tree {tree}\nauthor a <a> 99999999999 +0000\ncommitter c <c> 1 +9900\n\nhello".encode(),
    )
    (tmp_path / ".git/HEAD").write_text(commit)
    found = read_history(tmp_path / ".git")
    assert (".git", "history_incomplete") in found.notes


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_deltas_never_do_anything_but_fail_or_fit(base: bytes, delta: bytes) -> None:
    with contextlib.suppress(GitError):
        assert isinstance(apply_delta(base, delta), bytes)


@given(st.binary(min_size=1, max_size=100))
def test_a_delta_that_inserts_everything(data: bytes) -> None:
    assert apply_delta(b"", bytes([0, len(data), len(data)]) + data) == data
