from __future__ import annotations

from collections.abc import Iterator

import pytest

from filiation.disclosure import registry, spelled
from filiation.disclosure.prose import _known
from filiation.disclosure.recognise import _printed
from tests.disclosure.made import HOUSE


@pytest.fixture
def house() -> Iterator[str]:
    """The house licence is in the registry for the length of a test."""
    table = registry.licences()
    assert isinstance(table, dict)
    caches = (_printed, _known, spelled._table)
    table[HOUSE.id] = HOUSE
    for cached in caches:
        cached.cache_clear()
    yield HOUSE.id
    del table[HOUSE.id]
    for cached in caches:
        cached.cache_clear()
