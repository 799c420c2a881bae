"""Levels, headers, statements about sources: what an examination says of small cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mutators import idioms_and_everything
from filiation.evidence import Status, Wing, plain
from filiation.source import CopyStatus, HeaderState, Level, Library, examine
from filiation.source.pair import Pair
from filiation.source.prints import Print
from tests.source.examples import HEAD, MODEL, OTHER, YOURS, corpus, renamed, repository, variant

EXAMPLE = repository("example", {"modeling_example.py": HEAD + MODEL})


@pytest.fixture(scope="module")
def library() -> Library:
    return Library([corpus(example=HEAD + MODEL, other=OTHER)])


def test_identical(library: Library) -> None:
    found = examine(
        repository("s", {"m.py": MODEL.replace('"""Scales."""', '"""Other words."""')}), [EXAMPLE], library
    )
    assert found.level is Level.IDENTICAL
    assert found.files[0].reference == "example"
    assert found.headers[0].state is HeaderState.REMOVED


def test_same_after_renaming_with_map_and_survivors(library: Library) -> None:
    text = YOURS + "\n\nEXAMPLE_OF_YOURS = 1\n"
    found = examine(repository("s", {"m.py": text}), [EXAMPLE], library)
    assert found.level is Level.SAME_AFTER_RENAMING
    names = {r.suspect: r.reference for r in found.rename_map.names}
    assert names["ln1"] == "first_norm"
    assert names["YoursAttention"] == "ExampleAttention"
    assert ("Yours", "Example") in {(r.suspect, r.reference) for r in found.rename_map.rules}
    assert found.rename_map.survivors == ("EXAMPLE_OF_YOURS",)
    assert found.rename_map.one_to_one == 1.0
    assert found.headers[0].state is HeaderState.KEPT
    assert found.headers[0].source_attributed
    match = next(m for m in found.matches if m.suspect.definition == "YoursAttention.forward")
    assert match.reference.definition == "ExampleAttention.forward"
    assert match.share == 1.0
    source = text.split("\n")
    for ours, theirs in match.lines:
        line = renamed(source[ours - 1], Yours_="Example", ln1="first_norm", ln2="second_norm")
        assert line == (HEAD + MODEL).split("\n")[theirs - 1]


def test_the_corpus_alone_names_the_work_and_spells_the_names(library: Library) -> None:
    found = examine(repository("s", {"m.py": YOURS}), (), library)
    assert found.level is Level.SAME_AFTER_RENAMING
    assert found.files[0].reference_file == "transformers/models/example/modeling_example.py"
    assert found.files[0].candidates[0].rare >= 3
    assert ("YoursNorm", "ExampleNorm") in {(r.suspect, r.reference) for r in found.rename_map.names}
    unknown = next(r for r in found.rename_map.names if r.suspect == "ln1")
    assert unknown.reference in {None, "first_norm"}
    assert all(not m.lines for m in found.matches)


def test_rewritten_beyond_renaming_is_refactored(library: Library) -> None:
    """Half of a rewritten file, with as much other code beside it."""
    half = MODEL.split("class ExampleBlock")[0] + "\n" + MODEL[MODEL.index("def chosen_sizes") :]
    text = idioms_and_everything(half, 1) + "\n" + OTHER.split("from torch import nn\n")[1]
    lone = Library([corpus(example=HEAD + MODEL)])
    found = examine(repository("s", {"m.py": text}), (), lone)
    each = found.files[0]
    assert each.share < 0.8
    assert each.reference_file == "transformers/models/example/modeling_example.py"
    assert found.level is Level.REFACTORED
    assert each.margin is not None
    assert each.margin > 1.5


def test_what_several_works_have_is_an_ancestors(library: Library) -> None:
    """Two works share an attention with a third; the suspect takes that and adds its own."""
    shared = MODEL.split("class ExampleBlock")[0]
    said = "# Copied from transformers.models.kin0.modeling_kin0.X\n"
    siblings = {f"kin{n}": said + renamed(shared, Example_=f"Kin{n}") + variant(100 + n) for n in range(4)}
    kin = Library([corpus(**siblings)])
    suspect = (
        renamed(shared, Example_="Mine")
        + "\n"
        + MODEL[MODEL.index("def chosen_sizes") :]
        + OTHER.split("from torch import nn")[1]
    )
    found = examine(repository("s", {"m.py": suspect}), (), kin)
    assert found.level is Level.SHARES_ANCESTOR
    assert found.files[0].margin is not None
    assert found.files[0].margin < 1.5


def test_a_copy_is_told_from_one_more_sibling_by_what_only_the_reference_has() -> None:
    """A family shares a trunk, each of its works has parts of its own; the suspect has the trunk and one's parts.

    The work next to it is too near for the margin. A suspect with the trunk alone stays a relative.
    """
    trunk = MODEL.split("class ExampleBlock")[0] + "".join(
        variant(n).split("nn\n", 1)[1] for n in range(200, 204)
    )
    part = MODEL[MODEL.index("def chosen_sizes") :] + variant(600).split("nn\n", 1)[1]
    said = "# Copied from transformers.models.kin0.modeling_kin0.X\n"
    family = {f"kin{n}": said + renamed(trunk, Example_=f"Kin{n}") + variant(100 + n) for n in range(4)}
    family["kin0"] += part
    kin = Library([corpus(**family)])
    foreign = OTHER.split("from torch import nn")[1] + variant(500).split("nn\n", 1)[1]
    copy = examine(
        repository("s", {"m.py": renamed(trunk, Example_="Mine") + part + foreign}), (), kin
    ).files[0]
    assert copy.share < 0.8
    assert copy.margin is not None
    assert copy.margin < 1.5
    assert copy.sibling_margin is not None
    assert copy.sibling_margin > 1.5
    assert (copy.level, copy.reference_file) == (
        Level.REFACTORED,
        "transformers/models/kin0/modeling_kin0.py",
    )
    relative = examine(repository("s", {"m.py": renamed(trunk, Example_="Mine") + foreign}), (), kin).files[0]
    assert relative.level is not Level.REFACTORED
    assert relative.own == 0


def test_what_all_files_of_a_given_repository_have_is_not_rare(library: Library) -> None:
    """Six files of one framework share its manner, which the corpus does not know."""
    manner = MODEL.split("class ExampleBlock")[0]
    files = {f"m{n}.py": manner + variant(300 + n) for n in range(6)}
    suspect = repository("s", {"m.py": renamed(manner, Example_="Mine") + variant(400)})
    lone = Library([corpus(other=OTHER)])
    whole = examine(suspect, [repository("r", files)], lone).files[0]
    one = examine(suspect, [repository("r", {"m0.py": files["m0.py"]})], lone).files[0]
    assert one.candidates[0].rare >= 3
    assert max(c.rare for c in whole.candidates) < 3


def test_unrelated_and_small(library: Library) -> None:
    given = repository("other", {"m.py": OTHER})
    found = examine(repository("s", {"a.py": MODEL, "tiny.py": "x = 1\n"}), [given], Library([corpus()]))
    assert found.level is Level.NO_FINDING
    assert found.matches == ()
    assert [(n.file, n.why) for n in found.not_examined] == [("tiny.py", "too_small")]


def test_without_a_corpus_nothing_is_ranked() -> None:
    found = examine(repository("s", {"m.py": OTHER}), [EXAMPLE])
    assert found.level is Level.NO_FINDING
    assert found.corpus == {}
    assert all(e.background is None for e in found.evidence)


def test_without_a_corpus_a_given_reference_is_compared_all_the_same() -> None:
    found = examine(repository("s", {"m.py": YOURS}), [EXAMPLE])
    assert found.level is Level.SAME_AFTER_RENAMING
    assert found.files[0].reference == "example"
    assert examine(repository("s", {"m.py": MODEL}), [EXAMPLE]).level is Level.IDENTICAL


PADDING = "\n\n".join(variant(n) for n in range(100, 130))


@pytest.mark.parametrize("given", [True, False])
def test_a_copy_that_was_built_upon_is_told_by_what_it_holds_of_the_reference(
    given: bool, library: Library
) -> None:
    """The file's own share falls with everything that is put beside the copy; that of the reference does not."""
    text = renamed(MODEL, Example_="Yours") + PADDING
    found = examine(repository("s", {"m.py": text}), [EXAMPLE] if given else (), library)
    (file,) = found.files
    assert file.share < 0.4
    assert file.reverse_share > 0.95
    assert file.level is Level.REFACTORED
    assert file.holds
    record = next(e for e in found.evidence if e.test == "source_code")
    assert record.shows == "shows.source_refactored_whole"


def test_statements_between_the_statements_of_a_copy_do_not_hide_it(library: Library) -> None:
    lines: list[str] = []
    for line in MODEL.split("\n"):
        lines.append(line)
        if (
            line.startswith("        ")
            and line.rstrip().endswith(")")
            and not line.strip().startswith("return")
        ):
            lines.append(
                f"{line[: len(line) - len(line.lstrip())]}telemetry.note('x', {len(lines)}, scale=1.5)"
            )
    found = examine(repository("s", {"m.py": "\n".join(lines)}), [EXAMPLE], library)
    assert found.files[0].level in (Level.SAME_AFTER_RENAMING, Level.REFACTORED)
    assert found.files[0].reverse_share >= 0.8


def test_a_reference_that_the_corpus_knows_is_no_further_work(library: Library) -> None:
    """The structures that a copy shares with it are as rare as those it shares with the corpus's own file."""
    text = repository("s", {"m.py": YOURS})
    alone = examine(text, (), library).files[0].best
    beside = examine(text, [EXAMPLE], library).files[0].best
    assert alone is not None
    assert beside is not None
    assert beside.repository == "example"
    assert beside.rare == alone.rare >= 3


def test_the_candidate_told_is_the_one_that_the_level_speaks_of(library: Library) -> None:
    nearer = repository("near", {"n.py": YOURS + "\n\n" + variant(3)})
    found = examine(repository("s", {"m.py": YOURS}), [EXAMPLE, nearer], library).files[0]
    assert found.best is not None
    assert (found.best.repository, found.best.file) == (found.reference, found.reference_file)


def test_files_are_compared_with_few_of_many_given_ones(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comparing every two of many files node by node would take hours."""
    from filiation.source import judge

    calls: list[int] = []
    compare = judge.compare

    def counting(left: Print, right: Print) -> Pair:
        calls.append(1)
        return compare(left, right)

    monkeypatch.setattr(judge, "compare", counting)
    given = [repository(f"r{n}", {"a.py": variant(n), "b.py": variant(n + 50)}) for n in range(30)]
    examine(repository("s", {"m.py": YOURS}), [*given, EXAMPLE], library)
    assert 0 < len(calls) < 30


def test_what_is_not_examined_is_said(library: Library) -> None:
    files = {"n.ipynb": b"{}", "k.cu": b"int x;", "README.md": b"x", "bad.py": b"\0", "m.py": MODEL.encode()}
    found = examine(repository("s", files), (), library)
    assert {n.file: n.why for n in found.not_examined} == {
        "n.ipynb": "notebook",
        "k.cu": "other_language",
        "bad.py": "not_text",
    }
    reasons = [e.reason for e in found.evidence if e.status is Status.NOT_MEASURED]
    assert "reason.source_notebook" in reasons


def test_modular_inheritance_is_disclosure(library: Library) -> None:
    text = (
        "# This file was automatically generated from src/x/modular_yours.py.\n"
        "from ..example.modeling_example import ExampleBlock\nfrom ...modeling_utils import Base\n\n"
        "class YoursBlock(ExampleBlock):\n    pass\n\nclass B(Base):\n    pass\n" + OTHER
    )
    found = examine(repository("s", {"modular_yours.py": text}), (), library)
    kinds = {(d.kind, d.source): d for d in found.disclosed}
    assert kinds["generated", "src/x/modular_yours.py"].line == 1
    assert kinds["inherits", "example.modeling_example"].names == ("YoursBlock(ExampleBlock)",)
    assert len(kinds) == 2


COPIES = {
    "agrees": ("ExampleNorm with Example->Yours", renamed(MODEL, Example_="Yours"), CopyStatus.AGREES),
    "all casings": (
        "ExampleNorm with Example->Yours all-casing",
        renamed(MODEL, Example_="Yours"),
        CopyStatus.AGREES,
    ),
    "another renaming": (
        "ExampleNorm with Example->Yours",
        renamed(MODEL, Example_="Yours", variance_epsilon="tiny"),
        CopyStatus.AGREES_OTHERWISE,
    ),
    "drifted": (
        "ExampleNorm with Example->Yours",
        renamed(MODEL, Example_="Yours").replace("hidden.pow(2)", "hidden.pow(4)"),
        CopyStatus.DRIFTED,
    ),
    "not there": ("NoSuchNorm", renamed(MODEL, Example_="Yours"), CopyStatus.NOT_THERE),
}


@pytest.mark.parametrize("name", sorted(COPIES))
def test_copied_from(name: str, library: Library) -> None:
    said, text, status = COPIES[name]
    comment = f"# Copied from transformers.models.example.modeling_example.{said}\nclass YoursNorm"
    found = examine(repository("s", {"m.py": text.replace("class YoursNorm", comment)}), (), library)
    assert [c.status for c in found.copied_from] == [status]
    assert found.copied_from[0].line == text.split("\n").index("class YoursNorm(nn.Module):") + 1
    if status is CopyStatus.DRIFTED:
        assert found.copied_from[0].share is not None
        assert 0.5 < found.copied_from[0].share < 1


def test_a_statement_about_a_helper_that_is_put_back_is_not_called_untrue() -> None:
    """A method of one line that is called once is read where it is called, so it is no definition to compare."""
    text = MODEL + (
        "\nclass Kin(nn.Module):\n    def forward(self, x):\n        y = self.step(x, 2)\n        return y, y\n\n"
        "    def step(self, a, b):\n        return self.weigh(a) ** b\n\n"
        "    def last(self, a):\n        for b in a:\n            self.weigh(b)\n        return a\n"
    )
    where = "transformers.models.kin.modeling_kin.Kin"
    said = text.replace("    def step", f"    # Copied from {where}.step\n    def step")
    said = said.replace("    def last", f"    # Copied from {where}.last\n    def last")
    library = Library([corpus(kin=text), corpus(other=OTHER)])
    found = examine(repository("s", {"m.py": said}), (), library)
    statuses = {c.source.rpartition(".")[2]: c.status for c in found.copied_from}
    assert statuses["step"] is CopyStatus.NOT_CHECKED
    assert statuses["last"] is CopyStatus.AGREES


def test_copied_from_a_package_that_no_release_holds(library: Library) -> None:
    text = MODEL.replace("class ExampleNorm", "# Copied from diffusers.models.norm.Norm\nclass ExampleNorm")
    found = examine(repository("s", {"m.py": text}), (), library)
    assert found.copied_from[0].status is CopyStatus.NOT_CHECKED


def test_evidence_is_whole_and_the_same_again(library: Library, tmp_path: Path) -> None:
    suspect = repository("s", {"m.py": YOURS, "n.py": OTHER, "x.ipynb": b"{}"})
    first = examine(suspect, [EXAMPLE], library, cache=tmp_path)
    second = examine(suspect, [EXAMPLE], library, cache=tmp_path)
    assert plain(first) == plain(second)
    assert plain(first) == plain(examine(suspect, [EXAMPLE], library))
    assert {e.wing for e in first.evidence} == {Wing.SOURCE}
    assert len({e.id for e in first.evidence}) == len(first.evidence)
    code = next(e for e in first.evidence if e.id == "source.code/m.py")
    assert code.places[0].digest is not None
    assert code.background is not None
    assert code.p_value is not None


def test_a_broken_cache_is_no_cache(library: Library, tmp_path: Path) -> None:
    suspect = repository("s", {"m.py": YOURS})
    expected = plain(examine(suspect, (), library, cache=tmp_path))
    for file in tmp_path.rglob("*.npz"):
        file.write_bytes(b"PK broken")
    assert plain(examine(suspect, (), library, cache=tmp_path)) == expected
    (tmp_path / "file").write_text("no folder")
    assert plain(examine(suspect, (), library, cache=tmp_path / "file")) == expected
