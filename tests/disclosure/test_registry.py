"""The registry says what it must of every licence, with its clause, and finds each by what a card says."""

from __future__ import annotations

import datetime
import re
import tomllib
from importlib.resources import files

import pytest

from filiation.disclosure import Licence, Reading, licences
from filiation.disclosure.own import lookup
from filiation.disclosure.registry import by_link, by_name, by_tag, datasets, of_model

ALL = list(licences().values())
KINDS = {
    "permissive", "copyleft", "share_alike", "non_commercial", "community", "rail", "research", "api_terms",
    "notice_only",
}  # fmt: skip
OBLIGATIONS = {
    "copy", "notice", "notice_file", "display", "name", "changes", "keep_notices", "use", "other_models", "scale",
    "field", "region", "credit", "licence_link",
}  # fmt: skip
LISTED = {
    "llama1", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "qwen-2024", "qwen-research-2024",
    "tongyi-2023", "tongyi-research-2023", "gemma-2024-04-01", "gemma-2025-03-24", "deepseek-1.0", "minicpm-1.0",
    "openbmb-general-2024", "yi-2.0", "yi-2.1", "yi-notice-2024", "baichuan2-community", "openpangu-1.0",
    "openpangu-2.0",
    "glm-4", "exaone-1.1-nc", "falcon-2-11b-1.0", "nvidia-open-model", "nvidia-cosmos", "stability-community-2024",
    "stability-nc-2023", "kimi-k2-modified-mit", "mistral-research-0.1", "bigscience-openrail-m", "bigscience-rail-1.0",
    "bigcode-openrail-m-1.0", "creativeml-openrail-m", "creativeml-openrail++-m", "openai-terms-2023",
    "openai-terms-2024", "anthropic-terms", "google-gemini-terms", "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause",
    "cc-by-4.0", "cc-by-nc-4.0", "cc-by-sa-4.0", "openmdw-1.0", "openmdw-1.1", "gpl-2.0", "gpl-3.0", "agpl-3.0",
    "lgpl-2.1", "lgpl-3.0",
}  # fmt: skip


def test_every_listed_licence_is_there() -> None:
    assert not LISTED - set(licences())


@pytest.mark.parametrize("licence", ALL, ids=lambda x: x.id)
def test_an_entry_is_in_form(licence: Licence) -> None:
    assert licence.kind in KINDS
    assert licence.relicense in {"free", "own_terms", "same"}
    assert licence.sources
    assert licence.attaches
    for asked in licence.obligations:
        assert asked.kind in OBLIGATIONS
        assert asked.clause.strip()
        assert (asked.kind == "notice") == (asked.line is not None)
        assert (asked.kind == "display") == bool(asked.phrases)
        if asked.kind == "name":
            assert asked.part
            assert asked.rule in {"starts_with", "includes"}
        if asked.kind in {"scale", "field", "region"}:
            assert set(asked.asks) == {"en", "zh-CN"}
        if asked.outputs:
            assert licence.output_clause or asked.kind in {"name", "display"}


@pytest.mark.parametrize("licence", ALL, ids=lambda x: x.id)
def test_what_was_read_is_marked(licence: Licence) -> None:
    """A fingerprint needs a text; an entry without one says that it is second-hand, or that its text is another's."""
    if licence.fingerprints:
        assert licence.reading is Reading.TEXT
    else:
        assert licence.reading is not Reading.TEXT or licence.id == "nvidia-cosmos"


def test_no_text_is_kept() -> None:
    folder = files("filiation.disclosure") / "licences"
    for entry in folder.iterdir():
        table = tomllib.loads(entry.read_text(encoding="utf-8"))
        for block in table.get("text", ()):
            assert re.fullmatch(r"[A-Za-z0-9+/=\n]*", block["hashes"])
        longest = max((len(str(v)) for o in table.get("obligation", ()) for v in o.values()), default=0)
        assert longest < 400


@pytest.mark.parametrize(
    ("said", "ids"),
    [
        ("llama3.1", {"llama3.1"}),
        ("gemma", {"gemma-2024-04-01", "gemma-2025-03-24"}),
        ("apache-2.0", {"apache-2.0"}),
        ("Apache-2.0", {"apache-2.0"}),
        ("GPL-3.0-or-later", {"gpl-3.0"}),
        ("LGPL-2.1+", {"lgpl-2.1"}),
        ("tongyi-qianwen", {"tongyi-2023"}),
        ("tongyi-qianwen-research", {"tongyi-research-2023"}),
        ("qwen", {"qwen-2024"}),
        ("qwen-research", {"qwen-research-2024"}),
        ("https://ai.google.dev/gemma/terms", {"gemma-2024-04-01", "gemma-2025-03-24"}),
        ("http://www.apache.org/licenses/LICENSE-2.0/", {"apache-2.0"}),
        ("something else", set()),
        ("", set()),
    ],
)
def test_a_licence_is_found_by_what_a_card_says(said: str, ids: set[str]) -> None:
    assert {x.id for x in lookup(said)} == ids


def test_every_tag_name_and_link_leads_back() -> None:
    for licence in ALL:
        assert all(licence in by_tag(tag) for tag in licence.hub)
        assert all(licence in by_name(name) for name in (licence.name, *licence.names))
        assert all(licence in by_link(link) for link in licence.links)


def on(day: str | None) -> datetime.date | None:
    return datetime.date.fromisoformat(day) if day else None


@pytest.mark.parametrize(
    ("model", "day", "ids"),
    [
        ("01-ai/Yi-34B", "2023-11-04", {"yi-2.0"}),
        ("01-ai/Yi-34B", "2023-12-15", {"yi-2.1"}),
        ("01-ai/Yi-34B", "2024-05-30", {"apache-2.0"}),
        ("01-ai/Yi-34B", "2024-06-26", {"apache-2.0", "yi-notice-2024"}),
        ("openbmb/MiniCPM-Llama3-V-2_5", "2024-05-27", {"openbmb-general-2024"}),
        ("openbmb/MiniCPM-Llama3-V-2_5", "2024-06-05", {"minicpm-1.0"}),
        ("openbmb/MiniCPM-V-4", "2025-06-06", {"apache-2.0"}),
        ("Qwen/Qwen-7B", None, {"tongyi-2023"}),
        ("Qwen/Qwen2.5-72B-Instruct", None, {"qwen-2024"}),
        ("Qwen/Qwen2.5-7B", None, {"apache-2.0"}),
        ("Qwen/Qwen2.5-3B", None, {"qwen-research-2024"}),
        ("meta-llama/Llama-3.1-8B-Instruct", None, {"llama3.1"}),
        ("Meta-Llama-3-8B", None, {"llama3"}),
        ("google/gemma-2-9b", "2024-07-01", {"gemma-2024-04-01"}),
        ("google/gemma-3-4b-it", "2025-04-01", {"gemma-2025-03-24"}),
        ("deepseek-ai/DeepSeek-R1", None, {"mit"}),
        ("nobody/nothing", None, set()),
    ],
)
def test_the_licence_of_a_model_on_a_day(model: str, day: str | None, ids: set[str]) -> None:
    assert {x.id for x in of_model(model, on(day))} == ids


def test_datasets_name_licences_that_are_there() -> None:
    for entry in datasets():
        assert entry["patterns"]
        assert {*entry.get("terms", ()), *([entry["licence"]] if "licence" in entry else [])} <= set(
            licences()
        )
        assert all(of_model(model, None) for model in entry.get("outputs_of", ()))
