"""Room probing: the walk over an endpoint and the tests on it, and the Python interface to it.

(The walk is not called ``probe``, because ``filiation.probe`` is the function: decisions/0011.)
"""

from __future__ import annotations

from filiation.probing.records import ProbeReport, probe_schema
from filiation.probing.request import Request
from filiation.probing.walk import Means, examine, replay

__all__ = ["Means", "ProbeReport", "Request", "examine", "probe_schema", "replay"]
