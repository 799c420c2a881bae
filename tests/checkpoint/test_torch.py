"""PyTorch files: real ones, hand-made ones, damaged ones. torch is not needed."""

from __future__ import annotations

import json
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation import checkpoint
from filiation.errors import CorruptCheckpointError, NotFoundError, UnsupportedFormatError, UsageError
from tests.checkpoint.makers import (
    VALUES,
    FakeStorage,
    FakeTensor,
    check,
    pickled,
    refused,
    save_legacy,
    save_torch,
    state_dict,
    tensor,
    unsupported,
)

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt"])
def test_what_torch_itself_wrote(name: str) -> None:
    expected = json.loads((GOLDEN / "expected.json").read_text())
    opened = checkpoint.open(str(GOLDEN / name))
    assert opened.format == "torch"
    assert list(opened.tensors) == list(expected)
    for key, (shape, values) in expected.items():
        whole = np.array(values, np.float32).reshape(shape)
        assert opened.tensors[key].shape == tuple(shape)
        np.testing.assert_array_equal(opened.read(key), whole)
        if whole.ndim == 2 and whole.size:
            np.testing.assert_array_equal(opened.read(key, slice(0, 2), slice(1, None)), whole[:2, 1:])
            np.testing.assert_array_equal(opened.read(key, slice(None, None, -1), -1), whole[::-1, -1])
            np.testing.assert_array_equal(opened.read(key, 0), whole[0])
    assert "head is the same tensor as embed (shared storage)" in opened.notes
    kinds = {key: t.dtype for key, t in opened.tensors.items()}
    assert (kinds["bf16"], kinds["f8"], kinds["i64"], kinds["truth"]) == ("BF16", "F8_E4M3", "I64", "BOOL")
    assert "torch" not in sys.modules


def test_a_training_checkpoint_of_torch_itself() -> None:
    opened = checkpoint.open(str(GOLDEN / "training.pt"))
    assert {n: t.shape for n, t in opened.tensors.items()} == {"w": (2, 3), "inner.b": (3,)}
    assert "weights taken from the entry 'model' of training.pt" in opened.notes


@pytest.mark.parametrize("save", [save_torch, save_legacy])
def test_hand_made_files(tmp_path: Path, save: Any) -> None:
    opened = checkpoint.open(str(save(tmp_path / "pytorch_model.bin", state_dict()).parent))
    for name, expected in VALUES.items():
        np.testing.assert_array_equal(opened.read(name), expected.astype(np.float32))
        np.testing.assert_array_equal(opened.stored[name].read_raw(()), expected)  # type: ignore[attr-defined]


@pytest.mark.parametrize("save", [save_torch, save_legacy])
def test_rows_cost_their_bytes_and_no_more(tmp_path: Path, save: Any) -> None:
    opened = checkpoint.open(str(save(tmp_path / "m.pt", {"w": tensor(np.ones((50, 8), np.float32), "0")})))
    opened.read("w", 0)  # in a zip, the first read looks up where the member begins
    before = opened.bytes_read
    opened.read("w", slice(10, 20))
    assert opened.bytes_read - before == 10 * 8 * 4


def test_a_transposed_tensor_reads_from_its_first_to_its_last_value(tmp_path: Path) -> None:
    values = np.arange(40, dtype=np.float32).reshape(5, 8)
    storage = FakeStorage(values, "FloatStorage", "0")
    path = save_torch(
        tmp_path / "m.pt",
        {"t": FakeTensor(storage, (8, 5), (1, 8)), "w": FakeTensor(storage, (5, 8), (8, 1))},
    )
    opened = checkpoint.open(str(path))
    np.testing.assert_array_equal(opened.read("t"), values.T)
    before = opened.bytes_read
    np.testing.assert_array_equal(opened.read("t", 2), values.T[2])
    assert opened.bytes_read - before == (4 * 8 + 1) * 4
    assert [s.stop - s.start for s in opened.stored["t"].spans((2,))] == [(4 * 8 + 1) * 4]  # type: ignore[attr-defined]


@st.composite
def views(draw: st.DrawFn) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], tuple[Any, ...]]:
    base = np.arange(draw(st.integers(24, 60)), dtype=np.float32)
    view = base[draw(st.integers(0, 3)) :][:20].reshape(4, 5)
    view = view[:: draw(st.integers(1, 2)), draw(st.integers(0, 2)) :: draw(st.integers(1, 3))]
    view = view.T if draw(st.booleans()) else view
    index = tuple(
        draw(st.one_of(st.slices(n), st.integers(-n, n - 1))) for n in view.shape[: draw(st.integers(0, 2))]
    )
    return base, view, index


@given(views())
def test_any_strides_give_what_numpy_gives(tmp_path_factory: pytest.TempPathFactory, case: Any) -> None:
    base, view, index = case
    offset = (view.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // 4
    strides = tuple(s // 4 for s in view.strides)
    described = FakeTensor(FakeStorage(base, "FloatStorage", "0"), view.shape, strides, offset)
    opened = checkpoint.open(str(save_torch(tmp_path_factory.mktemp("t") / "m.pt", {"w": described})))
    np.testing.assert_array_equal(opened.read("w", *index), view[index])


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "module"])
def test_wrapped_state_dicts(tmp_path: Path, key: str) -> None:
    root = {
        "epoch": 3,
        "optimizer": {"state": {"exp": tensor(np.ones(2, np.float32), "9")}},
        key: state_dict(),
    }
    opened = checkpoint.open(str(save_torch(tmp_path / "m.pt", root)))
    assert list(opened.tensors) == list(VALUES)
    assert f"weights taken from the entry {key!r} of m.pt" in opened.notes


def test_nested_dictionaries_get_dotted_names(tmp_path: Path) -> None:
    root = {
        "encoder": {"layers": {0: tensor(np.ones(2, np.float32), "0")}},
        "bias": tensor(np.ones(3, np.float32), "1"),
        "optimizer_state": {"x": tensor(np.ones(3, np.float32), "2")},
        "lr": 0.1,
    }
    opened = checkpoint.open(str(save_torch(tmp_path / "m.pt", root)))
    assert set(opened.tensors) == {"encoder.layers.0", "bias"}
    assert "2 entries of m.pt that are not tensors were ignored" in opened.notes


def _sharded(folder: Path, index: bool = True) -> list[str]:
    names = [f"pytorch_model-{i:05d}-of-00002.bin" for i in (1, 2)]
    save_torch(folder / names[0], {"a": tensor(np.ones(2, np.float32), "0")})
    save_torch(folder / names[1], {"b": tensor(np.ones(3, np.float32), "0")})
    if index:
        text = json.dumps({"weight_map": {"a": names[0], "b": names[1]}})
        (folder / "pytorch_model.bin.index.json").write_text(text)
    return names


@pytest.mark.parametrize("index", [True, False])
def test_shards(tmp_path: Path, index: bool) -> None:
    names = _sharded(tmp_path, index)
    (tmp_path / "training_args.bin").write_bytes(pickle.dumps({"lr": 1}))
    (tmp_path / "optimizer.pt").write_bytes(b"PK\3\4 whatever")
    for named in (tmp_path, tmp_path / names[1]):
        assert {n: t.file for n, t in checkpoint.open(str(named)).tensors.items()} == {
            "a": names[0],
            "b": names[1],
        }


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    names = _sharded(tmp_path)
    (tmp_path / names[1]).unlink()
    with pytest.raises(NotFoundError) as caught:
        checkpoint.open(str(tmp_path))
    check(caught.value, NotFoundError, file=names[1], reason="promised")


def test_parts_that_are_not_tensor_parallel_are_explained(tmp_path: Path) -> None:
    for part in ("consolidated.00.pth", "consolidated.01.pth"):
        save_torch(tmp_path / part, {"w": tensor(np.ones(2, np.float32), "0")})
    with pytest.raises(UnsupportedFormatError) as caught:
        checkpoint.open(str(tmp_path))
    check(
        caught.value,
        UnsupportedFormatError,
        file="consolidated.00.pth",
        tensor="w",
        reason="Along which axis",
    )


def test_several_models_in_one_folder_have_to_be_told_apart(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pth"):
        save_torch(tmp_path / name, state_dict())
    with pytest.raises(UsageError) as caught:
        checkpoint.open(str(tmp_path))
    check(caught.value, UsageError, file="a.pt", reason="a.pt, b.pth", exit_code=2)


def test_files_that_only_look_like_it_are_left_alone(tmp_path: Path) -> None:
    save_torch(tmp_path / "model.pt", state_dict())
    (tmp_path / "openvino_model.bin").write_bytes(bytes(100))
    (tmp_path / "data.bin").write_bytes(bytes(100))
    assert list(checkpoint.open(str(tmp_path)).tensors) == list(VALUES)


def test_a_truncated_legacy_file(tmp_path: Path) -> None:
    path = save_legacy(tmp_path / "m.pt", state_dict())
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    refused(path, "truncated")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptCheckpointError):
        checkpoint.open(str(path))


def test_an_empty_file_and_a_git_lfs_pointer(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    for content, message in (
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
    ):
        path.write_bytes(content)
        for named in (path, tmp_path):
            with pytest.raises(CorruptCheckpointError) as caught:
                checkpoint.open(str(named))
            check(caught.value, CorruptCheckpointError, file=path.name, reason="", message=message)


@pytest.mark.parametrize(
    ("shape", "strides", "offset", "reason"),
    [
        ((4, 4), (4, 1), 0, "reaches value 15 of a storage of 12"),
        ((3, 4), (4, 1), 1, "reaches value 12 of a storage of 12"),
        ((3, 4), (100, 1), 0, "of a storage of 12"),
        ((2**40,), (0,), 0, "with 1099511627776 values of its own"),
    ],
)
def test_a_tensor_that_leaves_its_storage(
    tmp_path: Path, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, reason: str
) -> None:
    storage = FakeStorage(np.arange(12, dtype=np.float32), "FloatStorage", "0")
    for save in (save_torch, save_legacy):
        refused(save(tmp_path / "m.pt", {"w": FakeTensor(storage, shape, strides, offset)}), reason, "w")


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((-1,), (1,), 0),
        ((3,), (1, 1), 0),
        ((3,), (-1,), 0),
        ((3,), (1,), -1),
        ((3.0,), (1,), 0),
        ((1,) * 65, (1,) * 65, 0),
    ],
)
def test_a_tensor_that_cannot_be(tmp_path: Path, shape: Any, strides: Any, offset: int) -> None:
    storage = FakeStorage(np.arange(12, dtype=np.float32), "FloatStorage", "0")
    refused(
        save_torch(tmp_path / "m.pt", {"w": FakeTensor(storage, shape, strides, offset)}),
        "Its pickle cannot be read",
    )


def test_big_endian_files_are_named(tmp_path: Path) -> None:
    data, storages = pickled(state_dict())
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", b"big")
    unsupported(tmp_path / "m.pt", "big-endian")
    unsupported(save_legacy(tmp_path / "l.pt", state_dict(), endian=False), "big-endian")
    assert storages


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ({}, "no named tensors"),
        ({"epoch": 3}, "no named tensors"),
        ([1, 2], "a list"),
        (3, "a int"),
        (tensor(np.ones(2, np.float32), "0"), "a single tensor"),
    ],
)
def test_files_without_named_tensors(tmp_path: Path, root: Any, reason: str) -> None:
    unsupported(save_torch(tmp_path / "m.pt", root), reason)


def test_a_pickle_that_torch_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(pickle.dumps({"a": [1.0, 2.0]}))
    unsupported(tmp_path / "m.bin", "not one that torch.save wrote")


def test_names_that_could_fool_a_terminal_are_refused(tmp_path: Path) -> None:
    path = save_torch(tmp_path / "m.pt", {"a\x1b[31m": tensor(np.ones(2, np.float32), "0")})
    refused(path, "unprintable", "'a\\x1b[31m'")


def test_two_names_that_become_one(tmp_path: Path) -> None:
    root = {"a": {"b": tensor(np.ones(2, np.float32), "0")}, "a.b": tensor(np.ones(2, np.float32), "1")}
    refused(save_torch(tmp_path / "m.pt", root), "one name", "a.b")


def test_dictionaries_nested_beyond_belief(tmp_path: Path) -> None:
    root: Any = {"w": tensor(np.ones(2, np.float32), "0")}
    for _ in range(20):
        root = {"x": root}
    refused(save_torch(tmp_path / "m.pt", root), "nested more than 8 deep")
