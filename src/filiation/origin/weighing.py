"""What the matched units of two layers count: by what they contribute in either model (ADR 0017).

A model that is read whole is weighed by :mod:`filiation.origin.effects`. Of a sampled reading the rows that were read
are weighed, by what they read, the spread of the token rows, and a few rows of the matrix that they write through;
where every read is a request, those of a few layers (ADR 0021).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from filiation.origin.effects import Effects, as_much, capped, of_model, spread, usual
from filiation.origin.gather import Side, Window, ffn_units, token_rows
from filiation.origin.pairing import Pairing, Plan, expert_pairs, experts_of, ffn_views
from filiation.origin.scale import mean_square, wide
from filiation.origin.units import Doubles, Floats, Integers, Units

#: How many times weaker (beside what is usual) a unit may be in the other model and count as much.
WEAKER = 2.0
#: Channels by which a sampled reading sees how much neurons write.
CHANNELS = 16
#: Under a budget: how little a layer may do in the other model, beside its token rows, and be compared. Kin have .5
#: and more, silenced layers a millionth.
BESIDE_TOKENS = 0.05
#: How far apart, in logarithms, units write and fire where they were scaled in pairs; and the fewest that tell.
SCALED, FEW_UNITS = 0.7, 16
#: No moments: where no basis is common, what units read is not compared.
_NOWHERE = np.zeros(0, np.float32), np.zeros(0, np.float32)


def relative(effects: Doubles) -> Doubles:
    """Return units' effects beside what is usual: their mean, weighed by themselves, which dead ones do not move."""
    total = float(effects.sum())
    return effects * (total / float(np.square(effects).sum())) if total > 0 else np.zeros(len(effects))


def beside_half(effects: Doubles) -> Doubles:
    """Return units' effects beside that from which on half of all effect lies, which one loud unit does not move.

    A sample of one model need not hold the loudest neuron of the other, which can do as much as hundreds.
    """
    values = np.sort(effects)
    reached = np.cumsum(values)
    total = float(reached[-1]) if len(values) else 0.0
    if total <= 0:
        return np.zeros(len(effects))
    return effects / float(values[np.searchsorted(reached, total / 2)])


@dataclass(frozen=True, eq=False)
class Weighing:
    """How the matched units of two layers are weighed.

    Attributes:
        moments: of what either layer is given, in the common basis: ``(d, d)``, or ``(d,)`` where only each
            channel's is known. Empty where no basis is common.
        suspect, candidate: each unit's effect beside what is usual in its layer, by its number; 0 for those that
            were not read.
        mean: the mean of the suspect's, of those that were read; ``other`` that of the candidate's.
        stride: how many units a block has, where there are blocks.
    """

    moments: tuple[Floats, Floats]
    suspect: Doubles
    candidate: Doubles
    mean: float
    other: float
    stride: int = 0

    def turned(self) -> Weighing:
        """Return how the candidate's units are weighed beside the suspect's."""
        moments = self.moments[1], self.moments[0]
        return Weighing(moments, self.candidate, self.suspect, self.other, self.mean, self.stride)

    def number(self, units: Units) -> Integers:
        """Return each unit's number in its layer."""
        return units.position + units.block * self.stride

    def share(self, mine: Integers, theirs: Integers) -> Doubles:
        """Return what each matched unit counts: sums to 1 at most over all of the ``mine`` that are looked at.

        A unit that is far weaker in the other model counts no more than it does there. Where those that are looked
        at do less than half of what as many units do, they do not speak for their layer.

        Args:
            mine, theirs: numbers of the suspect's units and of their partners, -1 for none.
        """
        own = self.suspect[mine]
        other = np.where(theirs >= 0, self.candidate[np.maximum(theirs, 0)], 0.0)
        least = 0.5 * len(mine) * self.mean
        return np.minimum(own, WEAKER * other) / max(float(own.sum()), least, 1e-30)


Experts = tuple[int | None, int | None]
Views = tuple[Units, Units]


def weighing(
    pairing: Pairing, pair: tuple[int, int], experts: Experts, views: Views, plan: Plan
) -> Weighing | None:
    """Return how the neurons of a layer pair (of a pair of experts) are weighed; None where that is not measured."""
    if not plan.whole:
        return _of_what_was_read(pairing, pair, experts, views, plan)
    mine, theirs = of_model(pairing.suspect, plan), of_model(pairing.candidate, plan)
    if mine is None or theirs is None:
        return None
    units = mine.units.get((pair[0], experts[0])), theirs.units.get((pair[1], experts[1]))
    return _of_wholes(pairing, pair, (mine, theirs), units)


def weighing_of_values(pairing: Pairing, pair: tuple[int, int], plan: Plan) -> Weighing | None:
    """Return how the value channels of a layer pair are weighed; None where that is not measured."""
    mine, theirs = of_model(pairing.suspect, plan), of_model(pairing.candidate, plan)
    if mine is None or theirs is None:
        return None
    found = _of_wholes(pairing, pair, (mine, theirs), (mine.values.get(pair[0]), theirs.values.get(pair[1])))
    return None if found is None else replace(found, stride=pairing.suspect.geometry.d_head or 0)


def _of_wholes(
    pairing: Pairing,
    pair: tuple[int, int],
    effects: tuple[Effects, Effects],
    units: tuple[Doubles | None, Doubles | None],
) -> Weighing | None:
    mine = _carried(pairing.suspect, effects[0], pair[0])
    theirs = _carried(pairing.candidate, effects[1], pair[1])
    if mine is None or theirs is None or mine.shape != theirs.shape or units[0] is None or units[1] is None:
        return None
    own, other = relative(units[0]), relative(units[1])
    return Weighing((mine, theirs), own, other, float(own.mean()), float(other.mean()))


def _carried(side: Side, effects: Effects, layer: int) -> Floats | None:
    """Return the moment of what a layer is given in the common basis."""
    moment = effects.moments.get(layer)
    return None if moment is None else side.carry(np.ascontiguousarray(side.carry(moment).T))


def _of_what_was_read(
    pairing: Pairing, pair: tuple[int, int], experts: Experts, views: Views, plan: Plan
) -> Weighing | None:
    if not chosen(pairing, pair, plan):
        return None
    sides = pairing.suspect, pairing.candidate
    moments = [_of_channels(side, plan) for side in sides]
    if moments[0] is None or moments[1] is None or moments[0].shape != moments[1].shape:
        return None
    seen = [
        None if moment is None else _of_units(side, layer, expert, units, moment, plan)
        for side, layer, expert, units, moment in zip(sides, pair, experts, views, moments, strict=True)
    ]
    if seen[0] is None or seen[1] is None:
        return None
    mine, theirs = (_by_number(x, v) for x, v in zip((seen[0], seen[1]), views, strict=True))
    return Weighing((moments[0], moments[1]), mine, theirs, seen[0].mean, seen[1].mean)


def _by_number(seen: _Seen, units: Units) -> Doubles:
    """Return each unit's effect beside what is usual by its number; 0 for those that were not read."""
    everyone = np.zeros(1 + int(units.position.max(initial=0)))
    everyone[units.position] = seen.relative
    return everyone


def weighing_apart(
    pairing: Pairing, pair: tuple[int, int], experts: Experts, window: Window, plan: Plan
) -> Weighing | None:
    """Return how the neurons of a layer pair are weighed where no basis is common: each inside its own model.

    None where that is not measured. Of a sampled reading the units at the positions ``window`` are weighed.
    """
    models = tuple(zip((pairing.suspect, pairing.candidate), pair, experts, strict=True))
    if plan.whole:
        units = [neurons_of(side, layer, expert, plan) for side, layer, expert in models]
        if units[0] is None or units[1] is None:
            return None
        own, other = relative(units[0]), relative(units[1])
        return Weighing(_NOWHERE, own, other, float(own.mean()), float(other.mean()))
    if not chosen(pairing, pair, plan):
        return None
    found: list[tuple[Doubles, float]] = []
    for side, layer, expert in models:
        views, moment = ffn_units(side, layer, expert, window, with_down=False), _of_channels(side, plan)
        seen = (
            None if views is None or moment is None else _of_units(side, layer, expert, views, moment, plan)
        )
        if views is None or seen is None:
            return None
        found.append((_by_number(seen, views), seen.mean))
    return Weighing(_NOWHERE, found[0][0], found[1][0], found[0][1], found[1][1])


def chosen(pairing: Pairing, pair: tuple[int, int], plan: Plan) -> bool:
    """Return whether a layer pair is one of those to weigh: all of them, where no byte is counted."""
    if plan.budget is None or pairing.weighed is None:
        return plan.budget is None or pair[0] not in pairing.unsigned
    return pair[0] in pairing.weighed


def weighed(pairing: Pairing, pair: tuple[int, int], plan: Plan) -> bool:
    """Return whether the neurons of a layer pair are weighed: chosen, and what it takes could be read."""
    views, experts = ffn_views(pairing, pair, with_down=plan.whole), expert_pairs(pairing, pair)
    return len(views) == len(experts) and all(
        weighing(pairing, pair, e, v, plan) is not None for e, v in zip(experts, views, strict=True)
    )


def _of_channels(side: Side, plan: Plan) -> Floats | None:
    """Return each channel's mean square over some token rows in the common basis, 1 on average."""
    rows = _token_rows(side, plan)
    if rows is None or not len(rows):
        # Under a budget the units of some layers must be weighed: then every channel counts alike.
        width = len(side.carry(np.zeros((1, side.geometry.d_model), np.float32))[0])
        return None if plan.budget is None else np.ones(width, np.float32)
    squares = np.square(wide(side.carry(rows))).mean(axis=0)
    return squares / np.maximum(squares.mean(), np.float32(1e-30))


def _token_rows(side: Side, plan: Plan) -> Floats | None:
    """Return a seeded run of token rows; under a budget the first of those that are read anyway, where ids agree."""
    part = side.anatomy.part("embedding", component=side.component)
    n, count = 0 if part is None else part.shape[0], plan.tokens // 4
    free = plan.budget is None
    purpose, most = ("effects/tokens", count) if free else ("tokens", plan.tokens)
    start = int(plan.rng(purpose).integers(0, max(1, n - most + 1)))
    ids = np.arange(start, min(n, start + count))

    def read() -> Floats | None:
        affordable = plan.affords(side.anatomy.checkpoint, 4 * len(ids) * side.geometry.d_model)
        rows = token_rows(side, ids) if affordable else None
        return None if rows is None or not len(rows) else capped(wide(rows)).astype(np.float32)

    return side.cache.once(("effects/channels", side.is_suspect, side.component, start), read)


def channels_written(side: Side, plan: Plan) -> Window:
    """Return the seeded run of channels by which it is seen how much neurons write; the same in every layer."""
    rows = side.geometry.d_model
    start = int(plan.rng("effects/down").integers(0, max(1, rows - CHANNELS + 1)))
    return start, min(rows, start + CHANNELS)


def _written(side: Side, layer: int, expert: int | None, plan: Plan) -> Floats | None:
    """Return what neurons write into a few channels; None where that is not there, or the budget forbids it."""
    part, window = side.anatomy.part("down", layer, expert, side.component), channels_written(side, plan)
    if part is None or plan.budget is None:
        return side.matrix("down", layer, expert, window)
    # No range of a transposed matrix holds rows: all of it is read.
    rows = part.shape[0] if part.view.transpose else CHANNELS

    def read() -> Floats | None:
        affordable = plan.affords(side.anatomy.checkpoint, 4 * rows * part.shape[1])
        return side.matrix("down", layer, expert, window) if affordable else None

    return side.cache.once(("effects/down", side.is_suspect, side.component, layer, expert), read)


@dataclass(frozen=True, eq=False)
class _Seen:
    """Effects of units that were read: ``(units,)``, the same beside what is usual, and the layer's mean of those."""

    effects: Doubles
    relative: Doubles
    mean: float


def _of_units(
    side: Side, layer: int, expert: int | None, units: Units, moment: Floats, plan: Plan
) -> _Seen | None:
    """Return what the units that were read contribute, as far as a few channels tell.

    How much all units of the layer write is known, so units that are silent together do not pass for usual ones.
    """
    down = _written(side, layer, expert, plan)
    if down is None or not len(units) or units.position.max() >= down.shape[1]:
        return None
    if side.levelled:
        down = down - down.mean(axis=0)  # as far as a few channels show it
    written = np.sqrt(np.square(down, dtype=np.float64).sum(axis=0))
    read = [units.content, *units.signed[:1]]
    fires = np.ones(len(units))
    for each in read:
        fires = fires * spread(each, moment)
    effects = written[units.position] * fires
    if scaled_in_pairs(written[units.position], fires) and _usual_here(written, units.position):
        together = beside_half(effects)
        return _Seen(effects, together, float(together.mean()))
    everywhere, firing = beside_half(written), beside_half(fires)
    ratio = everywhere[units.position] * firing
    return _Seen(effects, ratio, float(everywhere.mean()) * float(firing.mean()))


def scaled_in_pairs(written: Doubles, fires: Doubles) -> bool:
    """Return whether units write the less the more they fire, as scaling what they read and write in pairs leaves it.

    Then neither says anything alone: their products differ far less than either does.
    """
    if len(written) < FEW_UNITS or min(float(written.min()), float(fires.min())) <= 0:
        return False
    writes, fired = np.log(written), np.log(fires)
    apart = min(float(writes.std()), float(fired.std()))
    return apart >= SCALED and float((writes + fired).std()) < apart / 2


def _usual_here(written: Doubles, read: Integers) -> bool:
    """Return whether the units that were read write as all of the layer do; silent ones must not vouch for others."""
    return float(written.mean()) <= WEAKER * float(written[read].mean())


def both_count(pairing: Pairing, pair: tuple[int, int], plan: Plan, branch: str = "ffn") -> bool:
    """Return whether a branch (``ffn``, ``attn``) of a layer pair does about as much in both models.

    True where that is not known.
    """
    if plan.frugal:
        return branch != "ffn" or _beside_tokens(pairing, pair, plan)
    shares = [
        _share(side, pair[column], branch, [p[column] for p in pairing.layers], plan)
        for column, side in enumerate((pairing.suspect, pairing.candidate))
    ]
    return as_much(shares[0], shares[1])


def _beside_tokens(pairing: Pairing, pair: tuple[int, int], plan: Plan) -> bool:
    """Return whether the neurons that were read do about as much, beside the token rows; True where it is not known.

    Under a budget too few layers are weighed to say what is usual. A norm behind a branch undoes what it writes.
    """
    sides = pairing.suspect, pairing.candidate
    views, experts = ffn_views(pairing, pair, with_down=False), expert_pairs(pairing, pair)
    known = len(views) == len(experts) and all(s.geometry.norm_position == "pre" for s in sides)
    if not known or not views or not chosen(pairing, pair, plan):
        return True
    sizes: list[float] = []
    for column, side in enumerate(sides):
        rows, moment = _token_rows(side, plan), _of_channels(side, plan)
        seen = [
            _of_units(side, pair[column], e[column], v[column], moment, plan)
            for e, v in zip(experts, views, strict=True)
            if moment is not None
        ]
        each = [float(x.effects.mean()) for x in seen if x is not None]
        scale = 0.0 if rows is None or not len(rows) else float(np.sqrt(mean_square(rows)))
        if not scale or not each or len(each) < len(views):
            return True
        sizes.append(float(np.mean(each)) / scale)
    return min(sizes) >= BESIDE_TOKENS * max(sizes)


def _share(side: Side, layer: int, branch: str, paired: list[int], plan: Plan) -> float | None:
    """Return what a branch does beside what is usual in its model (in the layers that were sampled, and paired)."""
    effects = of_model(side, plan)
    if effects is not None:
        return effects.share(layer, branch)
    if branch != "ffn":
        return None
    looked_at = dict.fromkeys((layer, *plan.sampled_layers(side.geometry.n_layers), *paired))
    found = {i: _of_layer(side, i, plan) for i in looked_at}
    own = found[layer]
    known = [e for e in found.values() if e is not None]
    return None if own is None else own / max(usual(known), 1e-30)


def idle(side: Side, layer: int, plan: Plan) -> bool:
    """Return whether a layer is known to do nothing to speak of."""
    effects = of_model(side, plan)
    return effects is not None and effects.idle(layer)


def neurons_of(side: Side, layer: int, expert: int | None, plan: Plan) -> Doubles | None:
    """Return each neuron's effect, None where the model is not read whole."""
    effects = of_model(side, plan)
    return None if effects is None else effects.units.get((layer, expert))


def _of_layer(side: Side, layer: int, plan: Plan) -> float | None:
    width = min(side.ffn_width, plan.units // 2)  # in the sampled layers beside all other reads
    first = int(plan.rng("effects/layers").integers(0, max(1, side.ffn_width - width + 1)))
    window: Window = (first, first + width)

    def measured() -> float | None:
        moment = _of_channels(side, plan)
        units = ffn_units(side, layer, experts_of(side, layer)[0], window, with_down=False)
        if moment is None or units is None or not len(units):
            return None
        seen = _of_units(side, layer, experts_of(side, layer)[0], units, moment, plan)
        # One neuron can be hundreds of times as loud as the others, and a sample of the other model not hold it.
        return None if seen is None else usual(seen.effects.tolist())

    return side.cache.once(("effects/layer", side.is_suspect, side.component, layer), measured)
