"""The report of a probe, worded and drawn; one renderer a file, as for a comparison."""

from __future__ import annotations
