"""Compiled leftovers are read for names and paths, never executed; damaged and hostile ones end in a note."""

from __future__ import annotations

import contextlib
import importlib.util
import marshal
import os
import py_compile
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation import repository, traces
from filiation.traces import marshal as reader
from filiation.traces.compiled import parse
from filiation.traces.marshal import Code, Layout, MarshalError, layout_of, read

HERE = layout_of(int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little"))
SOURCE = '''
"""A module."""
import os
def adaptive_slice(image, limit=9):
    """Cut."""
    inner = lambda x: x + 1
    return [inner(y) for y in image if y < limit]
class Resampler:
    grid = (2, 3.5, 1 << 80, -5, 2j, b"bytes", None, ...)
    def _set_2d_pos_cache(self, *, device="cuda:7"):
        async def nested(): pass
        return {1, 2, 3}, nested, "\\u4e2d\\u6587" + device
'''


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    source = tmp_path / "modeling.py"
    source.write_text(SOURCE, encoding="utf-8")
    os.utime(source, (1_716_000_000, 1_716_000_000))
    target = tmp_path / "out.pyc"
    py_compile.compile(
        str(source),
        str(target),
        dfile="/srv/build/modeling.py",
        invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP,
    )
    return target


def test_names_strings_path_and_time(compiled: Path) -> None:
    found = parse(compiled.read_bytes())
    assert found.built_from == "/srv/build/modeling.py"
    assert found.definitions == ("adaptive_slice", "Resampler", "_set_2d_pos_cache", "nested")
    assert found.source_time == "2024-05-18T02:40:00+00:00"
    assert found.source_size == len(SOURCE.encode())
    assert {"Cut.", "cuda:7"} <= set(found.strings)
    assert found.python.startswith(f"3.{min(sys.version_info[1], 14)}")


def test_a_pyc_with_a_hash_has_no_time(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    target = tmp_path / "a.pyc"
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(tmp_path / "a.py"), str(target), invalidation_mode=mode)
    assert parse(target.read_bytes()).source_time is None


@pytest.mark.parametrize("module", ["argparse", "dataclasses", "typing", "tarfile"])
def test_what_is_read_is_what_marshal_reads(module: str) -> None:
    """Against the interpreter's own reader, over whole modules of the standard library."""
    assert HERE is not None
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    code = compile(Path(spec.origin).read_text(encoding="utf-8"), spec.origin, "exec", dont_inherit=True)
    _same(read(marshal.dumps(code), HERE[0]), code)


def _same(mine: Any, theirs: Any) -> None:
    if isinstance(mine, Code):
        assert (mine.name, mine.filename, mine.first_line) == (
            theirs.co_name,
            theirs.co_filename,
            theirs.co_firstlineno,
        )
        assert mine.names == theirs.co_names
        assert len(mine.consts) == len(theirs.co_consts)
        for a, b in zip(mine.consts, theirs.co_consts, strict=True):
            _same(a, b)
    elif isinstance(theirs, str | int | bytes | None) and not isinstance(theirs, bool):
        assert mine == theirs


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=20,
)


@given(plain_values)
def test_plain_values_come_out_as_they_went_in(value: Any) -> None:
    assert read(marshal.dumps(value), Layout(True, True)) == value


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_value_or_in_our_error(data: bytes) -> None:
    for layout in (Layout(False, False), Layout(True, False), Layout(True, True)):
        with contextlib.suppress(MarshalError):
            read(data, layout)


@given(st.data())
def test_a_changed_pyc_ends_in_a_value_or_in_our_error(data: st.DataObject) -> None:
    assert HERE is not None
    raw = bytearray(marshal.dumps(compile(SOURCE, "a.py", "exec")))
    for _ in range(3):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MarshalError):
        read(bytes(raw), HERE[0])


@pytest.mark.parametrize(
    "data",
    [
        b"(" * 1000,  # nested without end
        b"(\xff\xff\xff\x7f",  # a length beyond the file
        b"s\xff\xff\xff\xff",
        b"r\x00\x00\x00\x00",  # refers to nothing
        b"{" + b"N" * 7,  # an odd table without end
        b"\xa8" * 5000,
        b"l\xff\xff\xff\x7f",
        b"",
    ],
)
def test_hostile_bytes(data: bytes) -> None:
    with pytest.raises(MarshalError):
        read(data, Layout(True, True))


def test_shared_objects_are_referred_to_and_never_copied() -> None:
    """Sixty tuples, each holding the one before it twice: 2**60 values if sharing multiplied."""
    depth = 60
    data = b"\xa9\x02" * depth + b"\xa9\x00"
    for number in range(depth, 0, -1):
        data += b"r" + struct.pack("<I", number)
    found = read(data, Layout(True, True))
    for _ in range(depth):
        assert found[0] is found[1]
        found = found[0]
    assert found == ()


def test_the_number_of_objects_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_MOST_OBJECTS", 100)
    with pytest.raises(MarshalError, match="more than is believed"):
        read(b"(" + struct.pack("<I", 200) + b"N" * 200, Layout(True, True))


@pytest.mark.parametrize("magic", [0, 3379, 3393, 3413, 3425, 3439, 3495, 3531, 3571, 3627, 9999])
def test_magic_numbers(magic: int) -> None:
    """The released versions 3.7 to 3.14 are known; 3.6 and what is no version are not."""
    known = {3393: "3.7", 3413: "3.8", 3425: "3.9", 3439: "3.10", 3495: "3.11", 3531: "3.12", 3571: "3.13"}
    known[3627] = "3.14+"
    found = layout_of(magic)
    assert (None if found is None else found[1]) == known.get(magic)


def test_a_leftover_of_another_repository(compiled: Path, tmp_path: Path) -> None:
    """The suspect ships a .pyc whose definitions are in the reference's source and in none of its own."""
    suspect, reference = tmp_path / "suspect", tmp_path / "reference"
    (suspect / "__pycache__").mkdir(parents=True)
    reference.mkdir()
    (suspect / "__pycache__" / "modeling.cpython-311.pyc").write_bytes(compiled.read_bytes())
    (suspect / "__pycache__" / "broken.cpython-311.pyc").write_bytes(b"\x00" * 40)
    (suspect / "other.py").write_text("def adaptive_slice(): pass")
    (reference / "modeling.py").write_text(SOURCE, encoding="utf-8")
    found = traces.find(repository.open(str(suspect)), [repository.open(str(reference))])
    leftovers = [t for t in found.traces if t.kind == "compiled_leftover"]
    assert [t.reference for t in leftovers] == [None, 0]
    assert leftovers[1].numbers["only_in_reference"] == ["Resampler", "_set_2d_pos_cache", "nested"]
    assert leftovers[0].numbers["source_in_repository"] is False
    assert found.not_examined == (("__pycache__/broken.cpython-311.pyc", "compiled_unreadable"),)


def test_nothing_of_a_pyc_is_executed(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    code = compile(f"open({str(mark)!r}, 'w').write('x')", "evil.py", "exec")
    folder = tmp_path / "suspect"
    folder.mkdir()
    head = importlib.util.MAGIC_NUMBER + struct.pack("<III", 0, 0, 0)
    (folder / "evil.pyc").write_bytes(head + marshal.dumps(code))
    found = traces.find(repository.open(str(folder)))
    assert [t.kind for t in found.traces] == ["compiled_leftover"]
    assert not mark.exists()
