"""What changes a fingerprint and what does not."""

from __future__ import annotations

import ast
import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.mutators import dead_code, everything, idioms, rename, reorder, strip
from filiation.source.fingerprint import fingerprint
from filiation.source.pair import compare, overlap
from filiation.source.prints import Print
from tests.source.examples import HEAD, MODEL, OTHER, YOURS


def made(text: str) -> Print:
    return fingerprint(ast.parse(text), "m.py", text.encode())


def digests(text: str) -> list[int]:
    return sorted(made(text).statements.digests.tolist())


EQUAL = {
    "loop and comprehension": (
        "def f(a):\n    b = []\n    for x in a:\n        if x > 1:\n            b.append(x * 2)\n    return b, 1\n",
        "def f(a):\n    b = [x * 2 for x in a if x > 1]\n    return b, 1\n",
    ),
    "nested loops": (
        "def f(a):\n    b = []\n    for x in a:\n        for y in x:\n            t = y + 1\n            b.append(t)\n"
        "    g(b)\n    g(b)\n",
        "def f(a):\n    b = [y + 1 for x in a for y in x]\n    g(b)\n    g(b)\n",
    ),
    "counting while": (
        "def f(n):\n    i = 0\n    while i < n:\n        g(i)\n        i += 1\n",
        "def f(n):\n    for i in range(n):\n        g(i)\n",
    ),
    "search": (
        "def f(a):\n    best = None\n    low = 9\n    for x in a:\n        e = abs(x)\n        if e < low:\n"
        "            best = x\n            low = e\n    return best\n",
        "def f(a):\n    best = min(a, key=lambda x: abs(x))\n    return best\n",
    ),
    "swapped branches": (
        "def f(a):\n    if not a:\n        g()\n    else:\n        h()\n",
        "def f(a):\n    if a:\n        h()\n    else:\n        g()\n",
    ),
    "unequal first": (
        "def f(a):\n    if a != 1:\n        g()\n    else:\n        h()\n",
        "def f(a):\n    if a == 1:\n        h()\n    else:\n        g()\n",
    ),
    "early return": (
        "def f(a):\n    if a:\n        g()\n        return 1\n    else:\n        h()\n    return 2\n",
        "def f(a):\n    if a:\n        g()\n        return 1\n    h()\n    return 2\n",
    ),
    "branch and expression": (
        "def f(a):\n    if a:\n        x = 1\n    else:\n        x = g(a)\n    h(x, x)\n",
        "def f(a):\n    x = 1 if a else g(a)\n    h(x, x)\n",
    ),
    "tuples": (
        "def f(a):\n    x, y = a.b, g(a)\n    h(x, y, x, y)\n",
        "def f(a):\n    x = a.b\n    y = g(a)\n    h(x, y, x, y)\n",
    ),
    "temporary": ("def f(a):\n    t = g(a)\n    return h(t)\n", "def f(a):\n    return h(g(a))\n"),
    "in place": ("def f(a):\n    a += 2\n    return a, a\n", "def f(a):\n    a = a + 2\n    return a, a\n"),
    "size and shape": ("def f(a):\n    return a.size(0)\n", "def f(a):\n    return a.shape[0]\n"),
    "keyword order": ("def f(a, b):\n    g(x=a, y=b + 1)\n", "def f(a, b):\n    g(y=b + 1, x=a)\n"),
    "old super": (
        "class A(B):\n    def f(self):\n        super(A, self).f()\n",
        "class A(B):\n    def f(self):\n        super().f()\n",
    ),
    "dead statement": ("def f(a):\n    u = 3 * 4\n    return g(a)\n", "def f(a):\n    return g(a)\n"),
    "what says nothing": (
        'def f(a: int) -> int:\n    """Text."""\n    assert a\n    logger.info("x")\n    return g(a)\n',
        "def f(a):\n    return g(a)\n",
    ),
    "turned comparison": (
        "def f(a):\n    if a > 1:\n        g()\n",
        "def f(a):\n    if 1 < a:\n        g()\n",
    ),
    "not below": ("def f(a):\n    g(not a < 1)\n", "def f(a):\n    g(a >= 1)\n"),
    "branches turned": (
        "def f(a):\n    if a >= 1:\n        g()\n    else:\n        h()\n",
        "def f(a):\n    if a < 1:\n        h()\n    else:\n        g()\n",
    ),
    "search for the greatest": (
        "def f(a):\n    low = 0\n    for x in a:\n        e = abs(x)\n        if e > low:\n            low = e\n"
        "    return low\n",
        "def f(a):\n    low = max(a, key=lambda x: abs(x))\n    return low\n",
    ),
    "order of a sum": (
        "def f(a, b):\n    return a.x[0] + g(b) + 3\n",
        "def f(a, b):\n    return 3 + (g(b) + a.x[0])\n",
    ),
    "order of a question": (
        "def f(a, b):\n    return a[0] == 3 and g(b)\n",
        "def f(a, b):\n    return g(b) and 3 == a[0]\n",
    ),
    "function and method": (
        "from torch.nn import functional as F\ndef f(a):\n    return F.softmax(a, dim=1)\n",
        "def f(a):\n    return a.softmax(1)\n",
    ),
    "product and operator": (
        "import torch\ndef f(a, b):\n    return torch.matmul(a, b).pow(2)\n",
        "def f(a, b):\n    return (a @ b) ** 2\n",
    ),
    "layout": (
        "def f(a):\n    return a.view(1, 2).swapaxes(0, 1).contiguous()\n",
        "def f(a):\n    return a.reshape(1, 2).transpose(0, 1)\n",
    ),
    "cast": (
        "import torch\ndef f(a, b):\n    return a.to(dtype=torch.float32), b.type(torch.int64)\n",
        "def f(a, b):\n    return a.float(), b.long()\n",
    ),
    "keywords of a layer": (
        "from torch import nn\ndef f(a):\n    return nn.Linear(bias=False, out_features=a.y, in_features=a.x[0])\n",
        "from torch import nn\ndef f(a):\n    return nn.Linear(a.x[0], a.y, False)\n",
    ),
    "spelled attribute": ("def f(a):\n    return getattr(a, 'shape')\n", "def f(a):\n    return a.shape\n"),
    "name for an attribute": (
        "class A:\n    def f(self, x):\n        w, h = self.w, g(x)\n        return w(h) + w(x), h\n",
        "class A:\n    def f(self, x):\n        h = g(x)\n        return self.w(h) + self.w(x), h\n",
    ),
    "helper that is called once": (
        "class A:\n    def f(self, x):\n        y = self.step(x, 2)\n        return y, y\n"
        "    def step(me, a, b):\n        return me.w(a) ** b\n",
        "class A:\n    def f(self, x):\n        y = self.w(x) ** 2\n        return y, y\n",
    ),
    "alias of a library": (
        "import torch.nn.functional as F\ndef f(a):\n    return F.relu(a)\n",
        "import torch.nn.functional\ndef f(a):\n    return torch.nn.functional.relu(a)\n",
    ),
}


@pytest.mark.parametrize("name", sorted(EQUAL))
def test_ways_of_writing_meet(name: str) -> None:
    first, second = EQUAL[name]
    definitions = [
        [h for d in made(t).definitions if d.name for h in made(t).statements.digests[d.start : d.stop]]
        for t in (first, second)
    ]
    assert definitions[0] == definitions[1]
    assert definitions[0]


DIFFERENT = {
    "another order of a difference": (
        "def f(a):\n    return a.x - 1\n",
        "def f(a):\n    return 1 - a.x\n",
    ),
    "below and not above": ("def f(a):\n    g(a < 1)\n", "def f(a):\n    g(a <= 1)\n"),
    "another dimension": ("def f(a):\n    return a.softmax(1)\n", "def f(a):\n    return a.softmax(2)\n"),
    "an attribute that is set meanwhile": (
        "class A:\n    def f(self):\n        w = self.w\n        self.w = g()\n        return w(1), w(2)\n",
        "class A:\n    def f(self):\n        self.w = g()\n        return self.w(1), self.w(2)\n",
    ),
    "a helper that is called twice": (
        "class A:\n    def f(self, x):\n        return self.step(x), self.step(1)\n"
        "    def step(self, a):\n        return a[0]\n",
        "class A:\n    def f(self, x):\n        return x[0], 1[0]\n",
    ),
    "another call of the library": ("def f(a):\n    return a.relu()\n", "def f(a):\n    return a.tanh()\n"),
    "another number": ("def f(a):\n    return a * 2\n", "def f(a):\n    return a * 3\n"),
    "another operator": ("def f(a, b):\n    return a + b\n", "def f(a, b):\n    return a - b\n"),
    "a value that is read later": (
        "def f(a):\n    t = g(a)\n    h(t)\n    return t\n",
        "def f(a):\n    h(g(a))\n    return a\n",
    ),
    "a value with a call that nobody reads": (
        "def f(a):\n    t = g(a)\n    return a\n",
        "def f(a):\n    return a\n",
    ),
    "tuples that depend on each other": (
        "def f(a, b):\n    a, b = b, a\n    return h(a, b)\n",
        "def f(a, b):\n    a = b\n    b = a\n    return h(a, b)\n",
    ),
}


@pytest.mark.parametrize("name", sorted(DIFFERENT))
def test_different_code_stays_different(name: str) -> None:
    first, second = DIFFERENT[name]
    assert digests(first) != digests(second)


@given(st.permutations(["a.x", "g(b)", "b[0]", "3", "(a @ b)", "b.sum()"]), st.sampled_from("+*&|^"))
def test_the_order_of_operands_does_not_count(operands: list[str], operator: str) -> None:
    text = f"def f(a, b):\n    return {f' {operator} '.join(operands)}\n"
    first = f"def f(a, b):\n    return {f' {operator} '.join(sorted(operands))}\n"
    pair = compare(made(text), made(first))
    assert (pair.share, pair.reverse) == (1.0, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "class A:\n    def f(self):\n        return self.g()\n    def g(self):\n        return self.f()\n",
        "class A:\n    def f(self):\n        return self.f()\n",
        "class A:\n    def f():\n        return 1\n    x = f()\n",
        "class A:\n    def f(self, *a):\n        w = self.w\n",
    ],
)
def test_helpers_that_call_one_another_come_to_an_end(text: str) -> None:
    assert made(text).statements.nodes


@given(seed=st.integers(0, 2**32))
def test_a_renaming_leaves_every_hash_and_is_found(seed: int) -> None:
    names = [
        "Example",
        "hidden",
        "config",
        "width",
        "gain",
        "query",
        "mask",
        "weights",
        "residual",
        "mixed",
        "heads",
    ]
    numbers = random.Random(seed).sample(range(1000), len(names))
    text = MODEL
    mapping: dict[str, str] = {}
    for name, number in zip(names, numbers, strict=True):
        new = f"N{number}x" if name[0].isupper() else f"n{number}x"
        mapping[new] = name
        text = text.replace("Example", new) if name == "Example" else re.sub(rf"\b{name}\b", new, text)
    before, after = made(MODEL), made(text)
    assert np.array_equal(np.sort(before.statements.digests), np.sort(after.statements.digests))
    pair = compare(after, before)
    assert pair.share == 1.0
    assert pair.renames.one_to_one == 1.0
    found = {r.suspect: r.reference for r in pair.renames.names}
    assert all(found[new] == old for new, old in mapping.items() if new[0] == "n" and new in found)
    assert not pair.same


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rewriting_leaves_most(seed: int) -> None:
    reference = made(MODEL)
    for mutate, least in (
        (strip, 1.0),
        (reorder, 0.97),
        (rename, 0.9),
        (dead_code, 0.95),
        (idioms, 0.85),
        (everything, 0.8),
    ):
        assert compare(made(mutate(MODEL, seed)), reference).share >= least, mutate.__name__


def test_stripped_code_is_the_same_code() -> None:
    assert compare(made(strip(HEAD + MODEL)), made(MODEL)).same


def test_an_exchanged_name_is_not_one_map() -> None:
    """Two attributes exchanged in one method only: hashes stay, but no single map explains them."""
    head, tail = MODEL.split("    def forward(self, hidden, mask=None):\n        residual")
    swapped = (
        head
        + "    def forward(self, hidden, mask=None):\n        residual"
        + tail.replace("first_norm", "x_").replace("second_norm", "first_norm").replace("x_", "second_norm")
    )
    pair = compare(made(swapped), made(MODEL))
    assert pair.blind == 1.0
    assert pair.share < 1.0
    assert pair.renames.one_to_one is not None
    assert pair.renames.one_to_one < 1.0


def test_gathered_features_overlap() -> None:
    pair = compare(made(YOURS), made(MODEL))
    assert overlap(pair, "calls") == 1.0
    assert overlap(pair, "constants") == 1.0
    attributes = overlap(pair, "attributes")
    assert attributes is not None
    assert 0.7 < attributes < 1.0
    other = overlap(compare(made(OTHER), made(MODEL)), "constants")
    assert other is not None
    assert other < 0.7


def test_moved_and_split_code_is_found() -> None:
    body = MODEL.split("    def forward(self, hidden, mask=None, positions=None):\n")[1].split("\n\n\nclass")[
        0
    ]
    head = "import math\nimport torch\nimport torch.nn.functional as F\n\nclass Elsewhere:\n"
    moved = f"{head}    def run(self, hidden, mask=None, positions=None):\n{body}\n"
    pair = compare(made(moved), made(MODEL))
    assert pair.share > 0.9
    assert pair.reverse < 0.5
