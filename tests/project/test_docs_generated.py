"""The generated tables of the documents are those that the program and its tests give now."""

from __future__ import annotations

import re

import pytest

from docs._generate import families, pages, report_keys, support_matrix

GENERATORS = (support_matrix, families, report_keys)
#: The `gguf` package adds kinds from version to version; the page may know fewer than the installed one.
BY_PACKAGE = {"gguf"}
PARTS = [(module.PAGE, name, content) for module in GENERATORS for name, content in module.parts().items()]


@pytest.mark.parametrize(("page", "name", "content"), PARTS, ids=[f"{p}:{n}" for p, n, _ in PARTS])
def test_a_generated_part_is_up_to_date(page: str, name: str, content: str) -> None:
    written = pages.part((pages.ROOT / page).read_text(encoding="utf-8"), name)
    if name in BY_PACKAGE:
        assert kinds(written) <= kinds(content), "write it anew: python -m docs._generate"
        return
    assert written.strip() == content.strip(), "write it anew: python -m docs._generate"


def kinds(text: str) -> set[str]:
    return set(re.findall(r"`([A-Z0-9_]+)`", text))


@pytest.mark.parametrize("module", GENERATORS, ids=lambda m: m.PAGE)
def test_every_part_of_a_page_has_a_generator(module: object) -> None:
    text = (pages.ROOT / module.PAGE).read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert set(re.findall(r"<!-- generated: (.*?) -->", text)) == set(module.parts())  # type: ignore[attr-defined]


def test_the_matrix_says_something() -> None:
    parts = support_matrix.parts()
    assert {"`BF16`", "`F8_E4M3`"} <= {row.split("|")[1].strip() for row in parts["kinds"].splitlines()[2:]}
    assert "Q4_K" in parts["gguf"]
    assert all(
        oracle in parts["packed"] for oracle in ("auto-gptq", "autoawq", "bitsandbytes", "compressed-tensors")
    )
    assert "HQQ" in parts["not-read"]


def test_few_families_are_checked_against_nothing() -> None:
    rows = families.parts()["families"].splitlines()
    loose = {row.split("|")[1].strip() for row in rows if row.endswith("| names only |")}
    assert loose <= {"`intern_vit`", "`internlm`"}


def test_a_part_is_replaced_and_nothing_else() -> None:
    page = "a\n<!-- generated: x -->\nold\n<!-- end: x -->\nb\n"
    assert pages.with_part(page, "x", "new\\1") == "a\n<!-- generated: x -->\nnew\\1\n<!-- end: x -->\nb\n"
    with pytest.raises(KeyError, match="no part 'y'"):
        pages.with_part(page, "y", "new")
