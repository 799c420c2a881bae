"""Does the output layer behind an endpoint lie in a candidate's? Log-probabilities regressed on its unembedding.

The candidate's held-out residual stands beside that of controls: other models' heads over the tokens they share, and
the candidate's own with its rows in another order. No formula stands for an unrelated head: real heads share directions
(that of token frequency above all), so that any isotropic law is off by many orders of magnitude.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filiation.behaviour import hidden_width, vectors
from filiation.behaviour.ellipse import Ellipse, check
from filiation.behaviour.heads import Head, Integers, permuted
from filiation.behaviour.rank import Rank
from filiation.behaviour.recording import applied, not_measured
from filiation.behaviour.records import Found, ProbeTest
from filiation.behaviour.regression import Residual, regress
from filiation.behaviour.rounds import asked, places
from filiation.behaviour.vectors import Observed, Way
from filiation.endpoint.model import Answer, Ask, Asker, Call, Failure
from filiation.evidence import Effect, Evidence, Outcome, Scale
from filiation.vocabulary import shared_rows

NAME = "output_layer"
_CANNOT = ("body_of_model", "direction", "copied_head")
_SHOWS = {
    Outcome.SUPPORTED: "layer_alike",
    Outcome.CONTRADICTED: "layer_unlike",
    Outcome.UNDECIDED: "layer_unclear",
}
_MARGIN = 1e3
_LIKE_CONTROLS = 10.0


@dataclass(frozen=True)
class Setting:
    """What the test of the output layer asks.

    Attributes:
        head: the candidate's.
        controls: heads of other models.
        role: the endpoint.
        seed: of the sample of tokens and of the row orders.
        permutations: how many row orders of the candidate's own head are controls too.
        prompts: how many, where a request gives the whole vocabulary.
        rank_prompts: how many vectors are collected to read the hidden size off; more than it is needed. 0: not asked.
    """

    head: Head
    controls: tuple[Head, ...] = ()
    role: str = "suspect"
    seed: int = 0
    permutations: int = 3
    prompts: int = 4
    rank_prompts: int = 0

    @property
    def id(self) -> str:
        """The evidence id, which holds every parameter."""
        return (
            f"behaviour.output_layer/role={self.role}/candidate={self.head.name}/prompts={self.prompts}"
            f"/permutations={self.permutations}/controls={len(self.controls)}/seed={self.seed}"
        )


@dataclass(frozen=True, eq=False)
class _Control:
    """A head with the map from the candidate's ids to its own."""

    head: Head
    kind: str
    mine: Integers
    theirs: Integers

    def at(self, ids: Integers) -> Integers:
        return self.theirs[np.searchsorted(self.mine, ids)]


def run(asker: Asker, setting: Setting) -> Found:
    """Ask for the vectors, regress them on every head, judge.

    Raises:
        NonFiniteWeightsError: rows that were read hold NaN or infinity.
    """
    if setting.role not in asker.records:
        return not_measured(NAME, setting.id, "endpoint_absent")
    able = asker.records[setting.role].capabilities
    controls, dropped = _controls(setting)
    names = tuple(c.head.name for c in controls)
    widest = max(setting.head.width, *(c.head.width for c in controls))
    needed = _rows(Way.IDS, widest)[0] + _rows(Way.IDS, widest)[1]
    way = vectors.way_of(able, needed)
    if able.top_logprobs is None and way is None:
        return not_measured(NAME, setting.id, "no_logprobs", controls=names)
    if way is None:
        return not_measured(NAME, setting.id, "top_k_below_width", controls=names)
    asks = (
        vectors.requests_for_all(able, vectors.texts(setting.seed, setting.prompts))
        if way is Way.ALL
        else vectors.requests_for_ids(
            able, _sample(_known(setting, controls), needed, setting.seed), vectors.texts(setting.seed, 1)[0]
        )
    )
    replies = asked(asker, [Call(setting.role, ask, NAME) for ask in asks])
    if replies is None:
        return not_measured(NAME, setting.id, "budget_too_small", controls=names)
    observed = _observed(way, replies, asks, needed, setting)
    known = _known(setting, controls)
    usable = np.intersect1d(known, observed.ids) if observed is not None else known[:0]
    if observed is None or len(usable) < needed:
        reason = "logprobs_incomplete" if observed is None else "too_few_shared_tokens"
        return not_measured(NAME, setting.id, reason, requests=len(replies), controls=names)
    size = _size(asker, setting, usable)
    return _judged(setting, controls, dropped, observed, usable, replies, size)


def _observed(
    way: Way, replies: Sequence[Answer | Failure], asks: Sequence[Ask], needed: int, setting: Setting
) -> Observed | None:
    known = setting.head.vocabulary
    if way is Way.ALL:
        return vectors.whole(replies, known, needed)
    anchors = asks[0].token_ids[: vectors.ANCHORS]
    rest = [number for ask in asks for number in ask.token_ids[vectors.ANCHORS :]]
    return vectors.batched(replies, np.array([*anchors, *rest], np.int64), known)


def _controls(setting: Setting) -> tuple[list[_Control], list[str]]:
    """Return the controls over the candidate's ids, and the names of heads that share too few tokens with it."""
    head = setting.head
    everything = np.arange(head.size, dtype=np.int64)
    kept: list[_Control] = []
    dropped: list[str] = []
    for other in setting.controls:
        mine, theirs = _shared(head, other)
        needed = sum(_rows(Way.IDS, max(head.width, other.width)))
        if len(mine) < needed:
            dropped.append(other.name)
        else:
            kept.append(_Control(other, "other_head", mine, theirs))
    kept += [
        _Control(permuted(head, setting.seed + n), "row_permuted", everything, everything)
        for n in range(setting.permutations)
    ]
    return kept, dropped


def _shared(head: Head, other: Head) -> tuple[Integers, Integers]:
    if head.vocabulary is not None and other.vocabulary is not None:
        mine, theirs = shared_rows(head.vocabulary, other.vocabulary)
        inside = (mine < head.size) & (theirs < other.size)
        return mine[inside], theirs[inside]
    same = np.arange(head.size if head.size == other.size else 0, dtype=np.int64)
    return same, same


def _known(setting: Setting, controls: Sequence[_Control]) -> Integers:
    """Return the candidate's ids that every control has a row for, tokens only where the vocabulary is known."""
    tokens = setting.head.vocabulary
    ids = np.arange(setting.head.size, dtype=np.int64)
    if tokens is not None:
        used = [n for n in range(min(len(tokens), setting.head.size)) if tokens.tokens[n] is not None]
        ids = np.array(used, np.int64)
    for control in controls:
        ids = np.intersect1d(ids, control.mine)
    return ids


def _rows(way: Way, width: int) -> tuple[int, int]:
    """Return how many tokens fit ``h`` and how many are predicted."""
    if way is Way.ALL:
        return 2 * width + 16, width + 16
    return -(-3 * width // 2) + 16, max(64, width // 4)


def _sample(ids: Integers, count: int, seed: int) -> Integers:
    return np.random.default_rng([0x10B5, seed]).permutation(ids)[:count]


def _size(asker: Asker, setting: Setting, usable: Integers) -> Rank | None:
    """Collect vectors for the hidden size, where that was asked for."""
    wanted = hidden_width.Setting(setting.seed, setting.rank_prompts, setting.role)
    return hidden_width.collect(asker, wanted, setting.head.vocabulary, usable)


def _judged(
    setting: Setting,
    controls: Sequence[_Control],
    dropped: Sequence[str],
    observed: Observed,
    usable: Integers,
    replies: Sequence[Answer | Failure],
    size: Rank | None,
) -> Found:
    widest = max(setting.head.width, *(c.head.width for c in controls))
    fit_rows, test_rows = _rows(observed.way, widest)
    if len(usable) < fit_rows + test_rows:
        fit_rows, test_rows = _rows(Way.IDS, widest)
    chosen = _sample(usable, fit_rows + test_rows, setting.seed)
    at = np.searchsorted(observed.ids, chosen)
    fit, test = chosen[:fit_rows], chosen[fit_rows:]
    fitted, tested = observed.values[at[:fit_rows]], observed.values[at[fit_rows:]]
    own = regress(setting.head, fit, fitted, test, tested)
    others = [regress(c.head, c.at(fit), fitted, c.at(test), tested) for c in controls]
    outcome, reason, margin = judge(own.held_out, [o.held_out for o in others], observed.floor)
    ellipse = check(setting.head, own.hidden, setting.seed)
    effects = _effects(own, controls, others, margin)
    requests = len(replies) + (setting.rank_prompts if size is not None else 0)
    figures = _figures(
        setting, controls, dropped, observed, own, others, ellipse, size, (fit_rows, test_rows)
    )
    main = applied(
        setting.id,
        NAME,
        scale=Scale.CALIBRATED,
        reason=reason,
        statistic_name="held_out_unexplained_share",
        statistic=own.held_out,
        expected=min(o.held_out for o in others),
        n=test_rows,
        effect=effects,
        places=places(replies),
        shows=_SHOWS[outcome],
        cannot_show=_CANNOT,
    )
    smallest = Effect("relative_change_of_head", own.relative) if outcome is Outcome.UNDECIDED else None
    test_row = ProbeTest(
        NAME,
        setting.id,
        outcome,
        reason,
        effect=effects,
        smallest_effect=smallest,
        requests=requests,
        controls=tuple(c.head.name for c in controls),
        figures=figures,
    )
    extra = [e for e in (_on_ellipse(setting, ellipse), _wide(setting, size)) if e is not None]
    return Found(test_row, (main, *extra))


def judge(own: float, controls: Sequence[float], floor: float) -> tuple[Outcome, str | None, float]:
    """Return the outcome, its reason, and how many times below the best control the candidate's residual lies.

    Supported at a thousand times; contradicted where it is within ten times although the server's noise would have let
    a far smaller one be seen; undecided in between.
    """
    best = min(controls)
    margin = best / max(own, 1e-300)
    if margin >= _MARGIN:
        return Outcome.SUPPORTED, None, margin
    if floor > best / _MARGIN:
        return Outcome.UNDECIDED, "logprobs_too_coarse", margin
    if margin < _LIKE_CONTROLS:
        return Outcome.CONTRADICTED, "residual_like_controls", margin
    return Outcome.UNDECIDED, "head_partly_alike", margin


def _effects(
    own: Residual, controls: Sequence[_Control], others: Sequence[Residual], margin: float
) -> tuple[Effect, ...]:
    heads = [o.held_out for c, o in zip(controls, others, strict=True) if c.kind == "other_head"]
    found = [
        Effect("log10_below_best_control", float(np.log10(margin))),
        Effect("residual_sd", own.sd, unit="nats"),
        Effect("relative_change_of_head", own.relative),
    ]
    if heads:
        rank = (1 + sum(value <= own.held_out for value in heads)) / (1 + len(heads))
        found.append(Effect("conformal_rank_p", rank))
    return tuple(found)


def _figures(
    setting: Setting,
    controls: Sequence[_Control],
    dropped: Sequence[str],
    observed: Observed,
    own: Residual,
    others: Sequence[Residual],
    ellipse: Ellipse | None,
    size: Rank | None,
    rows: tuple[int, int],
) -> Mapping[str, Any]:
    listed = [(setting.head.name, "candidate", setting.head.width, own)]
    listed += [(c.head.name, c.kind, c.head.width, o) for c, o in zip(controls, others, strict=True)]
    return {
        "candidate": setting.head.name,
        "held_out": own.held_out,
        "way": observed.way,
        "tokens_fitted": rows[0],
        "tokens_predicted": rows[1],
        "prompts": observed.values.shape[1],
        "noise_floor": observed.floor,
        "rounded_to": observed.step or None,
        "softcap": setting.head.softcap,
        "residuals": [
            {
                "name": name,
                "kind": kind,
                "hidden": width,
                "held_out": residual.held_out,
                "in_sample": residual.in_sample,
                "sd_nats": residual.sd,
            }
            for name, kind, width, residual in listed
        ],
        "not_used": list(dropped),
        "ellipse": None if ellipse is None else _ellipse_row(ellipse),
        "hidden_size": None if size is None else _size_row(size, setting.head.width),
    }


def _ellipse_row(found: Ellipse) -> dict[str, Any]:
    return {
        "ratios": list(found.ratios),
        "control": found.control,
        "holds": found.holds,
        "tells": found.tells,
    }


def _size_row(found: Rank, width: int) -> dict[str, Any]:
    return {"size": found.size, "log10_drop": found.drop, "vectors": found.vectors, "candidate": width}


def _on_ellipse(setting: Setting, ellipse: Ellipse | None) -> Evidence | None:
    if ellipse is None:
        return None
    ratios = ellipse.ratios
    return applied(
        f"{setting.id}/ellipse",
        "ellipse",
        scale=Scale.FACT,
        reason=None if ellipse.tells else "gain_nearly_even",
        statistic_name="squared_length_over_width",
        statistic=float(np.mean(ratios)),
        expected=1.0,
        n=len(ratios),
        effect=(
            Effect("squared_length_over_width", float(np.mean(ratios)), min(ratios), max(ratios)),
            Effect("with_permuted_gain", ellipse.control),
        ),
        shows="ellipse" if ellipse.holds else "ellipse_missed",
        cannot_show=_CANNOT,
    )


def _wide(setting: Setting, size: Rank | None) -> Evidence | None:
    return None if size is None else hidden_width.record(setting.id, size, setting.head.width)
