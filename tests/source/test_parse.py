"""Hostile and broken files: a reason or a tree, never an exception, nothing executed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.source.examine import Examined, examined
from filiation.source.parse import MOST_BYTES, Parsed, decode, left_out, parse
from tests.source.examples import MODEL


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"x = 1\n" * (MOST_BYTES // 6 + 1), "too_large"),
        (b"x = '" + b"a" * 30_000 + b"'\n", "generated"),
        (b"x = 1\n" * 20_001, "generated"),
        (
            b"x=1;" * 4_000
            + b"\n"
            + b"x=1;" * 4_000
            + b"\n"
            + b"x=1;" * 4_900
            + b"\n"
            + b"y=1;" * 4_900
            + b"\n"
            + b"z=1;" * 4_900,
            "generated",
        ),
        (b"\0\1\2", "not_text"),
        (b"(" * 5_000, "too_deep"),
        (b"x = " + b"+".join([b"a"] * 9_000), "too_deep"),
    ],
)
def test_reasons(data: bytes, why: str) -> None:
    assert parse(data) == why


def test_deep_but_parsable_code_does_not_end_the_examination() -> None:
    elifs = "".join(f"    elif x == {n}:\n        y = {n}\n" for n in range(400))
    found = examined("m.py", f"def f(x):\n    if x == -1:\n        y = 0\n{elifs}    return y\n".encode())
    assert isinstance(found, Examined) or found == "too_deep"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("# é\nx = 1\n".encode(), "# é\nx = 1\n"),
        ("# é\n".encode("latin-1"), "# é\n"),
        ("# -*- coding: gbk -*-\n# 模型\n".encode("gbk"), "# -*- coding: gbk -*-\n# 模型\n"),
        (b"# coding: no-such-thing\nx = 1\n", "# coding: no-such-thing\nx = 1\n"),
        ("\ufeffx = 1\n".encode(), "x = 1\n"),
    ],
)
def test_encodings(data: bytes, text: str) -> None:
    assert decode(data) == text


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    result = examined("m.py", data)
    assert isinstance(result, str | Examined)


@given(st.text(alphabet="abc()[]{}:=,.\n \t'\"#if def class print", max_size=200))
def test_any_source_like_text(text: str) -> None:
    assert isinstance(examined("m.py", text.encode()), str | Examined)


def test_old_and_broken_syntax_loses_only_its_lines() -> None:
    lines = MODEL.split("\n")
    at = lines.index("        residual = hidden")
    lines.insert(at, '        print "entering", hidden')
    lines.append("try:\n    import thing\nexcept ImportError, error:\n    print error")
    found = parse("\n".join(lines).encode())
    assert isinstance(found, Parsed)
    assert at + 1 in found.repaired
    assert len(found.repaired) <= 4
    whole, broken = examined("m.py", MODEL.encode()), examined("m.py", "\n".join(lines).encode())
    assert isinstance(whole, Examined)
    assert isinstance(broken, Examined)
    names = {d.name: d.line for d in whole.source.definitions}
    there = {d.name: d.line for d in broken.source.definitions}
    assert set(names) <= set(there)
    assert there["chosen_sizes"] == names["chosen_sizes"] + 1


def test_what_is_no_python() -> None:
    assert left_out("a/train.ipynb") == "notebook"
    assert left_out("kernel.cu") == "other_language"
    assert left_out("README.md") is None
    assert left_out("model.py") is None
