"""Which maker makes a model, and writing what it made as a public repository would hold it.

A change is a name in one of the tables below; a recipe calls it by that name under ``how`` and gives its arguments
under ``with``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from filiation.errors import FiliationError, UsageError
from filiation.lab import (
    aligned,
    calibrated,
    derive,
    extended,
    families,
    fixtures,
    framing,
    launder,
    layout,
    mergers,
    recode,
    shrink,
    storage,
)
from filiation.lab.forward import logits
from filiation.lab.layout import Config, Tensors
from filiation.lab.material import Material, load
from filiation.lab.recipe import Node
from filiation.lab.save import as_stored, load_model, save_model

Result = tuple[Tensors, Config]
#: Laundering may move a logit by no more than this before the result is rounded.
FUNCTION_KEPT = 1e-3
CALIBRATION_WINDOWS = 16

#: Changes of one model.
OF_ONE: Mapping[str, Callable[..., Result]] = {
    "take_layers": derive.take_layers,
    "insert_blocks": derive.insert_blocks,
    "prune_ffn": derive.prune_ffn,
    "prune_residual": derive.prune_residual,
    "add_noise": derive.add_noise,
    "sparsify": derive.sparsify,
    "upcycle": derive.upcycle,
    "extract_dense": derive.extract_dense,
    "extend_vocabulary": derive.extend_vocabulary,
    "replace_embeddings": derive.replace_embeddings,
    "pool_kv_heads": derive.pool_kv_heads,
    "repeat_kv_heads": derive.repeat_kv_heads,
    "take_first_tokens": lambda t, c, tokens: derive.take_tokens(t, c, np.arange(tokens)),
    "untie": layout.untie,
    **{
        f.__name__: f
        for f in (
            shrink.prune_ffn_by_norm,
            shrink.prune_residual_by_norm,
            shrink.prune_heads,
            shrink.two_of_four,
            shrink.remove_direction,
            shrink.replace_head,
            shrink.set_config,
            shrink.redraw_experts,
            shrink.split_experts,
            shrink.graft_tower,
            extended.to_latent_attention,
            extended.add_biases,
            extended.add_sinks,
            extended.redraw_layers,
            fixtures.sort_units,
            fixtures.sort_channels,
            fixtures.pad_units,
            fixtures.silence_units,
            fixtures.silence_blocks,
            fixtures.make_units_alike,
        )
    },
}
#: Changes that keep the function; what they are given is checked against what they give back.
LAUNDERINGS: Mapping[str, Callable[..., Result]] = {
    # Nothing is drawn to fold gains; the seed is taken so that a recipe may list all launderings alike.
    "fold_gains": lambda t, c, seed=0: launder.fold_gains(t, c),
    **{
        f.__name__: f
        for f in (
            launder.permute_ffn,
            launder.flip_ffn_signs,
            launder.permute_residual,
            launder.flip_residual_signs,
            launder.signed_permutation,
            launder.rescale_gains,
            launder.rotate_residual,
            launder.permute_value_channels,
            launder.flip_value_signs,
            launder.rescale_value_channels,
            launder.rotate_values,
            launder.rescale_ffn_units,
            launder.rescale_queries_and_keys,
            launder.rotate_rotary_pairs,
            launder.permute_heads,
            launder.permute_experts,
            launder.launder,
            launder.launder_orders,
            launder.launder_all,
        )
    },
}
#: Changes of several models of one shape.
OF_MANY: Mapping[str, Callable[..., Result]] = {
    "merge": derive.merge,
    "slerp": mergers.slerp,
    "task_arithmetic": mergers.task_arithmetic,
    "ties": mergers.ties,
    "dare": mergers.dare,
    "passthrough": mergers.passthrough,
    "aligned_merge": aligned.aligned_merge,
    "graft": lambda p, c, layers: derive.graft(p[0], p[1], c, layers=layers),
    "copy_sigmas": lambda p, c: framing.copy_sigmas(p[0], p[1], c),
    "copy_spectra": lambda p, c: framing.copy_spectra(p[0], p[1], c),
    "copy_gains": lambda p, c: framing.copy_gains(p[0], p[1], c),
    "copy_settings": lambda p, c: framing.copy_settings(p[0], c),
}
#: Other names, other layouts, coarser numbers, in bfloat16 files as every model of a zoo.
RENAMINGS: Mapping[str, Callable[..., Result]] = {
    "rename": recode.rename,
    "fuse": recode.fuse_projections,
    "dummy": recode.add_dummies,
    "lattice": recode.quantise,
    "nf4": recode.quantise_nf4,
}
#: Other files: each writes folder, tensors, config and tokenizer.
WRITERS: Mapping[str, Callable[..., None]] = {
    "shard": save_model,
    "typed": storage.write_typed,
    "torch": storage.write_torch,
    "gguf": storage.write_gguf,
    "fp8": storage.write_fp8,
    "int8": storage.write_int8,
}
#: Quantisers that look at text.
CALIBRATED: Mapping[str, Callable[..., Any]] = {
    "gptq": calibrated.quantise_gptq,
    "awq": calibrated.quantise_awq,
}


def bred(node: Node, zoo: Path, state: Path, folder: Path) -> dict[str, Any]:
    """Make one model, write its folder and return what was measured.

    Args:
        state: where a training run keeps what it needs to go on.
        folder: where the model is written; empty.

    Raises:
        UsageError: the recipe asks for what the lab cannot do. FiliationError: a laundering changed the function.
    """
    material = _material(zoo / ".state")
    parents = [zoo / parent for parent in node.parents]
    if node.maker == "train":
        from filiation.lab.teach import teach

        model = teach(node, parents, material, state)
        save_model(folder, model.tensors, model.config, material.tokenizer_json)
        return model.record
    models = [load_model(parent) for parent in parents]
    if node.maker == "recode":
        _recoded(node, models[0], material, folder)
        return {}
    try:
        tensors, config, record = _changed(node, models, material)
    except KeyError as error:
        raise UsageError(
            f"{node.name} cannot be made",
            reason=f"{node.how} looks for {error}, which {node.parents[0]} does not have",
            next_step="most changes are for the lab's own Llama, or for a mixture made of it",
        ) from error
    save_model(folder, tensors, config, material.tokenizer_json)
    return record


@functools.cache
def _material(folder: Path) -> Material:
    return load(folder)


def _changed(
    node: Node, models: Sequence[Result], material: Material
) -> tuple[Tensors, Config, dict[str, Any]]:
    options = dict(node.settings.get("with", {}))
    tensors, config = models[0]
    if node.how in OF_MANY:
        # A framing takes its settings from the model it is to look like.
        shown = models[-1][1] if node.how == "copy_settings" else config
        return *OF_MANY[node.how]([t for t, _ in models], shown, **options), {}
    if node.how in OF_ONE:
        return *OF_ONE[node.how](tensors, config, **options), {}
    out, settings = LAUNDERINGS[node.how](tensors, config, **options)
    return out, settings, _function_kept(node, (tensors, config), (out, settings), material)


def _function_kept(node: Node, before: Result, after: Result, material: Material) -> dict[str, Any]:
    """Measure by how much the logits on held-out text moved, before and after rounding."""
    tokens = material.held_out("prose", 4)[0]
    wanted = logits(*before, tokens)
    moved = float(np.abs(logits(*after, tokens) - wanted).max())
    if moved > FUNCTION_KEPT:
        raise FiliationError(
            f"{node.name} does not compute what it should", reason=f"logits moved by {moved:.1e}"
        )
    rounded = float(np.abs(logits(as_stored(after[0]), after[1], tokens) - wanted).max())
    return {"logits_moved": float(f"{moved:.2e}"), "logits_moved_after_rounding": float(f"{rounded:.2e}")}


def _recoded(node: Node, model: Result, material: Material, folder: Path) -> None:
    """Write a model stored in another way."""
    if families.is_family(str(model[1]["model_type"])) and node.how not in ("shard", "typed", "torch"):
        raise UsageError(f"{node.name}: {node.how} is for the lab's own Llama")
    options = dict(node.settings.get("with", {}))
    if node.how in RENAMINGS:
        save_model(folder, *RENAMINGS[node.how](*model, **options), material.tokenizer_json)
    elif node.how in WRITERS:
        WRITERS[node.how](folder, *model, material.tokenizer_json, **options)
    else:
        tokens = material.stream("prose").tokens[: CALIBRATION_WINDOWS * material.context]
        arrays, config = CALIBRATED[node.how](*model, tokens.reshape(CALIBRATION_WINDOWS, material.context))
        storage.write_arrays(folder, arrays, config, material.tokenizer_json)
