"""The archive around PyTorch's pickle: packed again, cut off, lying, or not PyTorch's at all."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from filiation import checkpoint
from filiation.errors import CorruptCheckpointError
from tests.checkpoint.makers import (
    VALUES,
    FakeStorage,
    check,
    pickled,
    refused,
    save_torch,
    state_dict,
    tensor,
    unsupported,
    zip_torch,
)


def test_a_compressed_archive_is_read_whole(tmp_path: Path) -> None:
    path = save_torch(tmp_path / "m.pt", state_dict(), compression=zipfile.ZIP_DEFLATED)
    opened = checkpoint.open(str(path))
    for name, expected in VALUES.items():
        np.testing.assert_array_equal(opened.read(name), expected.astype(np.float32))
    np.testing.assert_array_equal(opened.read("a.weight", 1), VALUES["a.weight"][1])


def test_a_truncated_archive(tmp_path: Path) -> None:
    path = save_torch(tmp_path / "m.pt", state_dict())
    path.write_bytes(path.read_bytes()[:-30])
    refused(path, "zip directory at its end is missing")


def test_a_missing_storage_and_one_that_is_too_small(tmp_path: Path) -> None:
    data, storages = pickled({"w": tensor(np.ones(6, np.float32), "0")})
    refused(zip_torch(tmp_path / "m.pt", data, {}), "needs 24 bytes and is missing", "w")
    small = FakeStorage(np.ones(5, np.float32), "FloatStorage", "0")
    refused(zip_torch(tmp_path / "m.pt", data, {"0": small}), "is 20 bytes long", "w")
    assert set(checkpoint.open(str(zip_torch(tmp_path / "m.pt", data, storages))).tensors) == {"w"}


def test_a_pickle_whose_checksum_is_wrong(tmp_path: Path) -> None:
    path = save_torch(tmp_path / "m.pt", state_dict())
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"a.weight")] ^= 1
    path.write_bytes(raw)
    refused(path, "checksum is wrong")


def test_a_directory_that_lists_a_member_twice(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("archive/data.pkl", b"y")
    refused(path, "lists a member twice")


def test_members_that_overlap(tmp_path: Path) -> None:
    path = save_torch(tmp_path / "m.pt", state_dict())
    raw = bytearray(path.read_bytes())
    first = raw.index(b"PK\1\2")
    second = raw.index(b"PK\1\2", first + 4)
    raw[second + 42 : second + 46] = struct.pack("<I", 4)  # the second member's header, moved into the first
    path.write_bytes(raw)
    refused(path, "overlaps")


def test_a_directory_that_points_nowhere(tmp_path: Path) -> None:
    path = save_torch(tmp_path / "m.pt", state_dict())
    raw = bytearray(path.read_bytes())
    end = raw.rindex(b"PK\5\6")
    for field, value, reason in (
        (12, 2**31, "at most"),
        (16, 2**31, "beyond the end"),
        (10, 77, "claims 19"),
        (12, 3, "damaged"),
    ):
        changed = bytearray(raw)
        size = 2 if field == 10 else 4
        changed[end + field : end + field + size] = struct.pack("<H" if size == 2 else "<I", value)
        path.write_bytes(changed)
        with pytest.raises(CorruptCheckpointError) as caught:
            checkpoint.open(str(path))
        if field != 10:
            assert reason in str(caught.value.reason)
        assert caught.value.file == "m.pt"


def test_an_archive_in_zip64_form(tmp_path: Path) -> None:
    path = save_torch(tmp_path / "m.pt", state_dict())
    raw = path.read_bytes()
    end = raw.rindex(b"PK\5\6")
    count, length, start = struct.unpack("<HII", raw[end + 10 : end + 20])
    end64 = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, length, start)
    locator = b"PK\6\7" + struct.pack("<IQI", 0, end, 1)
    tail = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(raw[:end] + end64 + locator + tail)
    opened = checkpoint.open(str(path))
    np.testing.assert_array_equal(opened.read("a.weight"), VALUES["a.weight"])
    path.write_bytes(raw[:end] + b"????" + end64[4:] + locator + tail)
    refused(path, "zip64 directory is not where it should be")
    path.write_bytes(raw[:end] + tail)
    refused(path, "zip64 directory is missing")


def test_members_in_zip64_form(tmp_path: Path) -> None:
    data, storages = pickled({"w": tensor(np.arange(6, dtype=np.float32), "0")})
    members = {"archive/data.pkl": data, "archive/data/0": storages["0"].values.tobytes()}
    body, directory = b"", b""
    for name, content in members.items():
        wide = struct.pack("<HHQQQ", 1, 24, len(content), len(content), len(body))
        other = struct.pack("<HH2x", 0x4246, 2)  # a field of another kind stands before it
        sizes = struct.pack("<III", zlib.crc32(content), 0xFFFFFFFF, 0xFFFFFFFF)
        fixed = struct.pack("<HHHHH", 45, 0, 0, 0, 0) + sizes + struct.pack("<H", len(name))
        directory += b"PK\1\2" + struct.pack("<H", 45) + fixed + struct.pack("<H", len(other + wide))
        directory += bytes(10) + struct.pack("<I", 0xFFFFFFFF) + name.encode() + other + wide
        body += b"PK\3\4" + fixed + struct.pack("<H", 0) + name.encode() + content
    end = struct.pack("<HHHHIIH", 0, 0, 2, 2, len(directory), len(body), 0)
    (tmp_path / "m.pt").write_bytes(body + directory + b"PK\5\6" + end)
    assert zipfile.ZipFile(tmp_path / "m.pt").testzip() is None
    opened = checkpoint.open(str(tmp_path / "m.pt"))
    np.testing.assert_array_equal(opened.read("w"), np.arange(6))


@pytest.mark.parametrize(
    ("extra", "reason"),
    [({"archive/constants.pkl": b"x"}, "TorchScript"), ({"b/data.pkl": b"x"}, "without one <name>/data.pkl")],
)
def test_other_archives_are_named(tmp_path: Path, extra: dict[str, bytes], reason: str) -> None:
    unsupported(save_torch(tmp_path / "m.pt", state_dict(), extra=extra), reason)


def test_a_plain_zip_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    unsupported(tmp_path / "m.pt", "torch.save did not write it")


def test_a_member_that_unpacks_to_a_thousand_times_its_size(tmp_path: Path) -> None:
    zeros = tensor(np.zeros(17 << 20, np.float32), "0")  # 68 MB of nothing, in 66 KB
    path = save_torch(tmp_path / "m.pt", {"w": zeros}, compression=zipfile.ZIP_DEFLATED)
    opened = checkpoint.open(str(path))
    with pytest.raises(CorruptCheckpointError) as caught:
        opened.read("w", slice(0, 3))
    check(caught.value, CorruptCheckpointError, file="m.pt", tensor="w", reason="at most 67108864 are read")
