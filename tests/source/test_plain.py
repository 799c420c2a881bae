"""One hash for code as it is written, on every version of Python."""

from __future__ import annotations

import ast

from filiation.source.plain import plain_hash

TEXT = '''import a as b
class C(b.D, metaclass=M):
    x: int = 1
    def f(self, *a, k=None, **w) -> str:
        """Doc."""
        with open("p") as g, h:
            return f"{self.x!r:>{k}}" + u"t" + b"y".decode() if k else [i for i in a if -1 < i <= 2**70]
    async def g(self): await self.f(*(), **{}); lambda: (yield); del self.x[1:2, ...]
'''
KNOWN = 1021859813407894543  # given by Python 3.11, 3.12 and 3.13; the shipped corpus rests on it


def test_every_version_of_python_gives_the_same() -> None:
    assert plain_hash(ast.parse(TEXT)) == KNOWN


def test_what_stands_there_counts_and_where_it_stands_does_not() -> None:
    assert plain_hash(ast.parse("\n\n" + TEXT.replace('"""Doc."""', "'Doc.'"))) == KNOWN
    for old, new in (("metaclass", "other"), ("2**70", "2**71"), ("b.D", "b.E"), (" k=None", " k=0")):
        assert plain_hash(ast.parse(TEXT.replace(old, new))) != KNOWN


def test_a_huge_number_is_no_matter() -> None:
    assert plain_hash(ast.parse("x = 0x" + "f" * 100_000)) != plain_hash(ast.parse("x = 0x" + "f" * 100_001))
