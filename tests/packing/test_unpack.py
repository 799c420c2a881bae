"""Every packing against the library that defines it: the golden files hold that library's own dequantisation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.checkpoint.formats import safetensors
from filiation.checkpoint.model import StoredTensor
from filiation.checkpoint.packing import schemes, window
from filiation.checkpoint.sources.local import LocalSource
from tests.packing.support import GOLDEN, NAMES, golden, unpack

# Files whose oracle rounds to bfloat16 more than once on the way; the rest must agree exactly.
ROUNDED = {"modelopt_nvfp4": 2**-7}
# What no tensor tells: blocks of 16 x 32, padded words, zero points of the second format, MLX's group size.
TOLD_BY_CONFIG = {
    "ct_fp8_block",
    "ct_int3_padded",
    "gptq3_v2",
    "gptq4_v2",
    "gptq5_v2",
    "mlx3",
    "mlx4",
    "mlx6_experts",
}
# Packings whose rows lie together, so that a read of one row is a small read.
BY_ROWS = (
    "bnb_nf4",
    "bnb_fp4_nested",
    "bnb_int8",
    "fp8_block",
    "fp8_channel",
    "mlx4",
    "ct_int4_group",
    "ct_nvfp4",
)

KINDS = {
    "awq4": "AWQ4",
    "bnb_int8": "BNB_INT8",
    "bnb_nf4": "NF4",
    "bnb_fp4_nested": "FP4",
    "ct_int4_group": "INT4",
    "ct_int8_plain": "INT8",
    "ct_fp8_tensor": "FP8_TENSOR",
    "ct_mxfp4": "MXFP4",
    "ct_mxfp6": "MXFP6",
    "ct_mxfp8": "MXFP8",
    "ct_nvfp4": "NVFP4",
    "fp8_block": "FP8_BLOCK",
    "fp8_channel": "FP8_CHANNEL",
    "gptq3": "GPTQ3",
    "gptq4": "GPTQ4",
    "mlx4": "MLX4",
    "modelopt_nvfp4": "NVFP4",
    "mxfp4_experts": "MXFP4",
}


@pytest.mark.parametrize("name", NAMES)
def test_it_equals_the_oracle(name: str) -> None:
    file = golden(name)
    tensors, notes = unpack(file.packed, file.config)
    assert set(file.oracle) <= set(tensors)
    assert notes
    for key, expected in file.oracle.items():
        read = tensors[key].read(())
        assert tensors[key].info.shape == read.shape == expected.shape
        assert tensors[key].info.name == key
        if name in ROUNDED:
            np.testing.assert_allclose(read, expected.astype(np.float32), rtol=ROUNDED[name])
        else:
            # Where the oracle's result is stored as bfloat16, ours is rounded the same way once.
            assert np.array_equal(read.astype(expected.dtype), expected)


@pytest.mark.parametrize("name", NAMES)
def test_large_windows_are_decoded_in_pieces_to_the_same_values(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = golden(name)
    tensors, _ = unpack(file.packed, file.config)
    for key in file.oracle:
        whole = tensors[key].read(())
        for piece in (1, 50, 700):
            monkeypatch.setattr(window, "_PIECE", piece)
            assert np.array_equal(tensors[key].read(()), whole)
            assert np.array_equal(tensors[key].read((slice(1, 11),)), whole[1:11])


class Recorder(LocalSource):
    """A local source that keeps what was announced to it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.announced: list[Sequence[tuple[int, int]]] = []

    def prefetch(self, name: str, ranges: Sequence[tuple[int, int]]) -> None:
        self.announced.append(ranges)


@pytest.mark.parametrize("name", ["bnb_nf4_nested", "ct_int4_group"])
def test_the_small_tensors_that_opening_reads_are_announced_together(name: str) -> None:
    source = Recorder(GOLDEN / f"{name}.safetensors")
    loaded = safetensors.load(source)
    opened = source.bytes_read
    unpack({key: tensor for key, tensor in loaded.tensors.items() if not key.startswith("oracle.")}, None)
    announced = [span for ranges in source.announced for span in ranges]
    assert sum(stop - start for start, stop in announced) == source.bytes_read - opened > 0


@pytest.mark.parametrize("name", NAMES)
def test_any_part_equals_that_part_of_the_whole(name: str) -> None:
    file = golden(name)
    tensors, _ = unpack(file.packed, file.config)
    for key in file.oracle:
        _check_parts(tensors[key])


def _check_parts(tensor: StoredTensor) -> None:
    whole = tensor.read(())

    @settings(max_examples=40)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        index = tuple(data.draw(st.slices(size) | st.integers(-size, size - 1)) for size in whole.shape)
        used = index[: data.draw(st.integers(0, len(index)))]
        assert np.array_equal(tensor.read(used), whole[used])

    check()


@pytest.mark.parametrize("name", BY_ROWS)
def test_a_row_costs_a_row(name: str) -> None:
    file = golden(name)
    tensors, _ = unpack(file.packed, file.config)
    tensor = tensors["m.weight"]
    tensor.read((slice(0, 1),))  # constants (the 16 values of nf4) are read once
    before = file.source.bytes_read
    tensor.read((slice(2, 3),))
    assert 0 < file.source.bytes_read - before <= 0.25 * tensor.info.nbytes


@pytest.mark.parametrize("name", NAMES)
def test_the_spans_are_in_the_file_and_cover_what_is_read(name: str) -> None:
    file = golden(name)
    tensors, _ = unpack(file.packed, file.config)
    size = next(record.size for record in file.source.files() if record.name == f"{name}.safetensors")
    for key in file.oracle:
        tensor = tensors[key]
        tensor.read(())
        before = file.source.bytes_read
        tensor.read((slice(1, 3),))
        cost = file.source.bytes_read - before
        spans = tensor.spans((slice(1, 3),))  # type: ignore[attr-defined]
        assert all(0 <= span.start < span.stop <= size for span in spans)
        assert sum(span.stop - span.start for span in spans) >= 0.9 * cost


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_the_stored_kind_is_told(name: str, kind: str) -> None:
    file = golden(name)
    tensors, notes = unpack(file.packed, file.config)
    assert {tensors[key].info.dtype for key in file.oracle} == {kind}
    assert kind in notes[0]


@pytest.mark.parametrize("name", NAMES)
def test_no_packing_tensor_is_left_and_every_byte_is_counted(name: str) -> None:
    file = golden(name)
    tensors, _ = unpack(file.packed, file.config)
    assert set(tensors) - set(file.oracle) <= {"m.bias"}
    counted = sum(tensor.info.nbytes for tensor in tensors.values())
    dropped = sum(tensor.info.nbytes for key, tensor in file.packed.items() if "input_scale" in key)
    assert counted == sum(tensor.info.nbytes for tensor in file.packed.values()) - dropped


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TOLD_BY_CONFIG])
def test_without_a_config_it_is_recognised_from_the_tensors(name: str) -> None:
    file = golden(name)
    told, _ = unpack(file.packed, file.config)
    tensors, notes = unpack(file.packed, None)
    assert any("no quantization_config" in note for note in notes)
    for key in file.oracle:
        assert np.array_equal(tensors[key].read(()), told[key].read(()))


def test_every_scheme_has_golden_files() -> None:
    notes = [unpack(file.packed, file.config)[1][0] for file in map(golden, NAMES)]
    assert {note.split("(")[1].split(":")[0] for note in notes} == {scheme.NAME for scheme in schemes()}
