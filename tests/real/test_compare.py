"""Whole comparisons of real models: what is found about children of known making, and about strangers."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from safetensors.numpy import load_file

import filiation
from filiation.api import Comparison
from filiation.evidence import Relation
from tests.real import children, fetch, smollm2

pytestmark = pytest.mark.real

LAYERS, UNITS, WIDTH = 30, 1536, 576


@functools.cache
def compared(suspect: Path, *candidates: Path) -> Comparison:
    return filiation.compare(str(suspect), *map(str, candidates))


def steps(found: Comparison) -> dict[str, dict[str, Any]]:
    """The derivation by kind; no kind is told twice of one pair."""
    kinds = [step.kind for step in found.verdict.derivation]
    assert len(set(kinds)) == len(kinds)
    return {step.kind: dict(step.numbers) for step in found.verdict.derivation}


def assert_common_origin(found: Comparison, at_least: float = 1000) -> None:
    verdict = found.verdict
    assert verdict.relation is Relation.COMMON_ORIGIN
    assert verdict.log10_e is not None
    assert verdict.log10_e > at_least
    assert verdict.inherited_share == 1.0


def assert_nothing_found(found: Comparison) -> None:
    verdict = found.verdict
    assert verdict.relation is Relation.NONE_FOUND
    assert verdict.log10_e is not None
    assert verdict.log10_e < 1
    assert verdict.derivation == ()
    assert any(e.log10_e is not None for e in found.evidence)  # tested, not merely untestable


def looked_at(found: Comparison) -> list[int]:
    """The layers whose weights the derivation measured."""
    return sorted({d["layer"] for d in found.report.extra["deltas"] if d["layer"] is not None})


def order_digest(orders: dict[int, Iterable[int]]) -> str:
    """How a report writes an order that is too long to be written out: a line of indices for each layer."""
    lines = (f"{layer}:{','.join(map(str, order))}\n" for layer, order in sorted(orders.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# --- SmolLM2-135M-Instruct and its children


def test_a_gguf_and_its_float32_conversion_are_identical() -> None:
    found = compared(children.gguf(), children.base())
    assert found.verdict.relation is Relation.IDENTICAL
    assert found.verdict.log10_e is not None
    assert found.verdict.log10_e > 1000
    assert found.verdict.inherited_share == 1.0
    told = steps(found)
    assert set(told) <= {"identical", "re_encoded", "renamed"}
    assert told["re_encoded"]["from"] == {"format": "safetensors", "dtypes": {"F32": 272}}
    assert told["re_encoded"]["to"] == {"format": "gguf", "dtypes": {"F32": 61, "Q4_1": 210, "Q8_0": 1}}
    # Equality is told from every weight of both, not from a sample.
    sizes = [(children.base() / "model.safetensors").stat().st_size, children.gguf().stat().st_size]
    assert found.to_dict()["bytes_read"] > 0.95 * sum(sizes)


def test_the_conversion_is_identical_to_the_gguf() -> None:
    found = compared(children.base(), children.gguf())
    assert found.verdict.relation is Relation.IDENTICAL
    assert steps(found)["re_encoded"]["to"]["format"] == "safetensors"


@pytest.mark.parametrize(
    ("kind", "bits", "error"), [(GGMLQuantizationType.Q8_0, 8, 0.0055), (GGMLQuantizationType.Q4_0, 4, 0.086)]
)
def test_a_quantised_child_is_requantised_by_the_right_lattice(
    kind: GGMLQuantizationType, bits: int, error: float
) -> None:
    found = compared(children.quantised(kind), children.base())
    assert_common_origin(found)
    told = steps(found)
    assert set(told) == {"requantised", "re_encoded"}
    numbers = told["requantised"]
    assert (numbers["lattice"], numbers["bits"], numbers["group"]) == (kind.name, bits, 32)
    assert numbers["from_file"] is True
    assert numbers["exact"] == 1.0  # quantising the candidate gives the suspect, value by value
    assert numbers["error"] == pytest.approx(numbers["expected_error"], rel=0.01)
    assert numbers["error"] == pytest.approx(error, rel=0.1)
    # The embedding was in Q8_0 already, and comes out of Q8_0 as it went in.
    assert numbers["of"] - numbers["tensors"] == (kind is GGMLQuantizationType.Q8_0)


def test_a_model_trained_further_is_fine_tuned() -> None:
    pytest.importorskip("torch", reason="the extra 'lab' is not installed: make test-real")
    pytest.importorskip("transformers", reason="the extra 'lab' is not installed: make test-real")
    found = compared(children.fine_tuned(), children.base())
    assert_common_origin(found)
    told = steps(found)
    assert set(told) == {"fine_tuned"}
    before, after = (load_file(p / "model.safetensors") for p in (children.base(), children.fine_tuned()))
    rows = [d for d in found.report.extra["deltas"] if d["role"] in ("q", "v", "o", "gate", "up", "down")]
    assert len(rows) >= 12
    true = {
        d["tensor"]: float(np.linalg.norm(after[d["tensor"]] - old) / np.linalg.norm(old))
        for d in rows
        if (old := before[d["tensor"]]) is not None
    }
    # Some rows of each were read; their relative change is the whole tensor's up to sampling.
    ratios = [d["relative_delta"] / true[d["tensor"]] for d in rows]
    assert 0.8 < np.median(ratios) < 1.25
    assert told["fine_tuned"]["median_relative_delta"] == pytest.approx(
        np.median(list(true.values())), rel=0.25
    )


def test_dropped_layers_are_named() -> None:
    found = compared(children.depth_pruned(), children.base())
    assert_common_origin(found)
    told = steps(found)
    assert set(told) == {"layers_changed"}
    dropped = [i for i in range(LAYERS) if i % 5 == 3]
    numbers = told["layers_changed"]
    assert (numbers["from"], numbers["to"]) == (LAYERS, LAYERS - len(dropped))
    assert numbers["dropped"] == dropped
    assert numbers["path"] == [i for i in range(LAYERS) if i not in dropped]
    assert "repeated" not in numbers
    assert "reordered" not in numbers


def test_kept_neurons_are_recovered() -> None:
    found = compared(children.width_pruned(), children.base())
    assert_common_origin(found)
    told = steps(found)
    assert set(told) == {"width_pruned"}
    numbers = told["width_pruned"]
    assert (numbers["what"], numbers["from"], numbers["to"]) == ("ffn", UNITS, UNITS * 3 // 4)
    assert numbers["in_order"] == numbers["distinct"] == 1.0
    assert numbers["agreement"] == pytest.approx(1.0, abs=1e-6)
    rng = np.random.default_rng(smollm2.PRUNED_BY)
    kept = [np.sort(rng.permutation(UNITS)[: UNITS * 3 // 4]) for _ in range(LAYERS)]
    assert numbers["kept_sha256"] == order_digest({i: kept[i] for i in looked_at(found)})


def test_permuted_neurons_and_a_rotated_stream_are_recovered() -> None:
    found = compared(children.laundered(), children.base())
    assert_common_origin(found, at_least=100)
    told = steps(found)
    assert set(told) == {"permuted", "rotated", "rescaled", "settings_changed"}
    permuted, rotated = told["permuted"], told["rotated"]
    assert permuted["what"] == "ffn"
    assert permuted["units"] == UNITS * len(permuted["layers"])
    assert permuted["agreement"] == pytest.approx(1.0, abs=1e-6)
    rng = np.random.default_rng(smollm2.PERMUTED_BY)
    orders = [rng.permutation(UNITS) for _ in range(LAYERS)]
    assert permuted["moved"] == sum(int((orders[i] != np.arange(UNITS)).sum()) for i in permuted["layers"])
    assert permuted["order_sha256"] == order_digest({i: orders[i] for i in permuted["layers"]})
    assert (rotated["what"], rotated["width"], rotated["hadamard"]) == ("residual", WIDTH, False)
    assert rotated["agreement"] == pytest.approx(1.0, abs=1e-6)
    assert told["rescaled"]["what"] == "gains"
    assert told["rescaled"]["folded"] == told["rescaled"]["norms"]
    # A rotation before the final norm's gain unties the head from the embedding.
    assert told["settings_changed"]["settings"] == {"tied_embeddings": {"from": True, "to": False}}
    # The labels that were scrambled say nothing; those that were not say it.
    log10_e = {s["name"]: s["log10_e"] for s in found.to_dict()["stages"]}
    assert log10_e["direct"] < 1
    assert log10_e["rotated"] > 100


def test_a_mixture_made_from_a_dense_model_is_upcycled() -> None:
    found = compared(children.upcycled(), children.base())
    assert_common_origin(found)
    told = steps(found)
    assert set(told) == {"moe_upcycled", "layers_changed", "noise_added"}
    mixture = told["moe_upcycled"]
    assert mixture["experts"] == mixture["inherited"] == 2
    assert [e["from"] for e in mixture["expert_map"]] == ["dense", "dense"]
    assert all(e["in_place"] == 1.0 for e in mixture["expert_map"])
    assert mixture["cosine"] == pytest.approx(1 / np.sqrt(1 + 0.1**2), abs=1e-3)
    assert told["layers_changed"]["path"] == list(range(8))
    assert told["layers_changed"]["dropped"] == list(range(8, LAYERS))
    assert told["noise_added"]["level"] == pytest.approx(0.1, rel=0.03)


@pytest.mark.parametrize(
    ("child", "kinds"),
    [
        (lambda: children.quantised(GGMLQuantizationType.Q4_0), {"requantised", "re_encoded"}),
        (children.depth_pruned, {"layers_changed"}),
        (children.width_pruned, {"width_pruned"}),
        (children.laundered, {"permuted", "rotated", "rescaled", "settings_changed"}),
        (children.upcycled, {"moe_upcycled", "layers_changed"}),
    ],
    ids=["quantised", "depth-pruned", "width-pruned", "laundered", "upcycled"],
)
def test_a_parent_against_its_child_is_told_from_parent_to_child(
    child: Callable[[], Path], kinds: set[str]
) -> None:
    found = compared(children.base(), child())
    # The upcycled child has eight of the parent's thirty layers; what became of values is not told of so small a part.
    short = child is children.upcycled
    assert found.verdict.relation is (Relation.SHARED_PARTS if short else Relation.COMMON_ORIGIN)
    assert found.verdict.log10_e is not None
    assert found.verdict.log10_e > 100
    told = steps(found)
    assert set(told) == kinds
    turned = kinds & {"requantised", "layers_changed", "width_pruned", "moe_upcycled"}
    assert all(told[kind]["reversed"] is True for kind in turned)
    assert ("derivation.reversed" in found.verdict.notes) == bool(turned)
    if child is children.depth_pruned:
        assert told["layers_changed"]["dropped"] == [i for i in range(LAYERS) if i % 5 == 3]


def test_children_of_one_parent_share_its_origin() -> None:
    """Which of them came from which cannot be told from this; that they are kin can."""
    laundered = compared(children.laundered(), children.quantised(GGMLQuantizationType.Q4_0))
    assert_common_origin(laundered, at_least=100)
    assert {"permuted", "rotated"} <= set(steps(laundered))
    turned = compared(children.quantised(GGMLQuantizationType.Q4_0), children.laundered())
    assert_common_origin(turned, at_least=100)
    assert {"permuted", "rotated", "rescaled", "requantised"} <= set(steps(turned))
    assert not {"grafted", "fine_tuned", "sparsified"} & set(steps(turned))
    quantised = compared(
        *(children.quantised(k) for k in (GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q8_0))
    )
    assert_common_origin(quantised)
    assert steps(quantised)["requantised"]["lattice"] == "Q4_0"


def test_where_every_label_was_drawn_anew_no_exact_test_finds_anything() -> None:
    """The same function, yet no order, sign or basis is left: the null hypothesis on real weights.

    What the units hold still agrees once the basis is recovered. That is told, as no more than suggestive.
    """
    for kin in (children.base(), children.upcycled()):
        found = compared(children.scrambled(), kin)
        assert found.verdict.log10_e is not None
        assert found.verdict.log10_e < 1
        assert found.verdict.relation is Relation.SUGGESTIVE
        assert found.verdict.reason == "basis_without_labels"
        assert found.verdict.derivation == ()


# --- encoders


def test_an_int8_onnx_of_another_publisher_is_requantised() -> None:
    pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
    found = compared(fetch.path("minilm_int8"), fetch.folder("minilm"))
    assert_common_origin(found)
    told = steps(found)
    assert set(told) == {"requantised", "re_encoded"}
    numbers = told["requantised"]
    assert (numbers["lattice"], numbers["bits"], numbers["from_file"]) == ("INT8", 8, True)
    assert numbers["tensors"] == numbers["of"]
    assert numbers["error"] == pytest.approx(numbers["expected_error"], rel=0.1)
    assert numbers["error_in_steps"] == pytest.approx(1 / np.sqrt(12), rel=0.05)  # even inside a step
    assert told["re_encoded"]["to"]["format"] == "onnx"


def test_the_original_against_the_int8_copy_is_requantised_too() -> None:
    pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
    found = compared(fetch.folder("minilm"), fetch.path("minilm_int8"))
    assert_common_origin(found)
    told = steps(found)
    assert set(told) == {"requantised", "re_encoded"}
    assert told["requantised"]["lattice"] == "INT8"
    assert told["requantised"]["reversed"] is True


def test_siblings_share_their_embeddings_and_not_their_blocks() -> None:
    pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
    short, long = fetch.path("paraphrase_l3"), fetch.folder("minilm")
    for suspect, candidate in ((short, long), (long, short)):
        found = compared(suspect, candidate)
        assert found.verdict.relation is Relation.SHARED_PARTS
        assert found.verdict.log10_e is not None
        assert found.verdict.log10_e > 100
        assert "language: token embeddings" in found.verdict.scope
        assert not any("layers" in part for part in found.verdict.scope)
        assert not found.verdict.inherited_share
        # Every layer was held against every layer, and none is another's.
        drawn = [np.array(m["log10_e"]) for m in found.report.extra["layer_map"] if m["by"] == "order"]
        assert drawn
        assert all(m.shape in ((3, 6), (6, 3)) and m.max() < 3 for m in drawn)
        states = {r["state"] for r in found.report.extra["inheritance"] if r["layer"] is not None}
        assert "inherited" not in states


def test_a_pruned_vocabulary_is_told_from_the_rest() -> None:
    found = compared(children.e5("e5-small-enpt-q4"), children.e5("e5-small-q4"))
    assert_common_origin(found)
    told = steps(found)
    assert set(told) == {"vocabulary_changed"}
    numbers = told["vocabulary_changed"]
    assert numbers["change"] == "pruned"
    assert (numbers["from"], numbers["to"]) == (250037, 47284)
    assert (numbers["tokens_shared"], numbers["tokens_added"]) == (47284, 0)
    assert numbers["tokens_removed"] == 250037 - 47284
    assert numbers["rows_equal"] == 1.0
    assert all(d["relative_delta"] == 0.0 for d in found.report.extra["deltas"])


def test_encoders_of_equal_shape_that_are_strangers_stay_strangers() -> None:
    minilm = fetch.folder("minilm")
    assert_nothing_found(compared(children.e5("e5-small-q4"), minilm))
    assert_nothing_found(compared(minilm, children.e5("e5-small-enpt-q4")))
    # As deep as MiniLM, so that layers of one number meet each other too.
    assert_nothing_found(compared(children.e5_every_other_layer(), minilm))


def test_a_stranger_among_the_candidates_changes_nothing() -> None:
    whole, minilm = children.e5("e5-small-q4"), fetch.folder("minilm")
    found = compared(children.e5("e5-small-enpt-q4"), minilm, whole)
    assert_common_origin(found)
    assert found.verdict.candidate == 1
    assert [v["relation"] for v in found.to_dict()["verdicts"]] == ["none_found", "common_origin"]
    alone = compared(children.e5("e5-small-enpt-q4"), whole).verdict.log10_e
    assert found.verdict.log10_e == pytest.approx(alone - np.log10(2), abs=1.0)  # paid for two


def test_widths_that_differ_without_shared_tokens_cannot_be_tested() -> None:
    verdict = compared(children.laundered(), children.e5("e5-small-enpt-q4")).verdict
    assert verdict.relation is Relation.CANNOT_TEST
    assert verdict.log10_e is None
    assert verdict.reason


# --- the command line


def run(*arguments: object, code: int = 0, threads: int = 1) -> bytes:
    """Run filiation as a process of its own; return what it printed."""
    environment = {**os.environ, "COLUMNS": "80", "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "filiation.cli", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, timeout=300, check=False, env=environment)
    assert ran.returncode == code, ran.stderr.decode()
    assert b"Traceback" not in ran.stderr
    return ran.stdout


def test_the_command_line_finds_what_the_library_finds(tmp_path: Path) -> None:
    page, stored = tmp_path / "report.html", tmp_path / "report.json"
    suspect, candidate = children.depth_pruned(), children.base()
    out = run("compare", suspect, candidate, "--html", page, "--json", stored).decode()
    assert all(len(line) <= 80 for line in out.splitlines() if str(suspect) not in line)
    report = json.loads(stored.read_text())
    found = compared(suspect, candidate)
    assert report["verdict"] == found.to_dict()["verdict"]
    assert report["verdict"]["relation"] == "common_origin"
    assert report["evidence"] == found.to_dict()["evidence"]
    html = page.read_text()
    assert "<svg" in html
    assert "default-src 'none'" in html
    assert 'src="http' not in html


def test_reports_are_equal_byte_by_byte_whatever_the_threads(tmp_path: Path) -> None:
    suspect, candidate = children.e5("e5-small-enpt-q4"), children.e5("e5-small-q4")
    first = run("compare", suspect, candidate, "--json")
    assert run("compare", suspect, candidate, "--json", threads=2) == first
    stored = tmp_path / "report.json"
    stored.write_bytes(first)
    run("verify", stored)


def test_a_report_of_a_fitted_rotation_holds_with_other_threads(tmp_path: Path) -> None:
    """The last digits of a fit depend on the machine; what is found does not."""
    stored = tmp_path / "report.json"
    run("compare", children.laundered(), children.base(), "--json", stored)
    out = run("verify", stored, threads=2)
    assert b"holds" in out
    assert b"does not" not in out


def test_exit_codes_follow_the_relation() -> None:
    q8, base = children.quantised(GGMLQuantizationType.Q8_0), children.base()
    assert (
        run("compare", q8, base, "-q", "--fail-if", "common-origin", code=1).decode().strip()
        == "common_origin"
    )
    assert run("compare", q8, base, "-q", "--fail-if", "none-found").decode().strip() == "common_origin"
    strangers = (children.e5("e5-small-enpt-q4"), fetch.folder("minilm"))
    assert (
        run("compare", *strangers, "-q", "--fail-if", "none-found", code=1).decode().strip() == "none_found"
    )
    widths = (children.laundered(), children.e5("e5-small-enpt-q4"))
    assert (
        run("compare", *widths, "-q", "--fail-if", "inconclusive", code=3).decode().strip() == "cannot_test"
    )
