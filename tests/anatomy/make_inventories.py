"""Write `inventories/<family>.json`: what `save_pretrained` stores for a two-layer model of each family.

Run by hand in an environment with torch and transformers (versions are recorded in the files):

    python tests/anatomy/make_inventories.py [family ...]

Each file holds `{"transformers": version, "class": ..., "config": {...}, "shapes": {name: shape}}`. Tests dissect a
checkpoint with those shapes, so the tables in `anatomy/families` are checked against the library, not against
our memory of it.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "inventories"

LLAMA: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "vocab_size": 96,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MHA = {**LLAMA, "num_key_value_heads": 6}
MOE = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
SHARED = {"shared_expert_intermediate_size": 40, "decoder_sparse_step": 1}
GEMMA = {**LLAMA, "head_dim": 16}
BERT = {k: v for k, v in MHA.items() if k != "num_key_value_heads"} | {"type_vocab_size": 2}
MLA = {
    "q_lora_rank": 20,
    "kv_lora_rank": 12,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 10,
    "num_key_value_heads": 6,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
    "head_dim": 4,
}
GPT2 = {
    "n_embd": 48,
    "n_layer": 2,
    "n_head": 6,
    "n_positions": 64,
    "n_inner": 80,
    "vocab_size": 96,
    "rotary_dim": 4,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
    "projection_dim": 48,
}
DINO = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "image_size": 28,
    "patch_size": 14,
}
WHISPER = {
    "vocab_size": 96,
    "d_model": 48,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 6,
    "decoder_attention_heads": 6,
    "encoder_ffn_dim": 80,
    "decoder_ffn_dim": 80,
    "num_mel_bins": 8,
    "max_source_positions": 20,
    "max_target_positions": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
T5 = {
    "d_model": 48,
    "d_ff": 80,
    "d_kv": 8,
    "num_heads": 6,
    "num_layers": 2,
    "vocab_size": 96,
    "decoder_start_token_id": 0,
}

# family -> (model class, config class, settings)
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", LLAMA),
    "llama_bias": (
        "LlamaForCausalLM",
        "LlamaConfig",
        LLAMA | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    ),
    "mistral": ("MistralForCausalLM", "MistralConfig", LLAMA | {"head_dim": 16}),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", LLAMA | MOE),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", LLAMA),
    "qwen2_moe": ("Qwen2MoeForCausalLM", "Qwen2MoeConfig", LLAMA | MOE | SHARED),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", LLAMA | {"head_dim": 16}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", "Qwen3MoeConfig", LLAMA | MOE | {"head_dim": 16}),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", GEMMA),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", GEMMA),
    "gemma3_text": ("Gemma3ForCausalLM", "Gemma3TextConfig", GEMMA),
    "gemma3": (
        "Gemma3ForConditionalGeneration",
        "Gemma3Config",
        {
            "text_config": GEMMA,
            "vision_config": VISION | {"vision_use_head": False},
            "mm_tokens_per_image": 4,
        },
    ),
    "phi": ("PhiForCausalLM", "PhiConfig", MHA),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", LLAMA),
    "phimoe": ("PhimoeForCausalLM", "PhimoeConfig", LLAMA | MOE),
    "olmo": ("OlmoForCausalLM", "OlmoConfig", LLAMA),
    "olmo2": ("Olmo2ForCausalLM", "Olmo2Config", LLAMA),
    "olmo3": ("Olmo3ForCausalLM", "Olmo3Config", LLAMA),
    "olmoe": ("OlmoeForCausalLM", "OlmoeConfig", LLAMA | MOE),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT2),
    "gpt_bigcode": ("GPTBigCodeForCausalLM", "GPTBigCodeConfig", GPT2 | {"multi_query": True}),
    "gpt_bigcode_mha": ("GPTBigCodeForCausalLM", "GPTBigCodeConfig", GPT2 | {"multi_query": False}),
    "gpt_neo": (
        "GPTNeoForCausalLM",
        "GPTNeoConfig",
        {
            "hidden_size": 48,
            "num_layers": 2,
            "num_heads": 6,
            "attention_types": [[["global", "local"], 1]],
            "intermediate_size": 80,
            "vocab_size": 96,
            "max_position_embeddings": 64,
        },
    ),
    "gpt_neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", MHA),
    "gptj": ("GPTJForCausalLM", "GPTJConfig", GPT2),
    "codegen": ("CodeGenForCausalLM", "CodeGenConfig", GPT2 | {"n_head": 8}),
    "opt": ("OPTForCausalLM", "OPTConfig", MHA | {"ffn_dim": 80, "word_embed_proj_dim": 48}),
    "opt_350m": (
        "OPTForCausalLM",
        "OPTConfig",
        MHA | {"ffn_dim": 80, "word_embed_proj_dim": 32, "do_layer_norm_before": False},
    ),
    "bloom": (
        "BloomForCausalLM",
        "BloomConfig",
        {"hidden_size": 48, "n_layer": 2, "n_head": 6, "vocab_size": 96},
    ),
    "falcon_7b": (
        "FalconForCausalLM",
        "FalconConfig",
        MHA | {"new_decoder_architecture": False, "multi_query": True, "parallel_attn": True, "bias": False},
    ),
    "falcon_40b": (
        "FalconForCausalLM",
        "FalconConfig",
        MHA | {"new_decoder_architecture": True, "num_kv_heads": 3, "bias": False},
    ),
    "falcon_rw": (
        "FalconForCausalLM",
        "FalconConfig",
        MHA
        | {
            "new_decoder_architecture": False,
            "multi_query": False,
            "parallel_attn": False,
            "bias": True,
            "alibi": True,
        },
    ),
    "mpt": (
        "MptForCausalLM",
        "MptConfig",
        {
            "d_model": 48,
            "n_layers": 2,
            "n_heads": 6,
            "expansion_ratio": 2,
            "vocab_size": 96,
            "max_seq_len": 64,
        },
    ),
    "stablelm": ("StableLmForCausalLM", "StableLmConfig", LLAMA),
    "stablelm_12b": (
        "StableLmForCausalLM",
        "StableLmConfig",
        LLAMA | {"qk_layernorm": True, "use_parallel_residual": True},
    ),
    "starcoder2": ("Starcoder2ForCausalLM", "Starcoder2Config", LLAMA),
    "granite": ("GraniteForCausalLM", "GraniteConfig", LLAMA),
    "granitemoe": ("GraniteMoeForCausalLM", "GraniteMoeConfig", LLAMA | MOE),
    "cohere": ("CohereForCausalLM", "CohereConfig", LLAMA),
    "cohere_plus": ("CohereForCausalLM", "CohereConfig", LLAMA | {"use_qk_norm": True}),
    "cohere2": ("Cohere2ForCausalLM", "Cohere2Config", LLAMA),
    "smollm3": ("SmolLM3ForCausalLM", "SmolLM3Config", LLAMA),
    "glm": ("GlmForCausalLM", "GlmConfig", LLAMA | {"head_dim": 8}),
    "glm4": ("Glm4ForCausalLM", "Glm4Config", LLAMA | {"head_dim": 8}),
    "glm4_moe": (
        "Glm4MoeForCausalLM",
        "Glm4MoeConfig",
        LLAMA
        | {
            "head_dim": 8,
            "n_routed_experts": 4,
            "n_shared_experts": 1,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "first_k_dense_replace": 1,
            "n_group": 1,
            "topk_group": 1,
            "use_qk_norm": True,
        },
    ),
    "deepseek_v2": ("DeepseekV2ForCausalLM", "DeepseekV2Config", LLAMA | MLA),
    "deepseek_v2_lite": (
        "DeepseekV2ForCausalLM",
        "DeepseekV2Config",
        LLAMA | MLA | {"q_lora_rank": None, "n_group": 1},
    ),
    "deepseek_v3": ("DeepseekV3ForCausalLM", "DeepseekV3Config", LLAMA | MLA),
    "minicpm3": (
        "MiniCPM3ForCausalLM",
        "MiniCPM3Config",
        MHA
        | {
            "q_lora_rank": 20,
            "kv_lora_rank": 12,
            "qk_nope_head_dim": 8,
            "qk_rope_head_dim": 4,
            "v_head_dim": 10,
        },
    ),
    "gpt_oss": ("GptOssForCausalLM", "GptOssConfig", LLAMA | MOE | {"head_dim": 8}),
    "llama4_text": (
        "Llama4ForCausalLM",
        "Llama4TextConfig",
        LLAMA | {"intermediate_size_mlp": 88, "num_local_experts": 4, "moe_layers": [1], "head_dim": 8},
    ),
    "nemotron": ("NemotronForCausalLM", "NemotronConfig", LLAMA),
    "exaone4": ("Exaone4ForCausalLM", "Exaone4Config", LLAMA),
    "persimmon": ("PersimmonForCausalLM", "PersimmonConfig", MHA),
    "ernie4_5": ("Ernie4_5ForCausalLM", "Ernie4_5Config", LLAMA | {"head_dim": 8}),
    "hunyuan_v1_dense": ("HunYuanDenseV1ForCausalLM", "HunYuanDenseV1Config", LLAMA | {"head_dim": 8}),
    "seed_oss": ("SeedOssForCausalLM", "SeedOssConfig", LLAMA | {"head_dim": 8}),
    "arcee": ("ArceeForCausalLM", "ArceeConfig", LLAMA),
    "apertus": ("ApertusForCausalLM", "ApertusConfig", LLAMA),
    "bert": ("BertForMaskedLM", "BertConfig", BERT),
    "bert_model": ("BertModel", "BertConfig", BERT),
    "roberta": ("RobertaForMaskedLM", "RobertaConfig", BERT),
    "xlm-roberta": ("XLMRobertaForMaskedLM", "XLMRobertaConfig", BERT),
    "xlm-roberta_model": ("XLMRobertaModel", "XLMRobertaConfig", BERT),
    "distilbert": (
        "DistilBertForMaskedLM",
        "DistilBertConfig",
        {
            "dim": 48,
            "hidden_dim": 80,
            "n_layers": 2,
            "n_heads": 6,
            "vocab_size": 96,
            "max_position_embeddings": 64,
        },
    ),
    "electra": ("ElectraModel", "ElectraConfig", BERT | {"embedding_size": 32}),
    "albert": ("AlbertForMaskedLM", "AlbertConfig", BERT | {"embedding_size": 32}),
    "mpnet": ("MPNetModel", "MPNetConfig", BERT),
    "modernbert": ("ModernBertForMaskedLM", "ModernBertConfig", BERT),
    "t5": ("T5ForConditionalGeneration", "T5Config", T5),
    "t5_v1_1": (
        "T5ForConditionalGeneration",
        "T5Config",
        T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "t5_encoder": ("T5EncoderModel", "T5Config", T5),
    "whisper": ("WhisperForConditionalGeneration", "WhisperConfig", WHISPER),
    "dinov2": ("Dinov2Model", "Dinov2Config", {**DINO, "use_swiglu_ffn": False}),
    "dinov2_swiglu": ("Dinov2Model", "Dinov2Config", {**DINO, "use_swiglu_ffn": True}),
    "clip": (
        "CLIPModel",
        "CLIPConfig",
        {"text_config": MHA, "vision_config": VISION, "projection_dim": 48},
    ),
    "llava": (
        "LlavaForConditionalGeneration",
        "LlavaConfig",
        {
            "text_config": {"model_type": "llama", **LLAMA},
            "vision_config": {"model_type": "clip_vision_model", **VISION},
        },
    ),
    "qwen2_vl": (
        "Qwen2VLForConditionalGeneration",
        "Qwen2VLConfig",
        {
            "text_config": LLAMA | {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}},
            "vision_config": {"depth": 2, "embed_dim": 32, "num_heads": 4, "hidden_size": 48, "mlp_ratio": 2},
        },
    ),
    "qwen2_5_vl": (
        "Qwen2_5_VLForConditionalGeneration",
        "Qwen2_5_VLConfig",
        {
            "text_config": LLAMA | {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}},
            "vision_config": {
                "depth": 2,
                "hidden_size": 32,
                "num_heads": 4,
                "out_hidden_size": 48,
                "intermediate_size": 56,
                "fullatt_block_indexes": [1],
            },
        },
    ),
    "qwen2_audio": (
        "Qwen2AudioForConditionalGeneration",
        "Qwen2AudioConfig",
        {
            "text_config": {"model_type": "qwen2", **LLAMA},
            "audio_config": {
                "d_model": 32,
                "encoder_layers": 2,
                "encoder_attention_heads": 4,
                "encoder_ffn_dim": 56,
                "num_mel_bins": 8,
                "max_source_positions": 20,
            },
        },
    ),
    "idefics3": (
        "Idefics3ForConditionalGeneration",
        "Idefics3Config",
        {"text_config": {"model_type": "llama", **LLAMA}, "vision_config": VISION, "scale_factor": 1},
    ),
    "paligemma": (
        "PaliGemmaForConditionalGeneration",
        "PaliGemmaConfig",
        {
            "text_config": {"model_type": "gemma", **GEMMA},
            "vision_config": {"model_type": "siglip_vision_model", **VISION, "vision_use_head": False},
            "projection_dim": 48,
        },
    ),
    "gemma3n_text": (
        "Gemma3nForCausalLM",
        "Gemma3nTextConfig",
        {
            **GEMMA,
            "vocab_size_per_layer_input": 96,
            "hidden_size_per_layer_input": 12,
            "laurel_rank": 4,
            "altup_num_inputs": 2,
            "num_kv_shared_layers": 0,
            "activation_sparsity_pattern": [0.0, 0.0],
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "rwkv": (
        "RwkvForCausalLM",
        "RwkvConfig",
        {
            "hidden_size": 48,
            "attention_hidden_size": 48,
            "intermediate_size": 80,
            "num_hidden_layers": 2,
            "vocab_size": 96,
        },
    ),
    "mistral3": (
        "Mistral3ForConditionalGeneration",
        "Mistral3Config",
        {
            "text_config": {"model_type": "mistral", **LLAMA, "head_dim": 8},
            "vision_config": {"model_type": "pixtral", **VISION, "head_dim": 8},
        },
    ),
}


def save(family: str) -> dict[str, Any]:
    """Instantiate the family with small random weights, save it, and read the shapes back from the headers."""
    import torch
    import transformers

    model_class, config_class, settings = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, config_class)(**settings)
    model = getattr(transformers, model_class)(config)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        stored = json.loads((Path(folder) / "config.json").read_text())
        shapes: dict[str, list[int]] = {}
        for file in sorted(Path(folder).glob("*.safetensors")):
            shapes |= _shapes(file)
    return {
        "transformers": transformers.__version__,
        "class": model_class,
        "config": stored,
        "shapes": dict(sorted(shapes.items())),
    }


def _shapes(file: Path) -> dict[str, list[int]]:
    with file.open("rb") as stream:
        (size,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(size))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def _pack(record: dict[str, Any]) -> str:
    """JSON with one line a tensor, so that a diff shows what changed."""
    shapes = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(shape)}" for name, shape in record["shapes"].items()
    )
    head = {key: value for key, value in record.items() if key != "shapes"}
    return json.dumps(head, sort_keys=True)[:-1] + ',\n "shapes": {\n' + shapes + "\n }}\n"


def main() -> None:
    """Write the inventories named on the command line, or all."""
    for family in sys.argv[1:] or FAMILIES:
        try:
            record = save(family)
        except Exception as error:  # noqa: BLE001 - one family that this version lacks must not stop the rest
            print(f"{family}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        (HERE / f"{family}.json").write_text(_pack(record), encoding="utf-8")
        print(f"{family}: {len(record['shapes'])} tensors")


if __name__ == "__main__":
    main()
