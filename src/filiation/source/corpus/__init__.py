"""The reference corpus: dated releases of a public library, as fingerprints."""

from filiation.source.corpus.build import build, build_wheel
from filiation.source.corpus.release import Entry, Release
from filiation.source.corpus.store import dump, load, load_file

__all__ = ["Entry", "Release", "build", "build_wheel", "dump", "load", "load_file"]
