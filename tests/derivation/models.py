"""Models, children and derivations for the tests of this room, made in memory and kept for the session."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from filiation.anatomy import Anatomy, dissect
from filiation.derivation import Derived, derive
from filiation.lab.layout import Config, Tensors
from filiation.origin import TESTS
from filiation.origin.examine import Examination, examine
from filiation.origin.pairing import Plan, TokenRows
from tests.support import memory_checkpoint

WIDTH, LAYERS, FFN, HEADS, KV, DIM, VOCAB = 64, 6, 192, 4, 2, 16, 512
DEMO = Path(__file__).parents[2] / "examples" / "models"

Model = tuple[Tensors, Config]
Change = Callable[[Tensors, Config], Model]


@cache
def base(seed: int = 0) -> Model:
    """A Llama of random weights whose gains were moved by training; tied, grouped queries."""
    g = np.random.default_rng(seed)

    def matrix(rows: int, columns: int, scale: float) -> np.ndarray:
        return (scale * g.standard_normal((rows, columns))).astype(np.float32)

    def gain() -> np.ndarray:
        return (1 + 0.3 * g.standard_normal(WIDTH)).astype(np.float32)

    t: Tensors = {"model.embed_tokens.weight": matrix(VOCAB, WIDTH, 0.02), "model.norm.weight": gain()}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        t[at + "input_layernorm.weight"], t[at + "post_attention_layernorm.weight"] = gain(), gain()
        for which, rows in (("q", HEADS * DIM), ("k", KV * DIM), ("v", KV * DIM)):
            t[f"{at}self_attn.{which}_proj.weight"] = matrix(rows, WIDTH, 0.1)
        t[at + "self_attn.o_proj.weight"] = matrix(WIDTH, HEADS * DIM, 0.1)
        t[at + "mlp.gate_proj.weight"] = matrix(FFN, WIDTH, 0.1)
        t[at + "mlp.up_proj.weight"] = matrix(FFN, WIDTH, 0.1)
        t[at + "mlp.down_proj.weight"] = matrix(WIDTH, FFN, 0.1)
    return t, config()


def config() -> Config:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCAB,
        "hidden_size": WIDTH,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV,
        "head_dim": DIM,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "max_position_embeddings": 128,
    }


def tuned(tensors: Tensors, settings: Config, *, level: float, seed: int = 5) -> Model:
    """Change every tensor as training does: a few strong directions, uneven rows, uneven tensors."""
    g = np.random.default_rng(seed)
    out: Tensors = {}
    for name, value in tensors.items():
        if value.ndim == 1:
            out[name] = (value + 0.2 * level * g.standard_normal(value.shape)).astype(np.float32)
            continue
        rows, columns = value.shape
        strong = (g.standard_normal((rows, 12)) * np.exp(-0.2 * np.arange(12))) @ g.standard_normal(
            (12, columns)
        )
        broad = g.standard_normal((rows, columns)) * np.exp(0.4 * g.standard_normal((rows, 1)))
        change = strong / np.linalg.norm(strong) + 0.7 * broad / np.linalg.norm(broad)
        size = level * np.exp(0.3 * g.standard_normal()) * np.linalg.norm(value) / np.linalg.norm(change)
        out[name] = (value + size * change).astype(np.float32)
    return out, dict(settings)


def stored(values: np.ndarray, dtype: str) -> np.ndarray:
    """Round values as storing them in a float kind does."""
    kinds = {"BF16": ml_dtypes.bfloat16, "F16": np.float16, "F32": np.float32}
    return values.astype(kinds[dtype]).astype(np.float32)


def anatomy(model: Model, dtype: str = "F32", **options: Any) -> Anatomy:
    tensors, settings = model
    if dtype in ("BF16", "F16"):
        tensors = {name: stored(value, dtype) for name, value in tensors.items()}
    dtypes = options.pop("dtypes", dict.fromkeys(tensors, dtype))
    return dissect(memory_checkpoint(tensors, settings, dtypes=dtypes, **options))


def tokens(suspect: Anatomy, candidate: Anatomy) -> TokenRows:
    """Equal ids, as where no tokenizer is beside the weights."""
    parts = [model.part("embedding") for model in (suspect, candidate)]
    rows = np.arange(min(part.shape[0] for part in parts if part is not None))
    return TokenRows(rows, rows, by_string=False)


def examined(suspect: Anatomy, candidate: Anatomy, plan: Plan, rows: TokenRows | None = None) -> Examination:
    return examine(suspect, candidate, "language", plan, rows or tokens(suspect, candidate), TESTS)


def derived(
    suspect: Model,
    candidate: Model,
    *,
    dtype: str = "F32",
    candidate_dtype: str | None = None,
    rows: TokenRows | None = None,
    whole: bool = True,
    full: bool = False,
) -> Derived:
    s, c = anatomy(suspect, dtype), anatomy(candidate, candidate_dtype or dtype)
    plan = Plan("0" * 64, whole=whole)
    rows = rows or tokens(s, c)
    return derive(s, c, examined(s, c, plan, rows), plan, rows, full=full)


def numbers(found: Derived, kind: str, what: str | None = None) -> Mapping[str, Any]:
    """Return the numbers of the one step of a kind (that speaks of ``what``)."""
    steps = [s for s in found.steps if s.kind == kind and what in (None, s.numbers.get("what"))]
    assert len(steps) == 1, [s.kind for s in found.steps]
    return steps[0].numbers


def demo(name: str) -> Model:
    """One of the shipped models, which were really trained."""
    tensors: Tensors = {}
    for file in sorted((DEMO / name).glob("*.safetensors")):
        raw = file.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        for key, entry in json.loads(raw[8 : 8 + length]).items():
            if key != "__metadata__":
                start, stop = (8 + length + offset for offset in entry["data_offsets"])
                values = np.frombuffer(raw[start:stop], ml_dtypes.bfloat16)
                tensors[key] = values.astype(np.float32).reshape(entry["shape"])
    return tensors, json.loads((DEMO / name / "config.json").read_text())
