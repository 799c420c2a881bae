"""The documents among themselves: links, pictures, indexes, words."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import pytest

from filiation.comparison import compare_models
from filiation.evidence import Relation, json_schema
from filiation.origin import TESTS
from tests.project.tree import ROOT, name, project_files

DOCUMENTS = [p for p in project_files() if p.suffix == ".md"]
PAGES = [p for p in DOCUMENTS if p.is_relative_to(ROOT / "docs")]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# Written in pieces, so that this file is not what it looks for.
JUDGING = re.compile(
    r"\b("
    + "|".join(
        (
            *(
                "stol" + "e(n)?",
                "steal" + r"\w*",
                "thef" + "t",
                "thie" + "(f|ves)",
                "plagiari" + r"\w+",
                "guilt" + r"\w*",
            ),
            *(
                "culpri" + "t",
                "offende" + "r",
                "cheat" + r"\w*",
                "pirat" + r"\w+",
                "infring" + r"\w+",
                "illega" + "l",
            ),
        )
    )
    + r")\b",
    re.I,
)


def anchors(path: Path) -> set[str]:
    """The anchors that the site and the repository's viewer give to headings."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    heads = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", h.lower()).strip()) for h in heads}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: name(p))
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        place = (path.parent / file).resolve() if file else path
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            broken.append(target)
    assert not broken


def test_every_decision_test_and_howto_stands_in_its_index() -> None:
    for folder in ("decisions", "tests", "howto", "validation"):
        index = ROOT / "docs" / folder / "index.md"
        linked = set(LINK.findall(index.read_text(encoding="utf-8")))
        pages = {p.name for p in PAGES if p.parent == index.parent} - {"index.md"}
        assert pages <= linked, f"docs/{folder}/index.md lacks {sorted(pages - linked)}"


def test_every_exact_test_has_a_page() -> None:
    pages = {p.stem for p in PAGES if p.parent.name == "tests"}
    assert {test.name for test in TESTS} <= pages


def test_decisions_show_their_own_title_in_the_index() -> None:
    index = (ROOT / "docs" / "decisions" / "index.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs" / "decisions").glob("0*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix(f"# {path.name[:4]}. ")
        assert f"[{path.name[:4]}]({path.name}) | {title} |" in index


def test_every_relation_is_explained_where_reports_and_verdicts_are() -> None:
    for page in ("docs/evidence.md", "docs/howto/read-a-report.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert not [r for r in Relation if f"| `{r}` |" not in text], page


def test_every_key_of_a_report_is_described() -> None:
    models = ROOT / "examples" / "models"
    report = compare_models(str(models / "fine-tuned"), [str(models / "base")])
    text = (ROOT / "docs" / "report-format.md").read_text(encoding="utf-8")
    keys = set(json.loads(json.dumps(report.to_dict())))
    assert not {key for key in keys if f"`{key}`" not in text}
    verdict = set(json_schema()["$defs"]["Verdict"]["properties"])
    assert not {key for key in verdict if f"`{key}`" not in text}


def test_the_picture_is_one_and_small() -> None:
    picture = ROOT / "docs" / "img" / "report.png"
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert width >= 800
    assert height >= 800
    assert len(data) <= 300_000


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: name(p))
def test_no_document_judges_anyone(path: Path) -> None:
    """Evidence speaks of weights; what it means for people is for people to say."""
    found = [line for line in path.read_text(encoding="utf-8").splitlines() if JUDGING.search(line)]
    assert not found
