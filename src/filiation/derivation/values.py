"""What happened to the values: fine-tuned, merged adapter, trained on, noise, quantised, sparsified; or cannot tell.

The lines between the kinds are conventions; each is a constant here with what it was drawn from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from filiation.derivation.gains import READERS, gains_paired
from filiation.derivation.lattice import Lattice
from filiation.derivation.measure import Measured
from filiation.evidence import Derivation
from filiation.origin.sorting import quantile

#: Median relative change of the matrices up to which it is called fine-tuning, and from which continued
#: pretraining; between them it cannot be told. The demo models show 0.086 (fine-tuned, 300 steps) and 0.74 (trained
#: on for as long as the pretraining); published fine-tunes of large models 0.001 to 0.05.
FINE_TUNED, CONTINUED = 0.2, 0.4
#: Median cosine below which a shared initialisation explains the agreement as well as further training does
#: (evidence contract, section 4).
SAME_TRAINING = 0.5
#: Relative change beyond which nothing of a matrix was kept, and the share of matrices that may have changed so
#: (a new head, a layer begun anew) in what is called training.
OWN_SIZE, FEW_TENSORS = 1.0, 0.1
#: Share of the changed matrices whose change must be of low rank.
LOW_RANK_SHARE = 0.8
#: White noise: the spectrum ends at the noise edge, elements are Gaussian, rows are even, levels are equal.
EDGE, KURTOSIS, UNEVEN, LEVELS = 1.12, 0.35, 3.0, 0.05
#: Share of zeros a suspect must have beyond the candidate's to be called sparsified.
ZEROS = 0.05
#: How far the error may exceed what the quantiser makes before something else must have happened too.
EXCESS = 1.15
EXACT = 0.9
#: Share of values in another cell of the suspect's grid than rounding the candidate would put them in. Plain rounding
#: leaves up to 0.01 (scales stored in 16 bits), GPTQ (arXiv 2210.17323) 0.08 to 0.19.
DISPLACED = 0.05
#: Root mean square distance, in steps, that no rounding leaves (0.29 where values lie evenly inside a step).
NEARER = 0.15


def value_steps(measured: Sequence[Measured], *, complete: bool, rough: bool = False) -> list[Derivation]:
    """Return what happened to the values of the inherited parts.

    Args:
        measured: parts that come from the candidate.
        complete: all of every part was read.
        rough: the parts were carried by a rotation fitted on token rows alone, whose own error (of rounded rows
            more than rounding) tells nothing beneath a quantisation.
    """
    matrices = [m for m in measured if m.is_matrix and m.relative is not None and m.role != "router"]
    if not matrices:
        return []
    steps: list[Derivation] = []
    sparse = [m for m in matrices if _is_sparsified(m)]
    if sparse:
        steps.append(_sparsified(sparse, matrices))
    back = [m for m in matrices if _is_undone(m)]
    if 2 * len(back) > sum(m.changed for m in matrices):
        steps += _requantised([replace(m, lattice=m.undone) for m in back], matrices, turned=True)
        matrices = [m for m in matrices if not _is_undone(m)]
    rounded = [m for m in matrices if _is_requantised(m)]
    if rounded:
        paired = gains_paired(measured, rounded)
        steps += _requantised(rounded, matrices, rough=rough, trained=paired is False)
        if paired:
            steps.append(_rescaled_gains(measured))
            measured = [m for m in measured if m.role not in READERS]
    rest = [
        m
        for m in matrices
        if not _is_requantised(m) and not (_is_sparsified(m) and m.kept_relative <= 3 * m.floor)
    ]
    vectors = [m for m in measured if not m.is_matrix]
    told = {s.kind for s in steps}
    for step in _update(rest, vectors, complete=complete):
        # What is told of the rounded parts is not told once more of the few that were not rounded.
        step = _bounded(step) if rough else step
        steps += [step] if step.kind not in told else []
    return steps


def _rescaled_gains(measured: Sequence[Measured]) -> Derivation:
    norms = sum(m.changed for m in measured if m.role in READERS)
    return Derivation("rescaled", {"what": "gains", "norms": norms, "folded": 0, "rescaled": norms})


def _bounded(step: Derivation) -> Derivation:
    """Return what can be told where the size of the change is only bounded from above: that it was small, if so."""
    if step.kind not in ("continued_pretraining", "noise_added"):
        return step
    candidates = ["fine_tuned", "continued_pretraining", "noise_added"]
    return Derivation("cannot_tell", {"candidates": candidates, **step.numbers, "upper_bound": True})


def _is_sparsified(m: Measured) -> bool:
    return m.zeros - m.zeros_before > ZEROS and not (_is_requantised(m) and not _beyond_lattice(m))


def _beyond_lattice(m: Measured) -> bool:
    """Return whether more is zero than rounding to a lattice explains: 2:4 groups, or large values cut."""
    return m.pairs > 0.999 or (m.cut is not None and m.cut > 0.6)


def _sparsified(sparse: Sequence[Measured], matrices: Sequence[Measured]) -> Derivation:
    elements = np.array([m.elements for m in sparse], np.float64)
    zeros = float(np.average([m.zeros for m in sparse], weights=elements))
    cuts = [m.cut for m in sparse if m.cut is not None]
    numbers: dict[str, Any] = {
        "zeros": zeros,
        "tensors": len(sparse),
        "of": len(matrices),
        "survivors_equal": float(np.average([m.kept_equal for m in sparse], weights=elements)),
        "survivors_relative_delta": float(np.median([m.kept_relative for m in sparse])),
        "pattern": "2:4" if min(m.pairs for m in sparse) > 0.999 and zeros < 0.75 else "unstructured",
    }
    if cuts:
        # Magnitude pruning cuts the smallest values; random pruning cuts values of all sizes.
        numbers["cut_size"] = float(np.median(cuts))
        numbers["by"] = "magnitude" if numbers["cut_size"] < 0.6 else "other"
    return Derivation("sparsified", numbers)


def _is_requantised(m: Measured) -> bool:
    """Return whether the suspect lies on a lattice that the candidate is not on already."""
    lattice = m.lattice
    if lattice is None or lattice.inherited or m.equal == 1.0:
        return False
    if not lattice.stored:
        return not _is_nearer(lattice)
    theirs = m.match.candidate.checkpoint.tensors[m.match.theirs.tensor].dtype
    return theirs != lattice.name


def _is_nearer(lattice: Lattice) -> bool:
    """Return whether the candidate is nearer to the suspect's lattice than rounding leaves values: it came later."""
    rounded = lattice.exact is not None and lattice.exact >= EXACT
    return lattice.in_steps is not None and lattice.in_steps < NEARER and not rounded


def _is_undone(m: Measured) -> bool:
    """Return whether rounding the suspect's values gives the candidate's: then the candidate is the requantised one."""
    lattice = m.undone
    if lattice is None or lattice.inherited or lattice.expected is None:
        return False
    return not _exceeds(lattice)


def _requantised(
    rounded: Sequence[Measured],
    matrices: Sequence[Measured],
    *,
    turned: bool = False,
    rough: bool = False,
    trained: bool = False,
) -> list[Derivation]:
    lattices = [m.lattice for m in rounded if m.lattice is not None]
    names = Counter(x.name for x in lattices)
    name = min(names, key=lambda n: (-names[n], n))
    main = [x for x in lattices if x.name == name]
    exact = [x.exact for x in main if x.exact is not None]
    expected = [x.expected for x in lattices if x.expected is not None]
    steps = [x.in_steps for x in lattices if x.in_steps is not None]
    numbers: dict[str, Any] = {
        "lattice": name,
        "bits": main[0].bits,
        "group": main[0].group,
        "from_file": main[0].stored,
        "tensors": len(rounded),
        "of": len(matrices),
        "error": float(np.median([x.error for x in lattices])),
    }
    if len(names) > 1:
        numbers["lattices"] = dict(sorted(names.items()))
    if expected:
        numbers["expected_error"] = float(np.median(expected))
    if steps:
        numbers["error_in_steps"] = float(np.median(steps))
    if exact:
        numbers["exact"] = float(np.median(exact))
    if turned:
        numbers["reversed"] = True
    displaced = [x.displaced for x in lattices if x.displaced is not None]
    if displaced:
        numbers["displaced"] = float(np.median(displaced))
    more = [m for m in rounded if m.lattice is not None and _was_moved(m.lattice)]
    found = [Derivation("requantised", {k: v for k, v in numbers.items() if v is not None})]
    if 2 * len(more) > len(rounded) and not rough:
        found.append(_beneath(more, trained=trained))
    return found


def _exceeds(lattice: Lattice) -> bool:
    """Return whether the values are further apart than the quantiser makes them."""
    if lattice.expected is None:
        return False
    return lattice.error > EXCESS * lattice.expected and (lattice.exact is None or lattice.exact < EXACT)


def _was_moved(lattice: Lattice) -> bool:
    """Return whether rounding the candidate does not make these values: by their error, or by their cells."""
    rounded = lattice.exact is not None and lattice.exact >= EXACT
    return _exceeds(lattice) or (not rounded and (lattice.displaced or 0.0) >= DISPLACED)


def _beneath(more: Sequence[Measured], *, trained: bool) -> Derivation:
    """Return what else changed the values before they were rounded: the error left after the quantiser's share.

    Args:
        trained: gains, which no quantiser rounds, moved as training moves them: then error feedback alone, which
            moves values out of their cells too, does not explain it.
    """
    excess = [
        float(np.sqrt(max(0.0, m.lattice.error**2 - (m.lattice.expected or 0.0) ** 2)))
        for m in more
        if m.lattice is not None
    ]
    median = float(np.median(excess))
    numbers: dict[str, Any] = {
        "median_relative_delta": median,
        "tensors": len(more),
        "beneath": "quantisation",
    }
    plain = all(m.lattice is not None and m.lattice.exact is not None and m.lattice.stored for m in more)
    twice = all(m.lattice is not None and m.lattice.error > 2 * (m.lattice.expected or 0.0) for m in more)
    if plain or twice or trained:
        # These kinds round to the nearest level, so what exceeds rounding was there before.
        if len(excess) >= 4 and float(np.std(excess)) <= 2 * LEVELS * median:
            return Derivation("cannot_tell", {"candidates": ["fine_tuned", "noise_added"], **numbers})
        return _by_size(median, numbers)
    return Derivation("cannot_tell", {"candidates": ["fine_tuned", "error_feedback_quantiser"], **numbers})


def _update(matrices: Sequence[Measured], vectors: Sequence[Measured], *, complete: bool) -> list[Derivation]:
    changed = [m for m in matrices if m.changed]
    if not changed:
        moved = [m for m in vectors if m.changed]
        if moved and not any(m.changed for m in matrices) and matrices:
            sizes = [m.relative for m in moved if m.relative is not None]
            numbers = {"median_relative_delta": float(np.median(sizes)), "tensors_changed": len(moved)}
            return [Derivation("fine_tuned", {**numbers, "roles": sorted({m.role for m in moved})})]
        return []
    sizes = np.array([_size(m) for m in matrices])
    numbers = _quantiles(sizes) | {
        "tensors_changed": len(changed),
        "tensors_equal": sum(m.equal == 1.0 for m in matrices),
        "complete": complete,
    }
    low = [m for m in changed if m.spectrum is not None and m.spectrum.low]
    if len(low) >= LOW_RANK_SHARE * len(changed):
        return [_low_rank(low, changed, matrices)]
    noise = _noise(changed, numbers)
    if noise is not None:
        return [noise]
    cosine = float(np.median([m.cosine for m in matrices if m.cosine is not None]))
    numbers["cosine"] = cosine
    if cosine < SAME_TRAINING:
        return [
            Derivation(
                "cannot_tell", {"candidates": ["continued_pretraining", "shared_initialisation"], **numbers}
            )
        ]
    median = float(np.median(sizes))
    if median < CONTINUED and float((sizes > OWN_SIZE).mean()) > FEW_TENSORS:
        # No training that hardly moves most matrices moves others that far: somebody scaled or exchanged them.
        return [
            Derivation(
                "cannot_tell", {"candidates": ["continued_pretraining", "rescaled", "merged"], **numbers}
            )
        ]
    return [_by_size(median, numbers)]


def _size(m: Measured) -> float:
    return m.kept_relative if _is_sparsified(m) else (m.relative or 0.0)


def _quantiles(sizes: np.ndarray) -> dict[str, Any]:
    low, first, middle, third, high = (quantile(sizes, share) for share in (0, 0.25, 0.5, 0.75, 1))
    return {
        "median_relative_delta": middle,
        "min_relative_delta": low,
        "max_relative_delta": high,
        "quartiles": [first, third],
    }


def _by_size(median: float, numbers: dict[str, Any]) -> Derivation:
    if median <= FINE_TUNED:
        return Derivation("fine_tuned", numbers)
    if median >= CONTINUED:
        return Derivation("continued_pretraining", numbers)
    return Derivation("cannot_tell", {"candidates": ["fine_tuned", "continued_pretraining"], **numbers})


def _low_rank(
    low: Sequence[Measured], changed: Sequence[Measured], matrices: Sequence[Measured]
) -> Derivation:
    ranks = [m.spectrum.rank for m in low if m.spectrum is not None]
    return Derivation(
        "low_rank_update",
        {
            "rank": int(np.median(ranks)),
            "max_rank": max(ranks),
            "roles": sorted({m.role for m in low}),
            "tensors_changed": len(changed),
            "tensors_equal": len(matrices) - len(changed),
            "tensors_not_low_rank": len(changed) - len(low),
            "median_relative_delta": float(np.median([_size(m) for m in changed])),
        },
    )


def _noise(changed: Sequence[Measured], numbers: dict[str, Any]) -> Derivation | None:
    """Return ``noise_added`` where every difference is white at one level; ``cannot_tell`` where it only might be."""
    shapes = [m.spectrum for m in changed if m.spectrum is not None]
    levels = np.array([m.relative for m in changed if m.relative is not None])
    if len(shapes) < 4 or not len(levels):
        return None
    white = [abs(x.kurtosis - 3) < KURTOSIS and x.edge < EDGE and x.unevenness < UNEVEN for x in shapes]
    share = float(np.mean(white))
    if share < 0.9:
        return None
    level, spread = float(np.median(levels)), float(levels.std() / levels.mean())
    found = {"level": level, "level_spread": spread, "white": share}
    if spread <= LEVELS:
        return Derivation("noise_added", {**found, "tensors_changed": len(changed)})
    return Derivation("cannot_tell", {"candidates": ["noise_added", "fine_tuned"], **found, **numbers})
