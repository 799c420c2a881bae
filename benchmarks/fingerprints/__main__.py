"""One method on one pair: ``python -m benchmarks.fingerprints METHOD SUSPECT CANDIDATE`` prints its score as JSON."""

from __future__ import annotations

import json
import math
import sys

import scipy.optimize  # loaded here, so that a process that runs many pairs loads them once
import scipy.special
import scipy.stats
import tokenizers

from benchmarks.fingerprints.methods import METHODS
from benchmarks.fingerprints.subject import CannotTestError, opened

LOADED = (scipy.optimize, scipy.special, scipy.stats, tokenizers)


def main() -> None:
    """Print ``{"score": ...}`` or ``{"cannot": why}``."""
    name, suspect, candidate = sys.argv[1:]
    (method,) = (m for m in METHODS if m.name == name)
    try:
        score = method.similarity(opened(suspect), opened(candidate))
        if not math.isfinite(score):
            raise CannotTestError("the score is not a number")
        print(json.dumps({"score": score}))
    except CannotTestError as error:
        print(json.dumps({"cannot": str(error)}))


if __name__ == "__main__":
    main()
