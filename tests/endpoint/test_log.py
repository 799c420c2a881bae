"""The log: appended to and nothing else, whole lines or none, and read with distrust."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.endpoint.keys import Redactor
from filiation.endpoint.log import LOG_SCHEMA, ExchangeLog, digest, pack, read_log, unpack
from filiation.errors import LogError, StorageError

RUN = {"kind": "run", "schema": LOG_SCHEMA}


def written(path: Path, *records: dict[str, object]) -> Path:
    log = ExchangeLog(path, Redactor())
    for record in (RUN, *records):
        log.append(record)
    log.close()
    return path


def test_what_is_appended_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path / "a", {"kind": "x", "text": "línea\n二 \udc80"})
    assert list(read_log(path)) == [RUN, {"kind": "x", "text": "línea\n二 \udc80"}]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_log_is_for_its_owner_alone(tmp_path: Path) -> None:
    assert stat.S_IMODE(written(tmp_path / "a").stat().st_mode) == 0o600


def test_a_log_is_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "a")
    with pytest.raises(StorageError, match="never overwritten"):
        ExchangeLog(path, Redactor())
    assert list(read_log(path)) == [RUN]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_two_sessions_cannot_write_to_one_log(tmp_path: Path) -> None:
    path = tmp_path / "a"
    first = ExchangeLog(path, Redactor())
    with pytest.raises(StorageError, match="in use"):
        ExchangeLog(path, Redactor(), resume=True)
    first.append(RUN)
    first.close()
    ExchangeLog(path, Redactor(), resume=True).close()
    assert list(read_log(path)) == [RUN]


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        ExchangeLog(tmp_path / "no" / "a", Redactor())


def test_a_resumed_log_keeps_every_byte_that_was_there(tmp_path: Path) -> None:
    path = written(tmp_path / "a", {"kind": "x"})
    path.write_bytes(path.read_bytes() + b'{"kind": "exch')
    before = path.read_bytes()
    log = ExchangeLog(path, Redactor(), resume=True)
    log.append({"kind": "resumed"})
    log.append({"kind": "y"})
    log.close()
    assert path.read_bytes().startswith(before)
    assert [r["kind"] for r in read_log(path)] == ["run", "x", "resumed", "y"]


def test_a_line_that_broke_off_at_the_end_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a", {"kind": "x"})
    whole = path.read_bytes()
    for cut in range(len(json.dumps(RUN, separators=(",", ":"))) + 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert list(read_log(path)) == [RUN]


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "a", {"kind": "x"}, {"kind": "y"})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:-4] + b"\n" + lines[2])
    with pytest.raises(LogError, match="Line 2"):
        list(read_log(path))


@pytest.mark.parametrize("content", [b"", b"\n", b"no json\n", b'{"kind": "run"}\n', b"[1]\n", b"\xff\xfe\n"])
def test_what_is_no_log_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(LogError):
        list(read_log(path))


def test_a_missing_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="does not exist"):
        list(read_log(tmp_path / "none"))


@given(st.text(st.characters(codec=None), max_size=50).map(lambda t: t * 1500))
def test_long_bodies_are_packed_and_come_back(text: str) -> None:
    packed = pack(text)
    assert unpack(json.loads(json.dumps(packed))) == text
    assert ("packed" in packed) == (len(text) >= 32 * 1024)


def test_an_altered_packed_body_is_an_error() -> None:
    packed = dict(pack("a" * 40_000))
    with pytest.raises(LogError, match="altered"):
        unpack({**packed, "packed": pack("b" * 40_000)["packed"]})
    with pytest.raises(LogError, match="altered"):
        unpack({**packed, "packed": "AAAA"})


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    path = written(tmp_path / "a")
    assert digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
