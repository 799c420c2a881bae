"""Reports made by hand, as the comparison makes them: what the renderers are tested on without any model."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from filiation.evidence import (
    Background,
    Derivation,
    Effect,
    Evidence,
    FileRecord,
    Location,
    ModelRecord,
    Relation,
    Report,
    RestsOn,
    Scale,
    Status,
    Verdict,
    Wing,
)

SIGMA_BACKGROUND = Background(
    description="unrelated unquantised decoder models",
    n_pairs=3685,
    quantiles={
        "q25": 0.316,
        "median": 0.509,
        "q75": 0.742,
        "q90": 0.847,
        "q95": 0.873,
        "q99": 0.904,
        "max": 0.919,
    },
    source="arXiv 2507.03014, re-measured on a public benchmark of 94 models",
    n_families=86,
    false_positive_rate=0.335,
)


def model(name: str, layers: int, digest: str, **changes: Any) -> ModelRecord:
    """A Llama-shaped model of some billions of parameters."""
    record = ModelRecord(
        locator=f"models/{name}",
        name=name,
        format="safetensors",
        digest=digest * 32,
        files=(
            FileRecord("config.json", 651, sha256="5d" * 32),
            FileRecord("model-00001-of-00002.safetensors", 4_877_660_776, not_hashed="sampled_read"),
            FileRecord("model-00002-of-00002.safetensors", 4_932_751_008, not_hashed="sampled_read"),
        ),
        family="llama",
        geometry={
            "language": {
                "d_model": 2048,
                "n_layers": layers,
                "d_ff": 8192,
                "n_heads": 32,
                "n_kv_heads": 8,
                "vocab": 128256,
                "gated": True,
            }
        },
        dtypes={"BF16": 9 * layers + 3},
        parameters=1_235_814_400,
        total_bytes=9_810_411_784,
        bytes_read=18_874_368,
    )
    return replace(record, **changes)


def ffn(
    layer: int, other: int, test: str, x: float, n: int, expected: float, log10_e: float, stage: str
) -> Evidence:
    """One row of a test on feed-forward neurons."""
    return Evidence(
        id=f"origin.{test}/ffn_{test.split('_')[1]}/language/layer={layer}/candidate_layer={other}/stage={stage}",
        wing=Wing.ORIGIN,
        question="question.ffn_order",
        part=Location("language", layer, "ffn", other),
        test=test,
        statistic_name="z" if test.endswith("diagonal") else "units_in_place",
        statistic=x,
        expected=expected,
        n=n,
        log10_e=log10_e,
        effect=(Effect("share", x / n, 0.9, 1.0),),
        rests_on=RestsOn.RANDOM,
        label_set=f"language/layer={layer}/ffn_order",
        symmetry="ffn_order",
        shows="shows.ffn_order",
        cannot_show=("cannot_show.direction", "cannot_show.shared_initialisation"),
    )


def untested(test: str, reason: str, layers: range) -> tuple[Evidence, ...]:
    """Rows of a test that did not run."""
    return tuple(
        Evidence(
            id=f"origin.{test}/{test}/language/layer={layer}/stage=direct",
            wing=Wing.ORIGIN,
            question=f"question.{test}",
            part=Location("language", layer),
            status=Status.NOT_APPLICABLE,
            reason=reason,
            test=test,
        )
        for layer in layers
    )


def likeness(test: str, value: float, background: Background | None) -> Evidence:
    """A similarity statistic."""
    return Evidence(
        id=f"likeness.{test}/language",
        wing=Wing.LIKENESS,
        question=f"question.{test}",
        scale=Scale.CALIBRATED,
        test=test,
        statistic_name="mean_correlation",
        statistic=value,
        background=background,
    )


def kept_layers(depth: int, dropped: int) -> list[tuple[int, int]]:
    """A pairing in which the suspect lacks some layers of the candidate's middle."""
    start = depth // 2
    kept = [j for j in range(depth) if not start <= j < start + dropped]
    return list(enumerate(kept))


def layer_map(
    suspect: int, candidate: int, pairs: list[tuple[int, int]], strength: float = 380.0
) -> dict[str, Any]:
    """A map with strong evidence on the pairs, little beside them, and one column that was not read."""
    rng = np.random.default_rng(7)
    values: list[list[float | None]] = rng.normal(-0.3, 0.4, (suspect, candidate)).tolist()
    for i, j in pairs:
        values[i][j] = strength * (0.2 + 0.8 * abs(math.sin(i + 1)))
    for row in values:
        row[candidate // 2] = None
    return {
        "candidate": 0,
        "component": "language",
        "suspect_layers": list(range(suspect)),
        "candidate_layers": list(range(candidate)),
        "log10_e": values,
        "matched": [[None] * candidate for _ in range(suspect)],
        "units": 256,
    }


def inheritance(pairs: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """A map in which embeddings were replaced and one layer is new."""
    rows: list[dict[str, Any]] = []
    for role in ("embedding", "final_norm"):
        state = "not_found" if role == "embedding" else "inherited"
        rows.append(_cell(None, None, role, state, 0.1 if state == "not_found" else 61.0))
    for role in ("attn_norm", "q", "k", "v", "o", "ffn_norm", "gate", "up", "down"):
        for i, j in pairs:
            state = "not_tested" if role in ("q", "k") else "not_found" if i == 3 else "inherited"
            rows.append(
                _cell(i, j, role, state, None if state == "not_tested" else 340.0 * (state == "inherited"))
            )
    return rows


def _cell(
    layer: int | None, other: int | None, role: str, state: str, log10_e: float | None
) -> dict[str, Any]:
    tested = state != "not_tested"
    return {
        "candidate": 0,
        "component": "language",
        "layer": layer,
        "candidate_layer": other,
        "role": role,
        "state": state,
        "log10_e": log10_e,
        "matched": (250 if state == "inherited" else 1) if tested else None,
        "n": 256 if tested else None,
        "expected": 1.0 if tested else None,
        "cosine": (0.93 if state == "inherited" else 0.01) if tested else None,
    }


def curves(suspect: int, candidate: int) -> list[dict[str, Any]]:
    """Four curves over depth; one of the suspect's has a gap."""
    found: list[dict[str, Any]] = []
    for n, name in enumerate(("sigma_q", "sigma_k", "sigma_v", "sigma_o")):
        mine: list[float | None] = [0.02 + 0.004 * math.sin(n + i / 3) + 0.0004 * i for i in range(suspect)]
        theirs = [0.021 + 0.004 * math.sin(n + i / 3.2) + 0.0004 * i for i in range(candidate)]
        if n == 2:
            mine[suspect // 2] = None
        found.append({"name": name, "suspect": mine, "candidate": theirs})
    return found


def full_report(depth: int = 24, dropped: int = 4) -> Report:
    """A depth-pruned, fine-tuned, requantised child: every section of a report has something to show."""
    pairs = kept_layers(depth, dropped)
    rows = [ffn(i, j, "ffn_order", 4850.0 - i, 4864, 1.0, 4011.5 - i, "aligned") for i, j in pairs]
    rows += [ffn(i, j, "ffn_order_diagonal", 88.2 + i, 4864, 0.0, 1103.0 + i, "aligned") for i, j in pairs]
    rows += [ffn(i, i, "ffn_order", 1.0 * (i % 3), 4864, 1.0, -0.2, "direct") for i, _ in pairs[: depth // 3]]
    residual = Evidence(
        id="origin.residual_order/residual_order/language/gains/stage=aligned",
        wing=Wing.ORIGIN,
        question="question.residual_order",
        part=Location("language", None, "residual"),
        test="residual_order",
        statistic_name="units_in_place",
        statistic=2031.0,
        expected=1.0,
        n=2048,
        log10_e=5412.25,
        rests_on=RestsOn.CONSTANT,
        label_set="language/residual_order",
        shows="shows.residual_order",
        cannot_show=("cannot_show.direction",),
    )
    nothing = (
        *untested("value_sign", "norm_after_attention", range(len(pairs))),
        *untested("expert_order", "no_experts", range(len(pairs))),
        *untested("residual_sign", "a reason that no phrase file knows yet", range(1)),
    )
    extra: dict[str, Any] = {
        "bytes_read": 37_748_736,
        "stages": [
            {"name": "direct", "why": "stage.direct", "bytes_read": 8_388_608, "log10_e": -0.3},
            {"name": "aligned", "why": "stage.aligned", "bytes_read": 29_360_128, "log10_e": 9423.9},
        ],
        "layer_map": [layer_map(len(pairs), depth, pairs)],
        "pairing": [
            {"candidate": 0, "component": "language", "layers": [list(p) for p in pairs], "basis": "identity"}
        ],
        "inheritance": inheritance(pairs),
        "curves": curves(len(pairs), depth),
        "architecture": {
            "added": [],
            "removed": ["q_norm"],
            "changed": [{"what": "n_layers", "suspect": len(pairs), "candidate": depth}],
        },
        "deltas": [
            {
                "tensor": f"model.layers.{i}.mlp.down_proj.weight",
                "role": "down",
                "layer": i,
                "relative_delta": 0.031 + i / 1000,
                "rank": None,
            }
            for i, _ in pairs
        ],
    }
    return Report(
        tool={"name": "filiation", "version": "0.1.0"},
        command={
            "name": "compare",
            "suspect": "models/Aster-1B-chat",
            "candidates": ["models/Meridian-1.2B"],
            "full": False,
            "budget": None,
            "base": None,
        },
        models={
            "suspect": model(
                "Aster-1B-chat", len(pairs), "a7", inferred=("no config.json: geometry inferred",)
            ),
            "candidates": [model("Meridian-1.2B", depth, "3f", revision="9c1d6f2e")],
        },
        evidence=(
            *rows,
            residual,
            *nothing,
            likeness("sigma_curve", 0.9812, SIGMA_BACKGROUND),
            likeness("norm_correlation", 0.8714, None),
        ),
        verdict=Verdict(
            relation=Relation.COMMON_ORIGIN,
            log10_e=9423.9,
            scope=("language",),
            false_positive_bound=0.0,
            inherited_share=0.9312,
            derivation=(
                Derivation("layers_changed", {"dropped": list(range(depth // 2, depth // 2 + dropped))}),
                Derivation("fine_tuned", {"median_relative_delta": 0.0413, "tensors_changed": 182}),
                Derivation("requantised", {"lattice": "Q4_0", "block": 32, "error": 0.0021}),
            ),
            notes=("history_by_gains",),
        ),
        limits=("direction_unknown", "sampled", "distillation", "full_scramble", "null_hypothesis"),
        extra=extra,
    )


def verdict_report(relation: Relation, **changes: Any) -> Report:
    """A report with little else than a verdict."""
    log10_e = {
        Relation.IDENTICAL: 844.3,
        Relation.COMMON_ORIGIN: 844.3,
        Relation.SHARED_PARTS: 61.2,
        Relation.SHARED_INITIALISATION: 433.0,
        Relation.SUGGESTIVE: 3.1,
        Relation.NONE_FOUND: -0.4,
    }.get(relation)
    verdict = Verdict(
        relation=relation,
        log10_e=log10_e,
        scope=("language: token embeddings", "language: layers 0-3, 7")
        if relation is Relation.SHARED_PARTS
        else (),
        reason="no_testable_units" if log10_e is None else None,
        false_positive_bound=None if log10_e is None else min(1.0, 10.0**-log10_e),
    )
    return Report(
        tool={"name": "filiation", "version": "0.1.0"},
        command={"name": "compare", "suspect": "a", "candidates": ["b"]},
        models={"suspect": model("child", 8, "a7"), "candidates": [model("base", 8, "3f")]},
        evidence=(),
        verdict=replace(verdict, **changes),
        limits=("direction_unknown",),
        extra={"bytes_read": 1024},
    )


def hostile_report() -> Report:
    """A report whose models carry markup, control characters and absurd names."""
    name = '<img src="http://evil.example/x" onerror="alert(1)">[bold red]&"\'\x1b[31m\u202ekcab`|*_@team {bound} {0}'
    report = full_report(6, 2)
    suspect = replace(model(name, 4, "a7"), locator=f"hf://{name}", family=name, inferred=(name,))
    return replace(
        report,
        models={"suspect": suspect, "candidates": [model("</script><script>alert(2)</script>", 6, "3f")]},
        command={"name": "compare", "suspect": f"hf://{name}", "candidates": ["$(rm -rf b); `c`"]},
        limits=(name, "a limit {unknown}"),
        verdict=replace(
            report.verdict, notes=(name,), scope=(name,), derivation=(Derivation(name, {name: [name]}),)
        ),
    )
