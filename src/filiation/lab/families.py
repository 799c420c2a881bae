"""Small models of other families, made and run by `transformers` (extra `lab`).

Qwen2, Gemma, GPT-2, GPT-NeoX, BERT and DeepSeek-V3 are built from a configuration, never from code that comes with
a model. Parameters travel as a dict under the names of the module; what is written to disk has the names that
`save_pretrained` gives (experts apart, tied tensors once).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.errors import UsageError
from filiation.lab.device import device, fetched
from filiation.lab.train import Objective

Weights = dict[str, npt.NDArray[np.float32]]
Config = dict[str, Any]

#: The class of each family's configuration and model, and what its configuration calls the sizes.
CLASSES: Mapping[str, tuple[str, str]] = {
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM"),
    "gemma": ("GemmaConfig", "GemmaForCausalLM"),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel"),
    "gpt_neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM"),
    "bert": ("BertConfig", "BertForMaskedLM"),  # BertLMHeadModel where the configuration says is_decoder
    "deepseek_v3": ("DeepseekV3Config", "DeepseekV3ForCausalLM"),
}


def is_family(model_type: str) -> bool:
    """Tell whether `transformers` runs this kind of model here, rather than the lab's own Llama."""
    return model_type in CLASSES


def new_module(family: str, settings: Mapping[str, Any], seed: int) -> Any:
    """Build a model of a family with its own way of drawing initial weights, fixed by `seed`.

    Args:
        settings: arguments of the family's configuration class.

    Raises:
        UsageError: no such family.
    """
    import torch
    import transformers

    if family not in CLASSES:
        raise UsageError(
            f"there is no family {family}",
            reason=f"the lab knows llama and {', '.join(CLASSES)}",
            next_step="name one of them in the recipe's shape",
        )
    config = getattr(transformers, CLASSES[family][0])(**settings)
    model_class = _model_class(family, bool(settings.get("is_decoder")))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = model_class(config)
    return module.float().eval().to(device())


def load_module(folder: Path) -> Any:
    """Load a folder that the lab wrote, as float32.

    Raises:
        UsageError: its family is not one of the lab's.
    """
    import torch

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    family = str(config["model_type"])
    if family not in CLASSES:
        raise UsageError(f"{folder} is a {family}, which the lab does not run")
    model_class = _model_class(family, bool(config.get("is_decoder")))
    module = model_class.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return module.eval().to(device())


def _model_class(family: str, decoder: bool) -> Any:
    import transformers

    return getattr(transformers, "BertLMHeadModel" if family == "bert" and decoder else CLASSES[family][1])


def predicts_masked(module: Any) -> bool:
    """Tell whether a model sees both sides of a token, so that it must be taught to fill in hidden ones."""
    return module.config.model_type == "bert" and not module.config.is_decoder


def parameters(module: Any) -> Weights:
    """Return the parameters of a module by name, each tied tensor once."""
    return {name: fetched(p).copy() for name, p in module.named_parameters()}


def as_published(module: Any, weights: Weights) -> tuple[Weights, Config]:
    """Put weights into a module and return tensors and config as `save_pretrained` writes them.

    Tensors are float32 here; whoever saves them rounds them.
    """
    import torch
    from safetensors.numpy import load_file

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.from_numpy(weights[name]))
    with tempfile.TemporaryDirectory() as folder:
        module.save_pretrained(folder, safe_serialization=True)
        tensors = dict(load_file(str(Path(folder) / "model.safetensors")))
        config: Config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    config.pop("transformers_version", None)
    config["dtype"] = "bfloat16"
    return {name: np.asarray(value, dtype=np.float32) for name, value in tensors.items()}, config


def objective(module: Any) -> Objective:
    """Return the mean cross-entropy of a module as a function of its parameters (targets of -100 are left out)."""
    import torch.nn.functional as F
    from torch.func import functional_call

    def measure(params: Mapping[str, Any], inputs: Any, targets: Any) -> tuple[Any, Any]:
        logits = functional_call(module, dict(params), (inputs,), {"use_cache": False}).logits
        value = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return value, value.new_zeros(())

    def measure_without_cache(params: Mapping[str, Any], inputs: Any, targets: Any) -> tuple[Any, Any]:
        logits = functional_call(module, dict(params), (inputs,)).logits
        value = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return value, value.new_zeros(())

    return measure_without_cache if predicts_masked(module) else measure
