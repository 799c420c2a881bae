"""Meta's consolidated.NN parts: put together they are the model that was cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from filiation import checkpoint
from filiation.checkpoint.model import TensorInfo
from filiation.checkpoint.tensor_parallel import Joined
from filiation.errors import CorruptCheckpointError, NotFoundError, UnsupportedFormatError
from tests.checkpoint.broken import BASE, copy_of_base, numbers_of
from tests.checkpoint.makers import check, save_torch, tensor
from tests.support import Counter, MemoryTensor

HEADS, KV, HEAD = 4, 2, 16
NAMES = {
    "self_attn.q_proj": "attention.wq", "self_attn.k_proj": "attention.wk", "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo", "mlp.gate_proj": "feed_forward.w1", "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3", "input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
PARAMS = {"dim": 64, "n_layers": 6, "n_heads": HEADS, "n_kv_heads": KV, "norm_eps": 1e-5, "vocab_size": -1}
COLUMNS = ("wq", "wk", "wv", "w1", "w3", "output")
Arrays = dict[str, np.ndarray[Any, Any]]


def in_pairs(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rotary channels side by side, as Meta stores them."""
    halves = rows.reshape(-1, 2, HEAD // 2, rows.shape[1])
    return halves.transpose(0, 2, 1, 3).reshape(rows.shape)


def as_meta(folder: Path) -> Arrays:
    """The weights of a model folder under Meta's names and in Meta's order; the tied head written out."""
    found: Arrays = {}
    for name, values in numbers_of(folder).items():
        short = name.removeprefix("model.").replace("embed_tokens", "tok_embeddings")
        for ours, theirs in NAMES.items():
            short = short.replace(ours, theirs)
        found[short] = in_pairs(values) if short.endswith(("wq.weight", "wk.weight")) else values
    return {**found, "output.weight": found["tok_embeddings.weight"]}


def cut(whole: Arrays, count: int, *, vocabulary: bool) -> list[Arrays]:
    """Cut as Megatron does: outputs of column-parallel layers, inputs of row-parallel ones."""
    parts: list[Arrays] = [{} for _ in range(count)]
    for name, values in whole.items():
        layer = name.split(".")[-2]
        copies = max(1, count // KV) if layer in ("wk", "wv") else 1
        axis = 0 if layer in COLUMNS or (layer == "tok_embeddings" and vocabulary) else 1
        pieces = [values] * count
        if values.ndim == 2:
            pieces = [p for p in np.split(values, count // copies, axis=axis) for _ in range(copies)]
        for part, piece in zip(parts, pieces, strict=True):
            part[name] = np.ascontiguousarray(piece)
    return parts


def write(folder: Path, parts: list[Arrays], ending: str = "pth", params: Any = PARAMS) -> Path:
    folder.mkdir()
    for number, part in enumerate(parts):
        path = folder / f"consolidated.{number:02d}.{ending}"
        if ending == "safetensors":
            save_file(part, path)
        else:
            save_torch(path, {name: tensor(values, str(i)) for i, (name, values) in enumerate(part.items())})
    if params is not None:
        (folder / "params.json").write_text(json.dumps(params))
    return folder


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize(("count", "vocabulary"), [(2, False), (2, True), (4, True)])
def test_parts_are_the_model_that_was_cut(tmp_path: Path, ending: str, count: int, vocabulary: bool) -> None:
    from filiation import compare

    whole = as_meta(BASE)
    folder = write(tmp_path / "parts", cut(whole, count, vocabulary=vocabulary), ending)
    opened = checkpoint.open(str(folder))
    assert {n: t.shape for n, t in opened.tensors.items()} == {n: v.shape for n, v in whole.items()}
    for name, values in whole.items():
        assert np.array_equal(opened.read(name), values)
    assert f"{count} tensor-parallel parts were put together" in opened.notes
    assert "settings are taken from params.json; there is no config.json" in opened.notes
    assert [f.name for f in opened.files] == [
        *(f"consolidated.{n:02d}.{ending}" for n in range(count)),
        "params.json",
    ]
    verdict = compare(str(folder), str(BASE)).verdict
    assert verdict.relation == "identical"
    assert "re_encoded" in [step.kind for step in verdict.derivation]


def test_naming_one_part_opens_them_all(tmp_path: Path) -> None:
    folder = write(tmp_path / "parts", cut(as_meta(BASE), 2, vocabulary=True))
    assert (
        checkpoint.open(str(folder / "consolidated.01.pth")).tensors == checkpoint.open(str(folder)).tensors
    )


def test_rows_cost_the_parts_that_hold_them(tmp_path: Path) -> None:
    folder = write(tmp_path / "parts", cut(as_meta(BASE), 2, vocabulary=True), "safetensors")
    opened = checkpoint.open(str(folder))
    before = opened.bytes_read
    opened.read("tok_embeddings.weight", slice(500, 510))
    assert opened.bytes_read - before == 10 * 64 * 4


@pytest.mark.parametrize("axis", [0, 1])
@given(data=st.data())
def test_any_index_gives_what_numpy_gives(axis: int, data: st.DataObject) -> None:
    values = np.arange(8 * 6, dtype=np.float32).reshape(8, 6)
    pieces = [
        MemoryTensor(TensorInfo("w", p.shape, "F32", p.nbytes, "f"), p, Counter())
        for p in np.split(values, 2, axis=axis)
    ]
    joined = Joined(TensorInfo("w", values.shape, "F32", values.nbytes, "f"), tuple(pieces), axis)
    one = [st.integers(-n, n - 1) | st.slices(n) for n in values.shape]
    index = data.draw(st.just(()) | st.tuples(one[0]) | st.tuples(*one))
    assert np.array_equal(joined.read(index), values[index])
    with pytest.raises(IndexError):
        joined.read((8,))


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "parts", cut(as_meta(BASE), 2, vocabulary=False))
    (folder / "consolidated.00.pth").rename(folder / "consolidated.02.pth")
    with pytest.raises(NotFoundError) as caught:
        checkpoint.open(str(folder))
    check(caught.value, NotFoundError, file="consolidated.00.pth", reason="the last is consolidated.02.pth")


def test_a_last_part_that_is_missing_does_not_go_unseen(tmp_path: Path) -> None:
    from filiation.anatomy import dissect

    for vocabulary in (False, True):
        folder = write(tmp_path / f"parts{vocabulary}", cut(as_meta(BASE), 4, vocabulary=vocabulary))
        (folder / "consolidated.03.pth").unlink()
        with pytest.raises(CorruptCheckpointError) as caught:
            dissect(checkpoint.open(str(folder)))
        assert caught.value.tensor
        assert caught.value.next_step


def test_parts_that_do_not_fit_together(tmp_path: Path) -> None:
    parts = cut(as_meta(BASE), 2, vocabulary=False)
    name, second = "layers.0.attention.wq.weight", "consolidated.01.safetensors"
    missing = [parts[0], {k: v for k, v in parts[1].items() if k != name}, parts[1]]
    short = [parts[0], parts[1] | {name: parts[1][name][:7]}]
    for number, (broken, file, reason) in enumerate(
        [(missing, second, "2 of 3 parts"), (short, "consolidated.00.safetensors", "not of one shape")]
    ):
        folder = write(tmp_path / str(number), broken, "safetensors")
        with pytest.raises(CorruptCheckpointError) as caught:
            checkpoint.open(str(folder))
        check(caught.value, CorruptCheckpointError, file=file, tensor=name, reason=reason)


def test_repeated_tensors_have_to_agree(tmp_path: Path) -> None:
    parts = cut(as_meta(BASE), 2, vocabulary=False)
    parts[1]["norm.weight"] = parts[1]["norm.weight"] + 1
    opened = checkpoint.open(str(write(tmp_path / "parts", parts, "safetensors")))
    with pytest.raises(CorruptCheckpointError) as caught:
        opened.read("norm.weight")
    check(
        caught.value,
        CorruptCheckpointError,
        file="consolidated.01.safetensors",
        tensor="norm.weight",
        reason="differs",
    )


def test_a_name_whose_axis_is_not_known(tmp_path: Path) -> None:
    parts = [{"norm.weight": np.ones(4, np.float32), "w.odd": np.ones((2, 4), np.float32)} for _ in range(2)]
    folder = write(tmp_path / "parts", parts, "safetensors", None)
    with pytest.raises(UnsupportedFormatError) as caught:
        checkpoint.open(str(folder))
    check(
        caught.value,
        UnsupportedFormatError,
        file="consolidated.00.safetensors",
        tensor="w.odd",
        reason="Along which axis",
    )


def test_one_part_alone_is_a_model(tmp_path: Path) -> None:
    opened = checkpoint.open(str(write(tmp_path / "parts", [as_meta(copy_of_base(tmp_path / "base"))])))
    assert opened.tensors["tok_embeddings.weight"].shape == (1024, 64)
    assert not any("put together" in note for note in opened.notes)
