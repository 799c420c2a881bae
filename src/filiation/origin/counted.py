"""What of the evidence a verdict counts: the label sets of the parts that it names, and no others (ADR 0013).

Leaving a label set out only ever lowers the e-value: what agreed counts as 1 in products and as 0 in means, whose
denominators stay, and what disagreed keeps its cost. So the figure is bounded by the e-value of all label sets, and
remains a bound whatever the choice of parts was made from.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from filiation.anatomy.model import Symmetry
from filiation.evidence import Effect, Evidence, Scale, Status
from filiation.origin import evalues
from filiation.origin.labelset import COUNTED_AS, KIND, Tested, combine, label_set
from filiation.origin.stages import LAYER_CARRIES, STAGES, Examination

#: Why a label set that agrees is not counted; phrase keys under ``shows``.
DENIED, UNCHECKED, IDLE = "labels_without_contents", "arrangement_not_checked", "labels_without_effect"
UNWEIGHED = "effects_not_weighed"
COPYABLE, NOT_NAMED = "gains_can_be_copied", "part_not_named"
#: Labels of the channels that heads carry, which can agree where the feed-forward networks do not.
OF_VALUES = frozenset({Symmetry.VALUE_ORDER, Symmetry.VALUE_SIGN})
_OF_NEURONS = frozenset({Symmetry.FFN_ORDER, Symmetry.FFN_SIGN, Symmetry.EXPERT_ORDER})


@dataclass(frozen=True, slots=True)
class Named:
    """The parts of one component that a verdict names.

    Attributes:
        pairs: the named layers of the suspect, each with its layer of the candidate; None where the component is
            named as a whole.
        values: layers of which only the value channels hold the same; ``experts`` those of them in which single
            experts do as well.
        rewritten: layers whose networks compute the same with units that hold something else.
        denied: layers whose labels agree and whose contents do not, or were not seen, with the reason.
        views: the views of the residual channels that are named (``embedding``); None for all of them.
        doubts: why a view is not named although its labels agree.
    """

    pairs: Mapping[int, int] | None = None
    values: Container[int] = ()
    experts: Container[int] = ()
    rewritten: Container[int] = ()
    denied: Mapping[int, str] = field(default_factory=dict[int, str])
    views: Container[str] | None = None
    doubts: Mapping[str, str] = field(default_factory=dict[str, str])

    def why_not(self, tested: Tested) -> str | None:
        """Return why a label set is not counted, None where it is."""
        subject = tested.subject
        if KIND[subject.symmetry] == "residual":
            named = self.views is None or subject.detail in self.views
            return None if named else self.doubts.get(subject.detail, NOT_NAMED)
        layer = subject.part.layer
        if layer is None:
            return None
        if layer in self.denied:
            return self.denied[layer]
        if layer in self.rewritten and subject.symmetry in _OF_NEURONS:
            return DENIED
        of_experts = layer in self.experts and subject.symmetry in _OF_NEURONS
        if layer in self.values and subject.symmetry not in OF_VALUES and not of_experts:
            return DENIED if subject.symmetry in _OF_NEURONS else NOT_NAMED
        if self.pairs is None:
            return None
        # Another stage may pair a named layer with another one of the candidate, whose contents were not seen.
        known = layer in self.pairs and subject.part.candidate_layer in (None, self.pairs[layer])
        return None if known else NOT_NAMED


def counted(examination: Examination, named: Named) -> tuple[float, dict[str, str]]:
    """Return the evidence of the named parts in bans, and why which label sets were left out, by their identities."""
    left_out: dict[str, str] = {}
    logs: list[float] = []
    for stage in examination.stages:
        tested = (*stage.residual, *stage.blocks)
        here = dict(_left_out(tested, named))
        logs.append(combine(tested, here))
        left_out |= here
    weights = [STAGES[stage.name] for stage in examination.stages]
    return evalues.log_mean(logs, weights) / evalues.LOG10, left_out


def _left_out(tested: Sequence[Tested], named: Named) -> Iterator[tuple[str, str]]:
    """Yield what is not counted, with the reason; a label set that disagrees stays, as the cost that it is."""
    sets: dict[str, list[Tested]] = {}
    for t in tested:
        if t.applied:
            sets.setdefault(label_set(t.subject), []).append(t)
    for members in sets.values():
        whys = [(t, named.why_not(t)) for t in members]
        agrees = evalues.log_mean([t.log_e for t in members]) > 0
        if all(why for _, why in whys) and not agrees:
            continue
        none_named = all(why for _, why in whys)
        for t, why in whys:
            if why and (none_named or t.log_e > 0):
                # Of labels that hardly agree there is nothing to tell, whatever the contents are.
                yield t.subject.identity, why if t.log10_e >= LAYER_CARRIES else NOT_NAMED


def marked(records: Iterable[Evidence], left_out: Mapping[str, str]) -> Iterator[Evidence]:
    """Yield the records; those that a verdict does not count say so: counted as 0, and why."""
    for e in records:
        why = left_out.get(e.id.partition("/")[2])
        if why is None or e.status is not Status.APPLIED or e.scale is not Scale.EXACT:
            yield e
            continue
        effects = tuple(x for x in e.effect if x.name != COUNTED_AS)
        yield replace(e, effect=(*effects, Effect(COUNTED_AS, 0.0)), shows=f"shows.{why}")
