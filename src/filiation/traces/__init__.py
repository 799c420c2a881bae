"""Wing traces: what a model repository shares with another, or forgot to change, outside its weights and code.

Equal files by git's object ids, configs equal as parsed, rare config values, references that lead nowhere, tensor
lists that one renaming turns into each other, added tokens, compiled leftovers, commit order. Facts only.
"""

from filiation.traces.model import KINDS, Trace, TracesFound
from filiation.traces.search import find

__all__ = ["KINDS", "Trace", "TracesFound", "find"]
