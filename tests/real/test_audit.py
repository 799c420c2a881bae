"""``filiation audit`` on real repositories: the public cases in their own words, and a model of the index."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from benchmarks import reconstructions
from filiation.auditing import Audited, Request, examine
from filiation.auditing.excerpts import excerpts
from filiation.evidence import to_json
from filiation.report import AUDIT_RENDERERS, renderer
from filiation.report.audit.answer import answer
from filiation.report.wording import phrases
from tests.auditing.made import write
from tests.real import fetch, wheels

pytestmark = pytest.mark.real


def _text(package: str, version: str, path: str) -> str:
    with zipfile.ZipFile(wheels.or_skip(package, version)) as archive:
        return archive.read(path).decode()


def _draw_all(found: Audited) -> None:
    """Every renderer takes it, in both languages; CycloneDX holds itself against its schema."""
    for name in AUDIT_RENDERERS:
        for language in ("en", "zh-CN"):
            assert renderer(name, found.report.schema).render(found.report, phrases(language))


@pytest.mark.parametrize("given", [True, False])
def test_pangu_keeps_its_notices_and_attributes_its_source(given: bool, tmp_path: Path) -> None:
    """A reconstruction from transformers 4.44.2, with the parent at hand and from the shipped corpus alone."""
    parent = _text("transformers", "4.44.2", "transformers/models/qwen2_moe/modeling_qwen2_moe.py")
    suspect = write(tmp_path / "pangu", {"modeling_pangu_moe.py": reconstructions.pangu(parent)})
    reference = write(tmp_path / "qwen2_moe", {"modeling_qwen2_moe.py": parent})
    found = examine(Request(str(suspect), (str(reference),) if given else ()))
    said = answer(found.report, phrases("en")).sentence
    assert "the same after renaming, notices kept, source attributed" in said
    assert bool(excerpts(found)) is given
    rules = {r.id: str(r.status) for r in found.report.rules}
    assert rules["L8"] == "satisfied"
    assert rules["L7"] == "satisfied"
    (code,) = found.report.parents
    assert code.basis == ("code",)
    assert code.licences == ()
    _draw_all(found)


def test_vllms_yi_port_is_the_same_after_renaming_with_its_head(tmp_path: Path) -> None:
    files = {
        name: _text("vllm", "0.2.4", f"vllm/model_executor/models/{name}.py") for name in ("yi", "llama")
    }
    suspect = write(tmp_path / "yi", {"yi.py": files["yi"]})
    reference = write(tmp_path / "vllm", {"llama.py": files["llama"]})
    found = examine(Request(str(suspect), (str(reference),), corpus=True))
    assert (
        "the same after renaming, notices kept, source attributed"
        in answer(found.report, phrases("en")).sentence
    )
    renames = {(r.suspect, r.reference) for r in found.report.source.rename_map.names}
    assert {("ln1", "input_layernorm"), ("ln2", "post_attention_layernorm")} <= renames


def test_a_published_model_without_code_is_audited_for_what_it_says() -> None:
    """all-MiniLM-L6-v2: a public tokenizer, a leftover name of its parent, a licence tag."""
    model = fetch.folder("minilm")
    found = examine(Request(str(model)))
    report = found.report
    assert report.tokenizer.recognised == ("BERT uncased",)
    assert [t.numbers["target"] for t in report.traces if t.kind == "foreign_reference"] == [
        "nreimers/MiniLM-L6-H384-uncased"
    ]
    statuses = {(r.id, str(r.status)) for r in report.rules}
    # No licence text, and nobody known to whom one would owe it: not a duty. The leftover name is told all the same.
    assert {("L1", "not_applicable"), ("D4", "missing"), ("L11", "cannot_tell")} <= statuses
    assert json.loads(to_json(report))["source"]["level"] == "no_finding"
    assert to_json(examine(Request(str(model))).report) == to_json(report)
    _draw_all(found)
