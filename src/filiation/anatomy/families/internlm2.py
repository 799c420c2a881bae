"""InternLM2 and Baichuan: Llama's architecture with fused attention."""

from __future__ import annotations

from filiation.anatomy.built import Built, Switch
from filiation.anatomy.families.llama import FFN, llama_like, loads
from filiation.anatomy.tables import Config, Family, Kinds, Layout, fused


def _baichuan(config: Config, family: Family) -> Family:
    """The 13B models (40 heads) use ALiBi, the 7B ones rotary positions; the config does not say which."""
    if config.get("num_attention_heads") == 40:
        return family.with_kinds(rope=None, positions="alibi")
    return family


FAMILIES = (
    Family(
        name="internlm2",
        container="layers",
        layer={
            "attention_norm": "attn_norm",
            "attention.wqkv": fused("q", "k", "v", layout=Layout.GROUPED),
            "attention.wo": "o",
            "ffn_norm": "ffn_norm",
            "feed_forward.w1": "gate",
            "feed_forward.w2": "down",
            "feed_forward.w3": "up",
        },
        outside={"tok_embeddings": "embedding", "norm": "final_norm", "output": "head"},
        model_types=("internlm2",),
        gguf=("internlm2",),
        gguf_permuted=True,
        kinds=Kinds(activation="silu"),
        keys={"n_layers": "num_hidden_layers", "epsilon": "rms_norm_eps"},
        built=Built(biases=dict.fromkeys(("q", "k", "v", "o"), Switch("bias", True))),
    ),
    llama_like(
        "baichuan",
        "baichuan",
        gguf=("baichuan",),
        gguf_permuted=True,
        adjust=_baichuan,
        layer={"self_attn.W_pack": fused("q", "k", "v")},
        built=loads(FFN),
    ),
)
