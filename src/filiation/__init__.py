"""filiation: does this language model come from that one?

``filiation.compare(suspect, candidate)`` returns a :class:`filiation.api.Comparison`, ``filiation.audit(repository)`` a
:class:`filiation.auditing.Audit`, ``filiation.probe(url, model, ...)`` a
:class:`filiation.probing.Probe`; ``filiation.check_test(test)`` holds a new exact test to its promises. They are
imported when first used, so that ``import filiation`` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from filiation._version import __version__

if TYPE_CHECKING:
    from filiation.api import Comparison, compare
    from filiation.auditing import Audit, audit
    from filiation.origin.conformance import check_test
    from filiation.probing import Probe, probe

_LAZY = {
    "audit": "filiation.auditing",
    "Audit": "filiation.auditing",
    "compare": "filiation.api",
    "Comparison": "filiation.api",
    "check_test": "filiation.origin.conformance",
    "probe": "filiation.probing",
    "Probe": "filiation.probing",
}

__all__ = ["Audit", "Comparison", "Probe", "__version__", "audit", "check_test", "compare", "probe"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'filiation' has no attribute '{name}'")
