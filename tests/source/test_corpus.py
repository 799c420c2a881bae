"""The corpus: built, stored, loaded, shipped; no code in it."""

from __future__ import annotations

import io
import lzma
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from filiation.errors import CorruptCheckpointError, InputError, UnsupportedFormatError
from filiation.source import headers, load
from filiation.source.corpus import Entry, build_wheel, dump, load_file
from filiation.source.corpus import load as load_bytes
from filiation.source.corpus.pinned import SHIPPED
from filiation.source.corpus.store import shipped
from filiation.source.features import features
from tests.source.examples import HEAD, MODEL, OTHER, corpus, renamed

MOST_SHIPPED = 3 * 2**20


def test_what_is_stored_is_what_is_loaded() -> None:
    source = corpus(example=HEAD + MODEL, other=OTHER)
    (again,) = load_bytes(dump(source), "c")
    assert dump(again) == dump(source)
    assert (again.name, again.released) == ("transformers 0.1", "2021-05-01")
    for number, entry in enumerate(source.entries):
        a, b = source.print_of(number), again.print_of(number)
        assert again.entries[number].path == entry.path
        assert again.entries[number].header.holders == entry.header.holders
        assert a.definitions == b.definitions
        assert a.plain == b.plain
        for field in ("digests", "sizes", "first", "names"):
            assert np.array_equal(getattr(a.statements, field), getattr(b.statements, field))
        assert np.array_equal(a.features, b.features)
        assert np.array_equal(a.weights, b.weights)


def test_releases_in_one_file_share_what_did_not_change() -> None:
    first = corpus(example=HEAD + MODEL, other=OTHER)
    second = corpus(example=HEAD + renamed(MODEL, Example_="Later"), other=OTHER)
    together = dump(first, second)
    assert len(together) < 0.8 * (len(dump(first)) + len(dump(second)))
    again = load_bytes(together, "c")
    assert [dump(r) for r in again] == [dump(first), dump(second)]
    for each in again:
        assert each.features_of is not None
        for number in range(len(each.entries)):
            quick, whole = each.features_of(number), features(each.print_of(number))
            assert np.array_equal(quick[0], whole[0])
            assert np.array_equal(quick[1], whole[1])


def test_a_work_that_was_moved_to_deprecated_is_the_same_work() -> None:
    paths = ("transformers/models/deprecated/x/modeling_x.py", "transformers/models/x/modeling_x.py")
    assert len({Entry(path, headers.read(""), (), False).work for path in paths}) == 1


def test_no_code_and_no_name_of_a_variable_is_stored() -> None:
    raw = lzma.decompress(dump(corpus(example=HEAD + MODEL)))
    assert b"ExampleAttention" in raw  # the name of a definition is a place, and a fact
    for text in (b"variance_epsilon", b"head_width", b"residual", b"torch", b"Scales", b"not divisible"):
        assert text not in raw


@pytest.mark.parametrize("damage", ["cut", "text", "other", "format"])
def test_damaged_files(damage: str, tmp_path: Path) -> None:
    data = dump(corpus(example=MODEL))
    if damage == "other":
        out = io.BytesIO()
        np.savez(out, allow_pickle=False, a=np.zeros(3))
        data = lzma.compress(out.getvalue())
    path = tmp_path / "c.npz.xz"
    path.write_bytes(
        {"cut": data[: len(data) // 2], "text": b"hello", "format": lzma.compress(b"x")}.get(damage, data)
    )
    with pytest.raises(CorruptCheckpointError) as caught:
        load_file(path)
    assert caught.value.file == str(path)
    assert caught.value.next_step


def _wheel(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return path


def test_a_wheel_is_read_and_its_digest_is_checked(tmp_path: Path) -> None:
    files = {
        "transformers/models/example/modeling_example.py": HEAD + MODEL,
        "transformers/models/example/modeling_tf_example.py": MODEL,
        "transformers/models/kin/modeling_kin.py": "# This file was automatically generated from x/modular_kin.py.\n"
        + OTHER,
        "transformers/models/kin/modular_kin.py": (
            "from ..example.modeling_example import ExampleNorm\nclass KinNorm(ExampleNorm):\n    pass\n"
        ),
        "transformers/models/broken/modeling_broken.py": "def f(:::\n",
    }
    wheel = _wheel(tmp_path / "transformers-9.9-py3-none-any.whl", files)
    source = build_wheel(wheel)
    assert [e.path.rpartition("/")[2] for e in source.entries][-2:] == [
        "modeling_example.py",
        "modeling_kin.py",
    ]
    kin = source.entries[-1]
    assert kin.generated
    assert kin.sources == ("modeling_example",)
    with pytest.raises(InputError, match="pinned"):
        build_wheel(wheel, sha256="0" * 64)
    with pytest.raises(UnsupportedFormatError):
        build_wheel(_wheel(tmp_path / "thing-1.0-py3-none-any.whl", {"thing/x.py": "x = 1"}))
    (tmp_path / "a-1-b-c-d.whl").write_text("no zip")
    with pytest.raises(UnsupportedFormatError):
        build_wheel(tmp_path / "a-1-b-c-d.whl")


def test_the_command_writes_releases_together(tmp_path: Path) -> None:
    from filiation.cli.corpus import command

    path = "transformers/models/example/modeling_example.py"
    wheels = [
        _wheel(tmp_path / f"transformers-{v}-py3-none-any.whl", {path: f"{MODEL}\nX = {v}\n"})
        for v in ("2.0", "1.0")
    ]
    out = ["--out", str(tmp_path / "corpus"), "--together"]
    done = CliRunner().invoke(command, ["build", *map(str, wheels), *out])
    assert done.exit_code == 0, done.output
    made = load_file(tmp_path / "corpus" / "transformers.npz.xz")
    assert {r.version for r in made} == {"1.0", "2.0"}
    assert [len(r.entries) for r in made] == [1, 1]


def test_the_shipped_corpus_is_the_pinned_one_and_small() -> None:
    files = dict(shipped())
    assert set(files) == {w.file for w in SHIPPED}
    assert sum(map(len, files.values())) < MOST_SHIPPED
    library = load()
    assert {(r.package, r.version, r.wheel_sha256) for r in library.releases} == {
        (w.package, w.version, w.sha256) for w in SHIPPED
    }
    assert [r.released for r in library.releases] == sorted(r.released for r in library.releases)


def test_what_a_later_release_no_longer_says_is_known_from_an_earlier_one() -> None:
    """MPT's file named BLOOM's as its source in 4.34.0; the comments went with the functions under them."""
    said = {
        r.version: e.sources
        for r in load().releases
        for e in r.entries
        if e.path.endswith("/modeling_mpt.py")
    }
    assert "modeling_bloom" in said["4.34.0"]
    assert "modeling_bloom" not in said["4.40.0"]


def test_the_null_of_the_shipped_corpus_is_low() -> None:
    null = load().null
    assert null.pairs > 50_000
    assert float(np.quantile(null.scores, 0.95)) < 0.3
    low, high = null.p_value(0.01), null.p_value(0.9)
    assert low is not None
    assert high is not None
    assert high < 0.01 < 0.5 < low
