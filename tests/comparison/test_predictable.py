"""A partial reading can be known beforehand: what is said of it, and what a full one decides."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import filiation
from filiation.cli import main
from filiation.errors import UsageError
from filiation.evidence import Relation
from filiation.lab import derive
from filiation.lab.layout import FINAL_NORM, Tensors, gain_readers, is_gain
from filiation.lab.save import save_model
from filiation.report.story import tell
from filiation.report.wording import LANGUAGES, phrases
from tests.origin.models import llama

LAYERS, FFN, SAMPLE = 13, 1024, 64
Save = Callable[[str, Tensors], str]


@pytest.fixture(autouse=True)
def _only_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take these models for large ones: read in samples, and not hashed."""
    monkeypatch.setattr("filiation.comparison.opening.WHOLE_UP_TO", 1)
    monkeypatch.setattr("filiation.checkpoint.opening.SMALL", 1)


@pytest.fixture(scope="module")
def accused() -> Tensors:
    return llama(1, LAYERS, ffn=FFN)[0]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def saved(name: str, tensors: Tensors) -> str:
        save_model(tmp_path / name, tensors, llama(1, LAYERS, ffn=FFN)[1], None)
        return str(tmp_path / name)

    return saved


def with_gains(tensors: Tensors, accused: Tensors) -> Tensors:
    """Copy the norm gains and divide their readers by them: the function stays."""
    out = dict(tensors)
    for name in [n for n in tensors if is_gain(n) and n != FINAL_NORM]:
        for reader in gain_readers(out, name):
            out[reader] = out[reader] * (out[name] / accused[name])
        out[name] = accused[name]
    return out


def planted(tensors: Tensors, accused: Tensors, rows: dict[int, list[int]]) -> Tensors:
    """Put the accused's neurons into these rows of each layer."""
    out = {name: value.copy() for name, value in tensors.items()}
    for layer, numbers in rows.items():
        at = f"model.layers.{layer}.mlp."
        for name in ("gate_proj", "up_proj"):
            out[f"{at}{name}.weight"][numbers] = accused[f"{at}{name}.weight"][numbers]
        out[at + "down_proj.weight"][:, numbers] = accused[at + "down_proj.weight"][:, numbers]
    return out


def read_rows(found: filiation.Comparison) -> dict[int, list[int]]:
    """Return which neurons of each layer a comparison read for its order test, as its records say."""
    rows: dict[int, list[int]] = {}
    for e in found.evidence:
        told = re.search(r"layer=(\d+)/units=([\d,-]+)/stage=direct", e.id)
        if told and e.id.startswith("origin.ffn_order/"):
            windows = [[int(n) for n in w.split("-")] for w in told[2].split(",")]
            rows[int(told[1])] = [n for first, last in windows for n in range(first, last)]
    return rows


def labels(found: filiation.Comparison) -> float:
    return sum(e.log10_e or 0.0 for e in found.evidence if e.id.startswith("origin.ffn_order/"))


def test_other_rows_are_read_in_each_layer_and_none_of_them_is_fixed(save: Save, accused: Tensors) -> None:
    places = save("stranger", llama(2, LAYERS, ffn=FFN)[0]), save("accused", accused)
    rows = read_rows(filiation.compare(*places))
    assert [len(numbers) for numbers in rows.values()] == [SAMPLE] * 6
    everything = [n for numbers in rows.values() for n in numbers]
    assert len(set(everything)) == len(everything)
    budgeted = read_rows(filiation.compare(*places, budget=10**7))
    assert len({numbers[-1] for numbers in budgeted.values()}) == len(budgeted) == 5
    assert read_rows(filiation.compare(*places, seed="7 19 23")) != rows


def test_rows_planted_where_they_will_be_read_are_found_out_by_the_rest(save: Save, accused: Tensors) -> None:
    stranger, target = with_gains(llama(2, LAYERS, ffn=FFN)[0], accused), save("accused", accused)
    known = filiation.compare(save("framed", stranger), target)
    rows = read_rows(known)
    framed = save("framed", planted(stranger, accused, rows))
    sampled = filiation.compare(framed, target)
    # Names and sizes alone made the seed: the framer knew the rows, and their labels agree.
    assert read_rows(sampled) == rows
    assert labels(sampled) > 100
    assert "sample_predictable" in sampled.report.limits
    assert sampled.verdict.inherited_share is None or not sampled.verdict.notes

    full = filiation.compare(framed, target, full=True)
    assert full.verdict.relation is Relation.SUGGESTIVE
    assert full.verdict.inherited_share is None

    drawn = filiation.compare(framed, target, seed="drawn later")
    assert drawn.verdict.relation in (Relation.SUGGESTIVE, Relation.NONE_FOUND)
    assert labels(drawn) < labels(sampled) / 5
    assert "sample_with_word" in drawn.report.limits
    assert "sample_predictable" not in drawn.report.limits


def test_layers_copied_where_they_will_be_read_do_not_speak_for_the_others(
    save: Save, accused: Tensors
) -> None:
    stranger, target = with_gains(llama(2, LAYERS, ffn=FFN)[0], accused), save("accused", accused)
    layers = sorted(read_rows(filiation.compare(save("framed", stranger), target)))
    framed = planted(stranger, accused, {i: list(range(FFN)) for i in layers})
    framed |= {"model.embed_tokens.weight": accused["model.embed_tokens.weight"]}
    full = filiation.compare(save("framed", framed), target, full=True)
    assert full.verdict.relation is Relation.SHARED_PARTS
    assert full.verdict.inherited_share == pytest.approx(len(layers) / LAYERS)


def test_a_child_read_in_full_is_judged_by_all_of_its_layers(save: Save, accused: Tensors) -> None:
    rng = np.random.default_rng(3)
    child: Tensors = {}
    for name, values in accused.items():
        child[name] = values * (1 + 0.2 * rng.standard_normal(values.shape)).astype(np.float32)
    places = save("child", child), save("accused", accused)
    full = filiation.compare(*places, full=True)
    assert (full.verdict.relation, full.verdict.inherited_share) == (Relation.COMMON_ORIGIN, 1.0)
    assert not {"sampled", "sample_predictable"} & set(full.report.limits), "nobody is sent to --full again"
    assert "tests_sampled" in full.report.limits
    cut_short = filiation.compare(*places, full=True, budget=10**6)
    assert {"sampled", "sample_predictable"} <= set(cut_short.report.limits)
    assert filiation.compare(*places).verdict.relation is Relation.COMMON_ORIGIN


def test_layers_that_the_other_model_lacks_are_no_inherited_ones(save: Save) -> None:
    deep, config = llama(1, LAYERS, ffn=FFN)
    fewer = save("fewer", derive.take_layers(deep, config, layers=range(LAYERS - 5))[0])
    full = filiation.compare(save("deep", deep), fewer, full=True)
    assert full.verdict.inherited_share == pytest.approx((LAYERS - 5) / LAYERS)


def test_a_digest_that_pins_no_contents_says_so(
    save: Save, accused: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = save("stranger", llama(2, LAYERS, ffn=FFN)[0]), save("accused", accused)
    found = filiation.compare(*places)
    assert found.to_dict()["models"]["suspect"]["digest_covers"] == "names_sizes_headers"
    for language in LANGUAGES:
        words = phrases(language)
        story = tell(found.report, words)
        assert words.say("ui", "digest_headers") in dict(story.suspect.facts)
        assert words.find("limit", "sample_predictable") in story.limits
    monkeypatch.setattr("filiation.checkpoint.opening.SMALL", 1 << 30)
    hashed = filiation.compare(*places)
    assert hashed.to_dict()["models"]["suspect"]["digest_covers"] == "contents"
    assert "Digest" in dict(tell(hashed.report, phrases("en")).suspect.facts)
    assert "sample_predictable" not in hashed.report.limits
    assert "sampled" in hashed.report.limits


def test_the_word_stands_in_the_report_and_verify_gives_it_again(
    save: Save, accused: Tensors, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    places = save("stranger", llama(2, LAYERS, ffn=FFN)[0]), save("accused", accused)
    stored = tmp_path / "report.json"
    assert main(["compare", *places, "--seed", "7 19 23", "--json", str(stored)]) == 0
    assert "--seed '7 19 23'" in capfd.readouterr().out
    document = json.loads(stored.read_text())
    assert document["command"]["seed"] == "7 19 23"
    assert main(["verify", str(stored), "--quiet"]) == 0
    document["command"]["seed"] = "another"
    stored.write_text(json.dumps(document))
    assert main(["verify", str(stored), "--quiet"]) == 1


@pytest.mark.parametrize("word", ["", "  ", "a\nb"])
def test_a_word_that_cannot_be_written_down_is_refused(save: Save, accused: Tensors, word: str) -> None:
    place = save("accused", accused)
    with pytest.raises(UsageError, match="--seed"):
        filiation.compare(place, place, seed=word)


def scaled_in_pairs(tensors: Tensors, seed: int, *, silent: dict[int, list[int]] | None = None) -> Tensors:
    """Multiply what each neuron's up reads, and divide what it writes; the rows of ``silent`` write next to nothing."""
    out, rng = dict(tensors), np.random.default_rng(seed)
    for layer in range(LAYERS):
        up, down = (f"model.layers.{layer}.mlp.{name}.weight" for name in ("up_proj", "down_proj"))
        factors = (2.0 ** rng.integers(-6, 7, len(out[up]))).astype(np.float32)
        writes = 1 / factors
        writes[(silent or {}).get(layer, [])] *= np.float32(1e-6)
        out[up], out[down] = out[up] * factors[:, None], out[down] * writes
    return out


@pytest.mark.parametrize("budget", [None, 10**7])
def test_a_child_whose_neurons_were_scaled_in_pairs_is_found_in_a_sample(
    save: Save, accused: Tensors, budget: int | None
) -> None:
    rng = np.random.default_rng(4)
    child: Tensors = {}
    for name, values in accused.items():
        child[name] = values * (1 + 0.1 * rng.standard_normal(values.shape)).astype(np.float32)
    places = save("child", scaled_in_pairs(child, 5)), save("accused", accused)
    for pair in (places, places[::-1]):
        assert filiation.compare(*pair, budget=budget).verdict.relation is Relation.COMMON_ORIGIN


def test_idle_rows_that_were_scaled_in_pairs_do_not_vouch_for_a_layer(save: Save, accused: Tensors) -> None:
    stranger, target = with_gains(llama(2, LAYERS, ffn=FFN)[0], accused), save("accused", accused)
    rows = read_rows(filiation.compare(save("framed", stranger), target))
    framed = save("framed", scaled_in_pairs(planted(stranger, accused, rows), 6, silent=rows))
    sampled = filiation.compare(framed, target)
    assert read_rows(sampled) == rows
    assert labels(sampled) > 100, "the labels of what was planted agree"
    assert sampled.verdict.relation is Relation.SUGGESTIVE
