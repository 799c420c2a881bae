"""ONNX graphs of the real exporters and quantisers, and every way of storing a constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from filiation.checkpoint.formats import onnx as format_onnx
from filiation.checkpoint.formats.base import Loaded
from filiation.checkpoint.sources.local import LocalSource
from filiation.errors import (
    CorruptCheckpointError,
    MissingExtraError,
    NotFoundError,
    UnsafeCheckpointError,
    UsageError,
)

onnx = pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
GOLDEN = Path(__file__).parent / "golden_onnx"
NAMES = tuple(sorted(path.stem for path in GOLDEN.glob("*.onnx")))
RNG = np.random.default_rng(5)
Arrays = Mapping[str, npt.NDArray[Any]]


def load(path: Path) -> Loaded:
    return format_onnx.load(LocalSource(path))


def model(nodes: Sequence[Any], arrays: Arrays | Sequence[Any], opset: int = 21) -> Any:
    """Return a model of nodes and initialisers (arrays by name, or TensorProtos)."""
    if isinstance(arrays, Mapping):
        arrays = [onnx.numpy_helper.from_array(value, name) for name, value in arrays.items()]
    floats = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", floats, None)],
        [onnx.helper.make_tensor_value_info("y", floats, None)],
        list(arrays),
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])


def written(folder: Path, nodes: Sequence[Any], arrays: Arrays | Sequence[Any], opset: int = 21) -> Loaded:
    """Write a model and load it."""
    onnx.save_model(model(nodes, arrays, opset), folder / "model.onnx")
    return load(folder / "model.onnx")


def node(
    op: str, inputs: Sequence[str], outputs: Sequence[str] = ("y",), name: str = "", **attributes: Any
) -> Any:
    return onnx.helper.make_node(op, inputs, outputs, name=name, **attributes)


def weights(*shape: int) -> npt.NDArray[np.float32]:
    return RNG.standard_normal(shape).astype(np.float32)


# ---- real exporters and quantisers


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_those_that_are_computed_with(name: str) -> None:
    loaded = load(GOLDEN / f"{name}.onnx")
    expected = np.load(GOLDEN / f"{name}.npz")
    # The bias of a statically quantised operator is in units that no stored scale gives.
    for key in (key for key in expected.files if not (key == "0.bias" and "qoperator" in name)):
        read = loaded.tensors[key].read(())
        assert read.shape == expected[key].shape == loaded.tensors[key].info.shape
        np.testing.assert_allclose(read, expected[key], rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["torchscript", "dynamo"])
def test_an_exported_model_is_found_whole_under_the_names_it_has_in_torch(name: str) -> None:
    loaded = load(GOLDEN / f"{name}.onnx")
    expected = np.load(GOLDEN / f"{name}.npz")
    assert set(loaded.tensors) == {*expected.files, "head.weight"}
    assert np.array_equal(loaded.tensors["head.weight"].read(()), expected["embed.weight"])
    for key in expected.files:
        assert np.array_equal(loaded.tensors[key].read(()), expected[key])
    assert loaded.metadata["orientation"]["layers.0.down.weight"] == "out_in"
    assert loaded.metadata["stored_names"]["layers.0.up.weight"] != "layers.0.up.weight"
    assert loaded.metadata["producer"].startswith("pytorch")
    assert any("named by the graph" in note for note in loaded.notes)


@pytest.mark.parametrize("name", NAMES)
def test_rows_equal_rows_of_the_whole(name: str) -> None:
    loaded = load(GOLDEN / f"{name}.onnx")
    for tensor in loaded.tensors.values():
        whole = tensor.read(())
        for index in ((0,), (slice(3, 9),), (slice(None, None, -2),), ()):
            assert np.array_equal(tensor.read(index), whole[index])
        if whole.ndim == 2:
            assert np.array_equal(tensor.read((slice(2, 9, 3), slice(5, 1, -1))), whole[2:9:3, 5:1:-1])


def test_opening_leaves_the_weights_in_the_file(tmp_path: Path) -> None:
    onnx.save_model(
        model([node("MatMul", ["x", "w.weight"])], {"w.weight": weights(512, 512)}), tmp_path / "m.onnx"
    )
    source = LocalSource(tmp_path / "m.onnx")
    loaded = format_onnx.load(source)
    opened = source.bytes_read
    assert opened < 300_000
    loaded.tensors["w.weight"].read((slice(0, 2),))
    assert source.bytes_read - opened == 2 * 512 * 4


# ---- names


def test_a_bias_names_the_matrix_it_is_added_to(tmp_path: Path) -> None:
    arrays = {"onnx::MatMul_7": weights(3, 5), "a.query.bias": weights(5)}
    nodes = [node("MatMul", ["x", "onnx::MatMul_7"], ["h"]), node("Add", ["a.query.bias", "h"])]
    loaded = written(tmp_path, nodes, arrays)
    assert np.array_equal(loaded.tensors["a.query.weight"].read(()), arrays["onnx::MatMul_7"].T)
    assert loaded.metadata["stored_names"] == {"a.query.weight": "onnx::MatMul_7"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/model/layers.3/mlp/up/MatMul", "model.layers.3.mlp.up.weight"),
        ("/model/model.0/encoder/MatMul_quant", "model.0.encoder.weight"),
    ],
)
def test_a_nodes_name_names_its_matrix(tmp_path: Path, path: str, name: str) -> None:
    loaded = written(tmp_path, [node("MatMul", ["x", "val_3"], name=path)], {"val_3": weights(3, 5)})
    assert loaded.tensors[name].info.shape == (5, 3)


def test_torchs_scopes_name_a_matrix(tmp_path: Path) -> None:
    product = node("MatMul", ["x", "val_3"])
    entry = product.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", "['', 'encoder', 'encoder.0', 'linear_3']"
    assert "encoder.0.weight" in written(tmp_path, [product], {"val_3": weights(3, 5)}).tensors


@pytest.mark.parametrize("scopes", ["not python", "__import__('os')", "[1, 2]", "{'a': 1}", "['only']"])
def test_scopes_that_make_no_sense_name_nothing(tmp_path: Path, scopes: str) -> None:
    product = node("MatMul", ["x", "val_3"])
    entry = product.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", scopes
    assert list(written(tmp_path, [product], {"val_3": weights(3, 5)}).tensors) == ["val_3"]


def test_a_matrix_that_nothing_names_keeps_its_name_and_order(tmp_path: Path) -> None:
    loaded = written(tmp_path, [node("MatMul", ["x", "val_3"])], {"val_3": weights(3, 5)})
    assert loaded.tensors["val_3"].info.shape == (3, 5)
    assert loaded.metadata["orientation"] == {"val_3": "in_out"}
    assert any("[in, out]" in note for note in loaded.notes)


def test_a_name_that_two_would_get_goes_to_neither(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["x", "val_1"], ["h"], name="/mlp/MatMul"),
        node("MatMul", ["h", "val_2"], name="/mlp/MatMul_1"),
    ]
    loaded = written(tmp_path, nodes, {"val_1": weights(3, 5), "val_2": weights(5, 3)})
    assert set(loaded.tensors) == {"val_1", "val_2"}


def test_a_named_matrix_keeps_its_name_and_order(tmp_path: Path) -> None:
    loaded = written(tmp_path, [node("MatMul", ["x", "h.0.c_fc.weight"])], {"h.0.c_fc.weight": weights(3, 5)})
    assert loaded.tensors["h.0.c_fc.weight"].info.shape == (3, 5)
    assert loaded.metadata["orientation"] == {"h.0.c_fc.weight": "in_out"}


def test_an_operator_within_a_name_is_left_out(tmp_path: Path) -> None:
    name = "model.layers.0.attn.q_proj.MatMul.weight"
    loaded = written(tmp_path, [node("MatMul", ["x", name])], {name: weights(3, 5)})
    assert loaded.tensors["model.layers.0.attn.q_proj.weight"].info.shape == (5, 3)


@pytest.mark.parametrize(("trans", "way"), [(0, "in_out"), (1, "out_in")])
def test_gemm_says_which_way_round_its_matrix_lies(tmp_path: Path, trans: int, way: str) -> None:
    arrays = {"m.weight": weights(4, 6), "m.bias": weights(6 if trans == 0 else 4)}
    loaded = written(tmp_path, [node("Gemm", ["x", "m.weight", "m.bias"], transB=trans)], arrays)
    assert loaded.metadata["orientation"] == {"m.weight": way}
    assert np.array_equal(loaded.tensors["m.weight"].read(()), arrays["m.weight"])


def test_an_anonymous_gemm_matrix_is_turned_when_it_lies_the_other_way(tmp_path: Path) -> None:
    arrays = {"1": weights(4, 6), "m.bias": weights(6)}
    loaded = written(tmp_path, [node("Gemm", ["x", "1", "m.bias"])], arrays)
    assert np.array_equal(loaded.tensors["m.weight"].read(()), arrays["1"].T)


def test_a_tied_embedding_that_is_transposed_for_the_head_is_one_tensor(tmp_path: Path) -> None:
    nodes = [
        node("Gather", ["embed.weight", "x"], ["h"]),
        node("Transpose", ["embed.weight"], ["t"], perm=[1, 0]),
        node("MatMul", ["h", "t"]),
    ]
    loaded = written(tmp_path, nodes, {"embed.weight": weights(7, 4)})
    assert list(loaded.tensors) == ["embed.weight"]
    assert loaded.metadata["orientation"] == {"embed.weight": "out_in"}


def test_constants_of_the_computation_are_left_out(tmp_path: Path) -> None:
    arrays: Arrays = {
        "m.weight": weights(3, 5),
        "val_1": weights(1),
        "val_2": weights(1, 1, 4, 4),
        "ids": np.arange(9, dtype=np.int64)[None],
        "mask": np.ones((4, 4), dtype=bool),
    }
    nodes = [node("MatMul", ["x", "m.weight"], ["h"]), node("Where", ["mask", "h", "val_2"])]
    assert list(written(tmp_path, nodes, arrays).tensors) == ["m.weight"]


def test_weights_of_constant_nodes_and_inner_graphs_are_found(tmp_path: Path) -> None:
    inner_weight = onnx.numpy_helper.from_array(weights(4, 4), "b.weight")
    floats = onnx.TensorProto.FLOAT
    inner = onnx.helper.make_graph(
        [node("MatMul", ["x", "b.weight"], ["z"])],
        "then",
        [],
        [onnx.helper.make_tensor_value_info("z", floats, None)],
        [inner_weight],
    )
    value = onnx.numpy_helper.from_array(weights(4, 4))
    nodes = [
        node("Constant", [], ["a.weight"], value=value),
        node("MatMul", ["x", "a.weight"], ["h"]),
        node("If", ["c"], ["y"], then_branch=inner, else_branch=inner),
    ]
    loaded = written(tmp_path, nodes, {"c": np.array(True)})
    assert set(loaded.tensors) == {"a.weight", "b.weight"}
    assert np.array_equal(loaded.tensors["a.weight"].read(()), onnx.numpy_helper.to_array(value))


# ---- dequantisation, against onnx's reference evaluator


def evaluated(graph: Any, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    from onnx.reference import ReferenceEvaluator

    return np.asarray(ReferenceEvaluator(graph).run(None, dict(inputs))[0], dtype=np.float32)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("layout", ["tensor", "axis0", "axis1", "blocks", "no_zero"])
def test_dequantize_linear(tmp_path: Path, kind: type, layout: str) -> None:
    info = np.iinfo(kind)
    codes = RNG.integers(info.min, info.max, (6, 8)).astype(kind)
    shape = {"tensor": (), "axis0": (6,), "axis1": (8,), "blocks": (6, 2), "no_zero": ()}[layout]
    scale = (RNG.random(shape) + 0.1).astype(np.float32)
    zero = RNG.integers(0, 5, shape).astype(kind)
    inputs = ["m.weight_quantized", "s", "z"] if layout != "no_zero" else ["m.weight_quantized", "s"]
    attributes = {"axis0": {"axis": 0}, "blocks": {"axis": 1, "block_size": 4}}.get(layout, {})
    nodes = [node("DequantizeLinear", inputs, ["m.weight"], **attributes), node("MatMul", ["x", "m.weight"])]
    arrays = {"m.weight_quantized": codes, "s": scale, "z": zero}
    expected = evaluated(model(nodes, arrays), {"x": np.eye(6, dtype=np.float32)})
    tensor = written(tmp_path, nodes, arrays).tensors["m.weight"]
    np.testing.assert_allclose(tensor.read(()), expected, rtol=1e-6)
    assert np.array_equal(tensor.read((slice(2, 4),)), tensor.read(())[2:4])
    assert tensor.info.dtype == ("INT8" if kind is np.int8 else "UINT8")


@pytest.mark.parametrize("kind", [ml_dtypes.int4, ml_dtypes.uint4])
def test_four_bit_integers(tmp_path: Path, kind: type) -> None:
    codes = RNG.integers(-8 if kind is ml_dtypes.int4 else 0, 8, (5, 7)).astype(kind)
    nodes = [node("DequantizeLinear", ["m.weight_q", "s"], ["m.weight"]), node("MatMul", ["x", "m.weight"])]
    arrays: Arrays = {"m.weight_q": codes, "s": np.float32(0.5)}
    tensor = written(tmp_path, nodes, arrays).tensors["m.weight"]
    assert np.array_equal(tensor.read(()), codes.astype(np.float32) * 0.5)
    assert np.array_equal(tensor.read((2, slice(1, 4))), codes.astype(np.float32)[2, 1:4] * 0.5)


def test_a_cast_a_subtraction_and_a_multiplication_dequantise(tmp_path: Path) -> None:
    codes = RNG.integers(0, 255, (6, 8)).astype(np.uint8)
    arrays: Arrays = {
        "w_q": codes,
        "w_zero": np.full((1, 8), 128, dtype=np.float32),
        "w_scale": (RNG.random((1, 8)) + 0.1).astype(np.float32),
        "m.bias": np.zeros(8, dtype=np.float32),
    }
    nodes = [
        node("Cast", ["w_q"], ["w_f"], to=onnx.TensorProto.FLOAT),
        node("Sub", ["w_f", "w_zero"], ["w_c"]),
        node("Mul", ["w_scale", "w_c"], ["w_1"]),
        node("MatMul", ["x", "w_1"], ["h"]),
        node("Add", ["h", "m.bias"]),
    ]
    expected = evaluated(model(nodes, arrays), {"x": np.eye(6, dtype=np.float32)})
    loaded = written(tmp_path, nodes, arrays)
    assert set(loaded.tensors) == {"m.weight", "m.bias"}
    np.testing.assert_allclose(loaded.tensors["m.weight"].read(()), expected.T, rtol=1e-6)


@pytest.mark.parametrize("channels", [False, True])
def test_the_matrix_of_qlinear_matmul(tmp_path: Path, channels: bool) -> None:
    codes = RNG.integers(-128, 127, (4, 4)).astype(np.int8)
    scale = (RNG.random(4) + 0.5).astype(np.float32) if channels else np.float32(0.25)
    arrays: Arrays = {
        "val_1": codes,
        "ws": scale,
        "wz": np.zeros_like(scale, dtype=np.int8),
        "as": np.float32(1),
        "az": np.int8(0),
    }
    nodes = [
        node("QLinearMatMul", ["x", "as", "az", "val_1", "ws", "wz", "as", "az"], name="/proj/MatMul_quant")
    ]
    tensor = written(tmp_path, nodes, arrays).tensors["proj.weight"]
    assert np.array_equal(tensor.read(()), (codes * scale).astype(np.float32).T)


def test_integers_without_a_scale_are_left_out_and_said(tmp_path: Path) -> None:
    arrays: Arrays = {"w": RNG.integers(-9, 9, (4, 4)).astype(np.int8), "m.bias": weights(4)}
    nodes = [node("MatMulInteger", ["x", "w"], ["h"]), node("Add", ["h", "m.bias"])]
    loaded = written(tmp_path, nodes, arrays)
    assert list(loaded.tensors) == ["m.bias"]
    assert any("scale" in note for note in loaded.notes)


# ---- how constants are stored

FLOATS = [
    np.float32,
    np.float64,
    np.float16,
    ml_dtypes.bfloat16,
    ml_dtypes.float8_e4m3fn,
    ml_dtypes.float8_e5m2,
]


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("size", [4, 64])
def test_every_float_kind_is_read_large_or_small(tmp_path: Path, kind: type, size: int) -> None:
    values = RNG.standard_normal((size, size)).astype(kind)
    tensor = written(tmp_path, [node("MatMul", ["x", "m.weight"])], {"m.weight": values}).tensors["m.weight"]
    assert np.array_equal(tensor.read(()), values.astype(np.float32))
    assert np.array_equal(tensor.read((1, slice(0, 2))), values.astype(np.float32)[1, :2])


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16"])
def test_lists_of_numbers_are_read(tmp_path: Path, kind: str) -> None:
    number = getattr(onnx.TensorProto, kind)
    values = [0.5, -2.0, 3.0, 0.25, 1.0, -0.125]
    proto = onnx.helper.make_tensor("m.weight", number, (2, 3), values)
    assert not proto.raw_data
    tensor = written(tmp_path, [node("MatMul", ["x", "m.weight"])], [proto]).tensors["m.weight"]
    assert np.array_equal(tensor.read(()), np.array(values, dtype=np.float32).reshape(2, 3))


def test_a_list_of_int8_is_read(tmp_path: Path) -> None:
    proto = onnx.helper.make_tensor("m.weight_q", onnx.TensorProto.INT8, (2, 3), [-128, 127, 0, 1, -1, 5])
    scale = onnx.numpy_helper.from_array(np.float32(2), "s")
    nodes = [node("DequantizeLinear", ["m.weight_q", "s"], ["m.weight"]), node("MatMul", ["x", "m.weight"])]
    tensor = written(tmp_path, nodes, [proto, scale]).tensors["m.weight"]
    assert tensor.read(()).tolist() == [[-256, 254, 0], [2, -2, 10]]


def external(folder: Path, values: npt.NDArray[Any], **entries: str) -> Path:
    """Write a model whose one matrix lies in ``weights/data.bin``; ``entries`` change what the model says of it."""
    (folder / "weights").mkdir()
    (folder / "weights" / "data.bin").write_bytes(b"\0" * 64 + values.tobytes())
    proto = onnx.TensorProto(name="m.weight", data_type=onnx.TensorProto.FLOAT, dims=values.shape)
    proto.data_location = onnx.TensorProto.EXTERNAL
    said = {"location": "weights/data.bin", "offset": "64", "length": str(values.nbytes)} | entries
    for key, value in said.items():
        entry = proto.external_data.add()
        entry.key, entry.value = key, value
    path = folder / "model.onnx"
    path.write_bytes(model([node("MatMul", ["x", "m.weight"])], [proto]).SerializeToString())
    return path


def test_external_data_are_read_by_rows(tmp_path: Path) -> None:
    values = weights(40, 6)
    loaded = load(external(tmp_path, values))
    tensor = loaded.tensors["m.weight"]
    assert np.array_equal(tensor.read((slice(3, 5),)), values[3:5])
    assert tensor.info.file == "weights/data.bin"
    assert loaded.files == ("model.onnx", "weights/data.bin")


def test_external_data_that_onnx_itself_wrote(tmp_path: Path) -> None:
    values = weights(64, 64)
    graph = model([node("MatMul", ["x", "m.weight"])], {"m.weight": values})
    onnx.save_model(
        graph, tmp_path / "model.onnx", save_as_external_data=True, location="all.data", size_threshold=0
    )
    assert np.array_equal(load(tmp_path / "model.onnx").tensors["m.weight"].read(()), values)


@pytest.mark.parametrize(
    "location",
    ["../data.bin", "/etc/passwd", "weights/../../x", "C:\\x", "..\\x", "\\x", "", "file:///etc/passwd"],
)
def test_external_data_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    path = external(tmp_path, weights(4, 4), location=location)
    with pytest.raises(UnsafeCheckpointError) as caught:
        load(path)
    assert caught.value.tensor == "m.weight"


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\0" * 64)
    folder = tmp_path / "model"
    folder.mkdir()
    path = external(folder, weights(4, 4))
    (folder / "weights" / "data.bin").unlink()
    (folder / "weights" / "data.bin").symlink_to(tmp_path / "secret")
    with pytest.raises((UnsafeCheckpointError, NotFoundError)):
        load(path).tensors["m.weight"].read(())


def test_a_missing_external_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"gone\.bin"):
        load(external(tmp_path, weights(4, 4), location="gone.bin"))


@pytest.mark.parametrize(
    "entries", [{"offset": "65"}, {"length": "63"}, {"offset": "-1"}, {"offset": "a"}, {"length": "9" * 30}]
)
def test_external_data_that_do_not_fit_are_refused(tmp_path: Path, entries: dict[str, str]) -> None:
    with pytest.raises(CorruptCheckpointError) as caught:
        load(external(tmp_path, weights(4, 4), **entries))
    assert caught.value.tensor == "m.weight"


@pytest.mark.parametrize("size", [4, 64])
def test_a_shape_that_contradicts_the_data_is_refused(tmp_path: Path, size: int) -> None:
    proto = onnx.numpy_helper.from_array(weights(size, size), "m.weight")
    proto.dims[0] += 1
    with pytest.raises(CorruptCheckpointError) as caught:
        written(tmp_path, [node("MatMul", ["x", "m.weight"])], [proto])
    assert caught.value.tensor == "m.weight"


# ---- which file, and which package


def test_a_folder_with_several_graphs_asks_which(tmp_path: Path) -> None:
    graph = model([node("MatMul", ["x", "m.weight"])], {"m.weight": weights(4, 4)})
    for name in ("encoder.onnx", "decoder.onnx"):
        onnx.save_model(graph, tmp_path / name)
    with pytest.raises(UsageError, match="several"):
        load(tmp_path)
    onnx.save_model(graph, tmp_path / "model.onnx")
    assert load(tmp_path).files == ("model.onnx",)


def test_a_graph_in_the_onnx_folder_is_found_with_its_data(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    external(tmp_path / "onnx", weights(4, 4))
    source = LocalSource(tmp_path)
    assert format_onnx.recognises(source)
    assert format_onnx.load(source).tensors["m.weight"].info.file == "onnx/weights/data.bin"


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingExtraError, match="onnx") as caught:
        load(GOLDEN / "dynamo.onnx")
    assert caught.value.extra == "onnx"


def test_a_graph_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpointError, match="cannot be read"):
        written(tmp_path, [node("Relu", ["x"])], {})
