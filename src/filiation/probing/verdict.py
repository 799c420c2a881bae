"""What follows from the tests on an endpoint: one relation, never from one signal that a proxy can forge.

A proxy rewrites token counts, names and texts at will, so a relation of weights needs two tests of different kinds that
agree about one model, and one of them must be about what the whole model answers: an output layer and a tokenizer can
be taken over with nothing else. What is left of less is an association. See decisions/0015.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from filiation.behaviour.records import ProbeTest
from filiation.evidence import Outcome, ProbeRelation, ProbeVerdict

SAME, TOKENIZER, LAYER = "same_model", "tokenizer", "output_layer"
DERIVED, DISTILLED, EXCLUSIVE, MISTAKES = "derived", "distilled", "exclusive_data", "shared_mistakes"
IDENTITY = "identity"

SIMILAR_ONLY = "similar_only"
"""The reason of a distillation test without a reference model: likeness of texts, whatever its number."""

_SECOND = {SAME: (LAYER, TOKENIZER), DERIVED: (LAYER, EXCLUSIVE), EXCLUSIVE: (LAYER,)}
"""What a test of the whole model must be joined by, strongest first."""

_STRENGTH = (
    ProbeRelation.SAME_WEIGHTS,
    ProbeRelation.DERIVATIVE,
    ProbeRelation.TRAINED_ON_OUTPUTS,
    ProbeRelation.ASSOCIATED,
    ProbeRelation.DIFFERENT,
    ProbeRelation.NONE_FOUND,
    ProbeRelation.CANNOT_TEST,
)


@dataclass(frozen=True)
class _About:
    """The tests that ask about one model."""

    model: str | None
    tests: Mapping[str, ProbeTest]
    has_sibling: bool = False

    def is_(self, name: str, outcome: Outcome) -> bool:
        return name in self.tests and self.tests[name].outcome is outcome

    def supported(self, *names: str) -> tuple[str, ...]:
        return tuple(name for name in names if self.is_(name, Outcome.SUPPORTED))

    def contradicted(self, *names: str) -> bool:
        return any(self.is_(name, Outcome.CONTRADICTED) for name in names)


def judge(
    tests: Sequence[ProbeTest],
    identity: Mapping[str, str] | None = None,
    attention: Sequence[str] = (),
    *,
    has_sibling: bool = False,
) -> ProbeVerdict:
    """Return the strongest relation that the tests carry.

    Args:
        tests: every test, those that were not measured too.
        identity: by role or name, which model it is: roles with one value are one model (a parent whose weights are
            also the candidate's). A role that is absent is a model of its own.
        attention: phrase keys of contradictions between claims and findings; they carry no weight.
        has_sibling: whether some control is known to have the parent's tokenizer. Without one, agreement beyond the
            controls and an equal tokenizer are what any two models of one recipe show.
    """
    known = identity or {}
    groups: dict[str | None, dict[str, ProbeTest]] = {}
    for test in tests:
        if test.name == IDENTITY:  # what a model says of itself has weight 0
            continue
        key = None if test.against is None else known.get(test.against, test.against)
        kept = groups.setdefault(key, {})
        if test.name not in kept or _rank(test) < _rank(kept[test.name]):
            kept[test.name] = test
    found = [_about(_About(model, by_name, has_sibling)) for model, by_name in groups.items()]
    best = min(found, key=lambda v: _STRENGTH.index(v.relation), default=_nothing(None))
    return ProbeVerdict(
        best.relation,
        best.rests_on,
        best.against,
        best.p,
        best.log10_e,
        best.reasons,
        tuple(dict.fromkeys(attention)),
    )


def _rank(test: ProbeTest) -> int:
    """Which of two tests of one name and model counts: a contradiction before support, support before nothing."""
    order = (Outcome.CONTRADICTED, Outcome.SUPPORTED, Outcome.UNDECIDED, Outcome.NOT_MEASURED)
    return order.index(test.outcome)


def _about(about: _About) -> ProbeVerdict:
    return _weights(about) or _outputs(about) or _association(about) or _rest(about)


def _weights(about: _About) -> ProbeVerdict | None:
    """Same weights or a derivative: two tests of different kinds, and none that speaks against it."""
    against_same = about.contradicted(TOKENIZER, LAYER)
    for first, relation in (
        (SAME, ProbeRelation.SAME_WEIGHTS),
        (DERIVED, ProbeRelation.DERIVATIVE),
        (EXCLUSIVE, ProbeRelation.DERIVATIVE),
    ):
        by_tokenizer = (TOKENIZER,) if first is DERIVED and about.has_sibling else ()
        second = about.supported(*_SECOND[first], *by_tokenizer)
        if not about.supported(first) or not second:
            continue
        if about.contradicted(TOKENIZER) or (first is SAME and against_same):
            continue
        return _verdict(about, relation, (first, *second))
    return None


def _outputs(about: _About) -> ProbeVerdict | None:
    """Training on outputs: only where a reference model made the likelihoods comparable."""
    if about.supported(DISTILLED) and about.tests[DISTILLED].reason != SIMILAR_ONLY:
        return _verdict(about, ProbeRelation.TRAINED_ON_OUTPUTS, (DISTILLED,))
    return None


def _association(about: _About) -> ProbeVerdict | None:
    """One signal alone, or two that another contradicts."""
    held = about.supported(SAME, DERIVED, LAYER, EXCLUSIVE, DISTILLED, MISTAKES)
    if not held:
        return None
    reasons = ["one_signal"] if len(held) == 1 else []
    if LAYER in held and not about.contradicted(TOKENIZER):
        reasons = ["output_layer_alone"]
    elif DERIVED in held and about.supported(TOKENIZER):
        reasons = ["no_sibling_control"]
    if about.contradicted(TOKENIZER):
        reasons.append("tokenizer_contradicts")
    if about.contradicted(LAYER):
        reasons.append("output_layer_contradicts")
    if about.contradicted(SAME):
        reasons.append("answers_contradict")
    return _verdict(about, ProbeRelation.ASSOCIATED, held, tuple(reasons))


def _rest(about: _About) -> ProbeVerdict:
    """Nothing supports a relation: different from this model, nothing found, or nothing that could be asked."""
    if about.contradicted(SAME):
        return _verdict(about, ProbeRelation.DIFFERENT, (SAME,))
    measured = [t for t in about.tests.values() if t.outcome is not Outcome.NOT_MEASURED]
    if not measured:
        return _nothing(about.model)
    reasons = ("tokenizer_alone",) if about.supported(TOKENIZER) else ()
    return ProbeVerdict(ProbeRelation.NONE_FOUND, against=about.model, reasons=reasons)


def _nothing(model: str | None) -> ProbeVerdict:
    return ProbeVerdict(ProbeRelation.CANNOT_TEST, against=model, reasons=("nothing_measured",))


def _verdict(
    about: _About, relation: ProbeRelation, names: Sequence[str], reasons: tuple[str, ...] = ()
) -> ProbeVerdict:
    # The null hypothesis of SAME is sameness itself: its p-value bounds nothing about this relation.
    tests = [about.tests[name] for name in names if name != SAME]
    ps = [t.p for t in tests if t.p is not None]
    es = [t.log10_e for t in tests if t.log10_e is not None]
    return ProbeVerdict(
        relation, tuple(names), about.model, max(ps, default=None), min(es, default=None), reasons
    )
