"""Make the golden files of this folder: weights packed and dequantised by the libraries that define the formats.

None of this code is filiation's: each file holds what another library packed, and under ``oracle.<name>`` what
that library's own dequantisation gives. Run in an environment of its own (CPU is enough)::

    pip install torch==2.13.0 transformers==5.23.0 compressed-tensors==0.20.0 bitsandbytes==0.50.2 safetensors
    pip install --no-deps auto-gptq==0.7.1 autoawq==0.2.7.post3 auto-round==0.16.1 accelerate==1.15.0
    pip install "mlx[cpu]==0.32.4"
    pip install --no-deps --target old compressed-tensors==0.10.2
    python tests/packing/make_golden.py --old old

The last of them is the newest compressed-tensors that knows ``weight_g_idx`` and the older, padded words; it runs
in a process of its own. auto-gptq, autoawq and auto-round are loaded module by module, because importing the
packages asks for a GPU.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

GOLDEN = Path(__file__).parent / "golden"
Tensors = dict[str, torch.Tensor]


def save(name: str, packed: Tensors, oracle: Tensors, config: dict[str, Any] | None, made_by: str) -> None:
    """Write one golden file: packed tensors, the oracle's results, the config a model would have."""
    tensors = {**packed, **{f"oracle.{key}": value for key, value in oracle.items()}}
    # One entry: safetensors writes several in any order, and the files should come out the same every time.
    metadata = {"golden": json.dumps({"made_by": made_by, "config": config})}
    save_file(
        {key: value.contiguous() for key, value in tensors.items()}, GOLDEN / f"{name}.safetensors", metadata
    )


def weights(out: int, width: int, seed: int) -> torch.Tensor:
    """Return float32 weights with rows and columns of different sizes."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.rand(out, 1, generator=generator) + torch.rand(1, width, generator=generator) + 0.1
    return torch.randn(out, width, generator=generator) * spread * 0.05


def version(package: str) -> str:
    """Return ``package version``."""
    return f"{package} {importlib.metadata.version(package)}"


def bare(distribution: str, *packages: str) -> None:
    """Let submodules of packages be imported without running the packages' own ``__init__``."""
    for package in packages:
        module = types.ModuleType(package)
        module.__path__ = [
            str(importlib.metadata.distribution(distribution).locate_file(package.replace(".", "/")))
        ]
        sys.modules[package] = module


def asymmetric(weight: torch.Tensor, bits: int, group: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scales and zero points ``[out, groups]`` by minimum and maximum of each group of columns."""
    count = int(group.max()) + 1
    low = torch.stack([weight[:, group == g].amin(1) for g in range(count)], 1).clamp(max=0)
    high = torch.stack([weight[:, group == g].amax(1) for g in range(count)], 1).clamp(min=0)
    scales = ((high - low) / (2**bits - 1)).half().float()
    return scales, torch.round(-low / scales).clamp(1, 2**bits - 1)


def gptq() -> None:
    bare("auto-gptq", "auto_gptq", "auto_gptq.nn_modules", "auto_gptq.nn_modules.qlinear")
    layer_type = importlib.import_module("auto_gptq.nn_modules.qlinear.qlinear_cuda").QuantLinear
    for bits in (2, 3, 4, 8):
        for act_order in (False, True) if bits == 4 else (False,):
            _gptq(layer_type, bits, 32, symmetric=False, act_order=act_order)
    _gptq(layer_type, 4, 32, symmetric=True, act_order=False)
    _gptq(layer_type, 4, 64, symmetric=True, act_order=False, group_stated=-1)


def _gptq(
    layer_type: Any, bits: int, group_size: int, *, symmetric: bool, act_order: bool, group_stated: int = 0
) -> None:
    out, width = 32, 64
    weight = weights(out, width, bits)
    group = torch.arange(width) // group_size
    if act_order:
        group = group[torch.randperm(width, generator=torch.Generator().manual_seed(7))]
    scales, zeros = asymmetric(weight, bits, group)
    if symmetric:
        zeros = torch.full_like(zeros, 2 ** (bits - 1))
    linear = torch.nn.Linear(width, out, bias=False)
    # The integers are cut to their range here: the layer's packing does not.
    codes = torch.round(weight / scales[:, group] + zeros[:, group]).clamp(0, 2**bits - 1)
    linear.weight.data = (codes - zeros[:, group]) * scales[:, group]
    layer = layer_type(bits, group_size, width, out, False, weight_dtype=torch.float32)
    layer.pack(linear, scales.clone(), zeros.clone(), group.int())
    result = layer(torch.eye(width)).T
    packed = {
        "m.qweight": layer.qweight,
        "m.qzeros": layer.qzeros,
        "m.scales": layer.scales.half(),
        "m.g_idx": layer.g_idx,
    }
    name = (
        f"gptq{bits}"
        + ("_sym" if symmetric else "")
        + ("_act" if act_order else "")
        + ("_one_group" if group_stated else "")
    )
    config = {
        "quant_method": "gptq",
        "bits": bits,
        "group_size": group_stated or group_size,
        "desc_act": act_order,
    }
    config |= {"sym": symmetric, "checkpoint_format": "gptq"}
    save(name, packed, {"m.weight": result}, {"quantization_config": config}, version("auto-gptq"))


def gptq_v2() -> None:
    bare("auto-round", "auto_round", "auto_round_extension", "auto_round_extension.torch", "auto_round.utils")
    sys.modules["auto_round.utils"].get_packing_device = lambda device: torch.device("cpu")
    layer_type = importlib.import_module("auto_round_extension.torch.qlinear_torch").QuantLinear
    layer_type.device = torch.device("cpu")
    for bits in (3, 4, 5):
        out, width, group_size = 32, 64, 32
        weight = weights(out, width, 20 + bits)
        scales, zeros = asymmetric(weight, bits, torch.arange(width) // group_size)
        linear = torch.nn.Linear(width, out, bias=False)
        linear.weight.data = weight
        layer = layer_type(bits, group_size, width, out, False)
        layer.pack(linear, scales, zeros)
        packed = {"m.qweight": layer.qweight, "m.qzeros": layer.qzeros, "m.scales": layer.scales}
        layer.scales = layer.scales.float()
        result = layer(torch.eye(width)).T
        config = {
            "quant_method": "auto-round",
            "packing_format": "auto_round:gptqmodel",
            "bits": bits,
            "group_size": group_size,
        }
        save(
            f"gptq{bits}_v2",
            packed,
            {"m.weight": result},
            {"quantization_config": config},
            version("auto-round"),
        )


def awq() -> None:
    bare("autoawq", "awq", "awq.modules", "awq.modules.linear", "awq.utils")
    layer_type = importlib.import_module("awq.modules.linear.gemm").WQLinear_GEMM
    dequantize = importlib.import_module("awq.utils.packing_utils").dequantize_gemm
    out, width, group_size = 32, 64, 32
    weight = weights(out, width, 40)
    scales, zeros = asymmetric(weight, 4, torch.arange(width) // group_size)
    linear = torch.nn.Linear(width, out, bias=True)
    linear.weight.data = weight
    layer = layer_type.from_linear(
        linear, 4, group_size, scales=scales.T.contiguous(), zeros=zeros.T.contiguous()
    )
    result = dequantize(layer.qweight, layer.qzeros, layer.scales.float(), 4, group_size).T
    packed = {f"m.{key}": value for key, value in layer.state_dict().items()}
    config = {
        "quant_method": "awq",
        "bits": 4,
        "group_size": group_size,
        "version": "gemm",
        "zero_point": True,
    }
    save("awq4", packed, {"m.weight": result}, {"quantization_config": config}, version("autoawq"))


def bitsandbytes() -> None:
    for kind in ("nf4", "fp4"):
        for nested in (False, True):
            _four_bit(kind, nested, torch.uint8, 12, 128)
    _four_bit("nf4", True, torch.bfloat16, 12, 128)
    # Blocks that run over the ends of rows. (The library's own CPU kernel gets even widths of this kind wrong: it
    # counts blocks by rows; for an odd width it takes its general code.)
    _four_bit("nf4", False, torch.uint8, 20, 35)
    import bitsandbytes as bnb

    layer = bnb.nn.Linear8bitLt(96, 20, bias=False, has_fp16_weights=False)
    layer.load_state_dict({"weight": weights(20, 96, 51)})
    state = layer.to("cpu").state_dict()
    result = bnb.functional.int8_vectorwise_dequant(state["weight"], state["SCB"])
    packed = {f"m.{key}": value for key, value in state.items()}
    config = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    save("bnb_int8", packed, {"m.weight": result}, {"quantization_config": config}, version("bitsandbytes"))


def _four_bit(kind: str, nested: bool, storage: torch.dtype, out: int, width: int) -> None:
    import bitsandbytes as bnb

    layer = bnb.nn.Linear4bit(
        width, out, bias=False, compress_statistics=nested, quant_type=kind, quant_storage=storage
    )
    layer.load_state_dict({"weight": weights(out, width, 50)})
    layer = layer.to("cpu")
    packed = {f"m.{key}": value for key, value in layer.state_dict().items()}
    result = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    name = (
        f"bnb_{kind}" + ("_nested" if nested else "") + ("_bf16_storage" if storage is torch.bfloat16 else "")
    )
    name += "_ragged" if width % 64 else ""
    config = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": kind}
    save(name, packed, {"m.weight": result}, {"quantization_config": config}, version("bitsandbytes"))


def mlx() -> None:
    import mlx.core as mx
    import numpy as np

    for bits, group_size, shape in ((4, 64, (12, 128)), (3, 32, (12, 64)), (6, 32, (2, 8, 64))):
        weight = mx.array(
            weights(shape[-2] * (shape[0] if len(shape) == 3 else 1), shape[-1], 55).numpy().reshape(shape)
        )
        parts = mx.quantize(weight, group_size=group_size, bits=bits)
        result = mx.dequantize(*parts, group_size=group_size, bits=bits)
        named = zip(("weight", "scales", "biases"), parts, strict=True)
        packed = {f"m.{key}": torch.from_numpy(np.array(value)) for key, value in named}
        config = {
            "quantization": {"group_size": 64, "bits": 4, "m": {"group_size": group_size, "bits": bits}}
        }
        oracle = {"m.weight": torch.from_numpy(np.array(result))}
        save(f"mlx{bits}" + ("_experts" if len(shape) == 3 else ""), packed, oracle, config, version("mlx"))


def fp8() -> None:
    from compressed_tensors.entrypoints.convert.converters.fp8block_dequantizer import FP8BlockDequantizer

    out, width, block = 140, 200, 128
    weight = weights(out, width, 60)
    tall, wide = -(-out // block), -(-width // block)
    largest = torch.stack(
        [
            torch.stack(
                [
                    weight[i * block : (i + 1) * block, j * block : (j + 1) * block].abs().max()
                    for j in range(wide)
                ]
            )
            for i in range(tall)
        ]
    )
    scale = largest / torch.finfo(torch.float8_e4m3fn).max
    spread = scale.repeat_interleave(block, 0)[:out].repeat_interleave(block, 1)[:, :width]
    packed = {"m.weight": (weight / spread).to(torch.float8_e4m3fn), "m.weight_scale_inv": scale}
    oracle = FP8BlockDequantizer(targets=["m"], dtype=torch.float32).process(dict(packed))
    config = {"quant_method": "fp8", "weight_block_size": [128, 128], "fmt": "e4m3"}
    # bfloat16, to keep the file small; the test rounds alike.
    result = {"m.weight": oracle["m.weight"].bfloat16()}
    save("fp8_block", packed, result, {"quantization_config": config}, version("compressed-tensors"))
    for name, scale, kind in (
        ("fp8_tensor", torch.tensor(0.0013), torch.float8_e4m3fn),
        ("fp8_channel", torch.linspace(0.001, 0.002, 24)[:, None], torch.float8_e4m3fn),
        ("fp8_e5m2", torch.tensor([0.0007]), torch.float8_e5m2),
    ):
        weight = weights(24, 40, 61)
        packed = {
            "m.weight": (weight / scale).to(kind),
            "m.weight_scale": scale,
            "m.input_scale": torch.tensor(0.5),
        }
        result = {"m.weight": packed["m.weight"].to(torch.float32) * scale}
        save(
            name,
            packed,
            result,
            {"quantization_config": {"quant_method": "fp8"}},
            f"torch {torch.__version__}",
        )


def mxfp4() -> None:
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    generator = torch.Generator().manual_seed(70)
    blocks = torch.randint(0, 256, (2, 12, 2, 16), generator=generator, dtype=torch.uint8)
    scales = torch.randint(118, 126, (2, 12, 2), generator=generator, dtype=torch.uint8)
    result = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    packed = {"mlp.experts.down_proj_blocks": blocks, "mlp.experts.down_proj_scales": scales}
    config = {"quantization_config": {"quant_method": "mxfp4"}}
    save("mxfp4_experts", packed, {"mlp.experts.down_proj": result}, config, version("transformers"))


def compressed_tensors(old: str | None) -> None:
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam

    cases: list[tuple[str, str, dict[str, Any], tuple[int, int]]] = [
        ("int4_group", "pack-quantized", {"num_bits": 4, "strategy": "group", "group_size": 32}, (20, 64)),
        (
            "int4_asym",
            "pack-quantized",
            {"num_bits": 4, "strategy": "group", "group_size": 32, "symmetric": False},
            (20, 64),
        ),
        ("int8_channel", "pack-quantized", {"num_bits": 8, "strategy": "channel"}, (20, 70)),
        ("int8_asym", "pack-quantized", {"num_bits": 8, "strategy": "channel", "symmetric": False}, (18, 70)),
        ("int3_group", "pack-quantized", {"num_bits": 3, "strategy": "group", "group_size": 32}, (20, 64)),
        (
            "int3_asym",
            "pack-quantized",
            {"num_bits": 3, "strategy": "group", "group_size": 32, "symmetric": False},
            (20, 96),
        ),
        ("int8_plain", "int-quantized", {"num_bits": 8, "strategy": "channel"}, (20, 70)),
        (
            "int8_plain_asym",
            "int-quantized",
            {"num_bits": 8, "strategy": "channel", "symmetric": False},
            (20, 70),
        ),
        ("fp8_channel", "float-quantized", {"num_bits": 8, "type": "float", "strategy": "channel"}, (20, 70)),
        ("fp8_tensor", "float-quantized", {"num_bits": 8, "type": "float", "strategy": "tensor"}, (20, 70)),
        (
            "fp8_block",
            "float-quantized",
            {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [16, 32]},
            (20, 70),
        ),
        (
            "nvfp4",
            "nvfp4-pack-quantized",
            {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16},
            (20, 64),
        ),
        (
            "mxfp4",
            "mxfp4-pack-quantized",
            {"num_bits": 4, "type": "float", "strategy": "group", "group_size": 32},
            (20, 64),
        ),
        (
            "mxfp6",
            "mxfp6-pack-quantized",
            {"num_bits": 6, "type": "float", "strategy": "group", "group_size": 32},
            (20, 64),
        ),
        (
            "mxfp8",
            "mxfp8-quantized",
            {
                "num_bits": 8,
                "type": "float",
                "strategy": "group",
                "group_size": 32,
                "scale_dtype": "torch.uint8",
            },
            (20, 64),
        ),
    ]
    for number, (name, form, arguments, shape) in enumerate(cases):
        args = QuantizationArgs(**arguments)
        scheme = QuantizationScheme(targets=["Linear"], weights=args)
        weight = weights(*shape, 80 + number).bfloat16()
        low, high = _extremes(weight, args)
        extra: Tensors = {}
        if form.startswith("nvfp4"):
            extra["weight_global_scale"] = generate_gparam(weight.min().float(), weight.max().float())
        scale, zero = calculate_qparams(low, high, args, global_scale=extra.get("weight_global_scale"))
        if form.startswith("mx"):
            scale = 2.0 ** torch.floor(torch.log2(scale.float()))
        # The scales are float32: the library dequantises in their type, and nothing is lost by it.
        state = {"weight": weight.float(), "weight_scale": scale.float(), "weight_zero_point": zero, **extra}
        compressor = BaseCompressor.get_value_from_registry(form)
        packed = compressor.compress(state, scheme)
        result = compressor.decompress(dict(packed), scheme)["weight"]
        weights_config = {key: value for key, value in arguments.items() if key != "scale_dtype"}
        config = {
            "quant_method": "compressed-tensors",
            "format": form,
            "config_groups": {"group_0": {"weights": weights_config}},
        }
        save(
            f"ct_{name}",
            {f"m.{k}": v.data for k, v in packed.items()},
            {"m.weight": result},
            {"quantization_config": config},
            version("compressed-tensors"),
        )
    modelopt()
    if old is not None:
        subprocess.run(
            [sys.executable, __file__, "--only-old"], env={"PYTHONPATH": old, "PATH": ""}, check=True
        )


def _extremes(weight: torch.Tensor, args: Any) -> tuple[torch.Tensor, torch.Tensor]:
    strategy = str(getattr(args.strategy, "value", args.strategy))
    if strategy == "tensor":
        return weight.min(), weight.max()
    if strategy == "channel":
        return weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    if strategy == "block":
        tall, wide = args.block_structure
        out, width = weight.shape
        pieces = [
            [weight[i : i + tall, j : j + wide] for j in range(0, width, wide)] for i in range(0, out, tall)
        ]
        low = torch.stack([torch.stack([piece.min() for piece in row]) for row in pieces])
        return low, torch.stack([torch.stack([piece.max() for piece in row]) for row in pieces])
    grouped = weight.unflatten(1, (-1, args.group_size))
    return grouped.amin(-1), grouped.amax(-1)


def modelopt() -> None:
    """NVFP4 as ModelOpt names it; the oracle is compressed-tensors' converter of it and then its own dequantisation."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.entrypoints.convert.converters.modelopt_nvfp4 import ModelOptNvfp4Converter
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    generator = torch.Generator().manual_seed(90)
    packed = {
        "m.weight": torch.randint(0, 256, (20, 32), generator=generator, dtype=torch.uint8),
        "m.weight_scale": (torch.rand(20, 4, generator=generator) * 200 + 1).to(torch.float8_e4m3fn),
        "m.weight_scale_2": torch.tensor(0.00021),
        "m.input_scale": torch.tensor(0.1),
    }
    converted = ModelOptNvfp4Converter(targets=["re:.*m"]).process(dict(packed))
    args = QuantizationArgs(num_bits=4, type="float", strategy="tensor_group", group_size=16)
    state = {key.removeprefix("m."): value for key, value in converted.items()}
    compressor = BaseCompressor.get_value_from_registry("nvfp4-pack-quantized")
    result = compressor.decompress(state, QuantizationScheme(targets=["Linear"], weights=args))["weight"]
    config = {"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}
    save("modelopt_nvfp4", packed, {"m.weight": result}, config, version("compressed-tensors"))


def old_compressed_tensors() -> None:
    """Activation order (``weight_g_idx``) and the words with padding, as compressed-tensors 0.10.2 has them."""
    from compressed_tensors.compressors.quantized_compressors.pack_quantized import (
        PackedQuantizationCompressor,
    )
    from compressed_tensors.quantization import QuantizationArgs

    compressor = PackedQuantizationCompressor()
    for name, bits, act_order in (("int4_g_idx", 4, True), ("int3_padded", 3, False)):
        out, width, group_size = 20, 64, 32
        weight = weights(out, width, 110 + bits)
        group = torch.arange(width) // group_size
        if act_order:
            group = group[torch.randperm(width, generator=torch.Generator().manual_seed(9))]
        largest = torch.stack([weight[:, group == g].abs().amax(1) for g in range(2)], 1)
        scale = largest / (2 ** (bits - 1) - 0.5)
        args = QuantizationArgs(
            num_bits=bits,
            strategy="group",
            group_size=group_size,
            symmetric=True,
            actorder="group" if act_order else None,
        )
        g_idx = group.int() if act_order else None
        packed = compressor.compress_weight(
            weight, scale, args, zero_point=torch.zeros_like(scale), g_idx=g_idx
        )
        packed |= {"weight_scale": scale} | ({"weight_g_idx": g_idx} if g_idx is not None else {})
        result = compressor.decompress_weight(dict(packed), args)
        config = {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "config_groups": {"group_0": {"weights": {"num_bits": bits}}},
        }
        save(
            f"ct_{name}",
            {f"m.{k}": v for k, v in packed.items()},
            {"m.weight": result},
            {"quantization_config": config},
            version("compressed-tensors"),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", help="folder with compressed-tensors 0.10.2")
    parser.add_argument("--only-old", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    GOLDEN.mkdir(exist_ok=True)
    if arguments.only_old:
        old_compressed_tensors()
        return
    for make in (gptq, gptq_v2, awq, bitsandbytes, mlx, fp8, mxfp4):
        make()
    compressed_tensors(arguments.old)


if __name__ == "__main__":
    main()
