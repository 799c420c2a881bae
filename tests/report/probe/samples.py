"""A probe's report with everything in it, made by hand; the numbers mean nothing."""

from __future__ import annotations

from dataclasses import replace

from filiation.behaviour.records import ProbeTest
from filiation.endpoint.model import Capabilities, EndpointRecord, Spent, Support
from filiation.evidence import Effect, Evidence, Outcome, ProbeVerdict, Scale, Wing
from filiation.probing.records import Asked, Commitment, ProbeReport
from filiation.probing.verdict import judge

ABLE = Capabilities(
    chat=True,
    completions=True,
    usage=True,
    top_logprobs=-1,
    seed=Support.IGNORED,
    n=Support.REFUSED,
    notes=("logprobs_not_normalised",),
)


def test_of(name: str, outcome: Outcome, **fields: object) -> ProbeTest:
    against = "parent" if name == "derived" else "reference"
    return ProbeTest(name, f"behaviour.{name}", outcome, against=against, **fields)  # type: ignore[arg-type]


TESTS = (
    test_of(
        "same_model",
        Outcome.SUPPORTED,
        log10_e=-0.3,
        p=0.41,
        effect=(Effect("distance", 0.012, 0.0, 0.031),),
        smallest_effect=Effect("dilution", 0.1),
        requests=800,
        figures={"wealth": [[0, 0.0], [100, -0.4], [400, -0.3]], "decision_log10": 2.0},
    ),
    test_of(
        "tokenizer",
        Outcome.SUPPORTED,
        requests=16,
        figures={
            "probes": [{"stated": 64}, {"stated": 120}, {"stated": 90}],
            "candidates": [
                {"name": "harbour", "counts": [30, 86, 56]},
                {"name": "<b>other</b>", "counts": [34, 79, 13]},
                {"name": "not counted", "counts": None},
            ],
        },
    ),
    test_of(
        "output_layer",
        Outcome.SUPPORTED,
        p=0.03,
        requests=1,
        controls=("row-permuted",),
        figures={
            "residuals": [
                {"name": "candidate", "kind": "candidate", "held_out": 3e-13},
                {"name": "row_permuted_1", "kind": "row_permuted", "held_out": 1.7},
            ]
        },
    ),
    test_of(
        "derived",
        Outcome.UNDECIDED,
        p=0.2,
        reason="one_signal",
        figures={
            "agreement": [
                {"name": "parent", "share": 0.43, "low": 0.4, "high": 0.46},
                {"name": "control-1", "share": 0.40, "low": 0.37, "high": 0.43, "control": True},
            ]
        },
    ),
    test_of("distilled", Outcome.NOT_MEASURED, reason="nothing_measured"),
)


def full_report() -> ProbeReport:
    suspect = EndpointRecord("suspect", "http://127.0.0.1:4000/v1", "nova-1", "openai", ABLE, ("nova-1",))
    reference = EndpointRecord("reference", "harbour.gguf", "harbour-135m", "llama-server", ABLE)
    identity = {"reference": "harbour", "parent": "harbour"}
    return ProbeReport(
        tool={"name": "filiation", "version": "0.1.0"},
        command={"name": "probe", "log": "log.jsonl"},
        models=Asked(suspect, (reference,), identity=identity),
        verdict=judge(TESTS, identity, attention=("claim_against_tokenizer",)),
        tests=TESTS,
        evidence=tuple(Evidence(t.evidence, Wing.BEHAVIOUR, t.name, scale=Scale.CALIBRATED) for t in TESTS),
        spent=Spent(817, 20_000, 900, {"suspect": 410, "reference": 407}),
        commitment=Commitment("ab" * 16, "cd" * 32),
        log_sha256="ef" * 32,
        limits=("proxy", "identity"),
    )


def hostile_report() -> ProbeReport:
    """The same from an endpoint that names itself in ways that would break out of a page or a terminal."""
    report = full_report()
    name = "</script><script>alert(1)</script>\u202e\x1b[31m|`x`@all" + "n" * 200
    asked = replace(
        report.models, suspect=replace(report.models.suspect, model=name, returned_models=(name + "2",))
    )
    return replace(report, models=asked)


def verdict_of(relation: ProbeVerdict) -> ProbeReport:
    return replace(full_report(), verdict=relation)
