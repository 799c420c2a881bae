"""The maker `train`: a model from drawn weights, or a child of a model by more training (extra `lab`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from filiation.errors import UsageError
from filiation.lab import families, lessons
from filiation.lab.llama import Shape, hidden_states, initial_weights, loss
from filiation.lab.material import Material
from filiation.lab.recipe import Node
from filiation.lab.save import as_stored, load_model
from filiation.lab.train import Batch, Objective, Recipe, Stream, Trained, Weights, evaluate, train

#: A model trained from drawn weights must end at least this far below the unigram level, in nats a token.
AT_LEAST = 1.0
#: Texts that a teacher writes for a student, and their length.
WRITTEN, PROMPT = 192, 8


@dataclass(frozen=True)
class Bred:
    """A model as it will be stored: float32 tensors under their published names, config, what was measured."""

    tensors: Weights
    config: dict[str, Any]
    record: dict[str, Any]


@dataclass(frozen=True)
class Body:
    """A trainable model: parameters, how they score text, how they become what is published."""

    weights: Weights
    config: dict[str, Any]
    objective: Objective
    logits: Callable[[Mapping[str, Any], Any], Any]
    publish: Callable[[Weights], tuple[Weights, dict[str, Any]]]
    masked: bool = False


def teach(node: Node, parents: list[Path], material: Material, state: Path) -> Bred:
    """Train one model of a recipe.

    Raises:
        UsageError: a model trained from drawn weights did not get far enough below the unigram level.
    """
    settings = node.settings
    recipe = _schedule(settings)
    drawn = "seed" in settings and "shape" in settings
    body = _drawn(settings) if drawn else _parent(parents[0])
    domain = str(settings.get("domain", "prose"))
    held_out = _held_out(body, settings, material, domain)
    done = _run(node, body, parents, material, recipe, held_out, state)
    tensors, config = body.publish(done.weights)
    record: dict[str, Any] = {
        "schedule": asdict(recipe),
        "start_loss": round(done.start_loss, 3),
        "end_loss": round(done.end_loss, 3),
        "tokens": done.tokens,
    }
    if settings.get("data", "text") not in ("pairs", "preferences"):
        record["unigram"] = round(material.level(domain), 3)
        _far_enough(node, record, float(settings.get("at_least", AT_LEAST if drawn else -np.inf)))
    return Bred(tensors, config, record)


def _schedule(settings: Mapping[str, Any]) -> Recipe:
    fields: dict[str, Any] = {**settings["schedule"], **settings.get("but", {})}
    recipe = Recipe(order_seed=int(settings.get("order", 1)), **fields)
    # Two rows for each preference: the same memory and time as any other step.
    return replace(recipe, batch=recipe.batch // 2) if settings.get("data") == "preferences" else recipe


def _far_enough(node: Node, record: Mapping[str, Any], wanted: float) -> None:
    gained = record["unigram"] - record["end_loss"]
    if gained < wanted:
        raise UsageError(
            f"{node.name} has not learned enough",
            reason=f"it ends {gained:.2f} nats a token below the unigram level, and {wanted:.2f} were asked for",
            next_step="give its schedule more steps",
        )


def _drawn(settings: Mapping[str, Any]) -> Body:
    shape = dict(settings["shape"])
    family, seed = str(shape.pop("family", "llama")), int(settings["seed"])
    if family == "llama":
        sizes = Shape(**shape)
        return llama_body(initial_weights(sizes, seed), sizes.config())
    return _family_body(families.new_module(family, shape, seed))


def _parent(folder: Path) -> Body:
    tensors, config = load_model(folder)
    if families.is_family(str(config["model_type"])):
        return _family_body(families.load_module(folder))
    return llama_body(tensors, config)


def llama_body(weights: Weights, config: dict[str, Any]) -> Body:
    """Return the lab's own Llama or Mixtral as something to train."""
    import torch.nn.functional as F

    def logits(params: Mapping[str, Any], inputs: Any) -> Any:
        hidden, _ = hidden_states(params, inputs, config)
        return F.linear(hidden, params.get("lm_head.weight", params["model.embed_tokens.weight"]))

    def measure(params: Mapping[str, Any], inputs: Any, targets: Any) -> tuple[Any, Any]:
        return loss(params, inputs, targets, config)

    return Body(weights, config, measure, logits, lambda w: (w, config))


def _family_body(module: Any) -> Body:
    from torch.func import functional_call

    return Body(
        families.parameters(module),
        {},
        families.objective(module),
        lambda params, inputs: functional_call(module, dict(params), (inputs,)).logits,
        lambda weights: families.as_published(module, weights),
        masked=families.predicts_masked(module),
    )


def _held_out(body: Body, settings: Mapping[str, Any], material: Material, domain: str) -> Batch:
    if settings.get("data") in ("pairs", "preferences"):
        rows = material.pairs(held_out=True)
        return rows.inputs[:64], rows.targets[:64]
    inputs, targets = material.held_out(domain)
    return lessons.masked(inputs, np.random.default_rng(1)) if body.masked else (inputs, targets)


def _run(
    node: Node,
    body: Body,
    parents: list[Path],
    material: Material,
    recipe: Recipe,
    held_out: Batch,
    state: Path,
) -> Trained:
    settings = node.settings
    word = str(settings.get("data", "masked" if body.masked else "text"))
    stream = material.stream(str(settings.get("domain", "prose")))
    objective, start = body.objective, body.weights
    if word in ("teacher_text", "teacher_logits"):
        teacher = _parent(parents[-1])
        if word == "teacher_logits":
            objective = lessons.distillation_objective(body.logits, teacher.logits, teacher.weights)
        else:
            stream = _written(teacher, stream, material.context, recipe.order_seed)
        word = "text"
    data = lessons.data_of(word, stream, material.pairs(), material.vocab)
    if word == "preferences":
        objective = lessons.preference_objective(body.logits, start)
    if "frozen" in settings:
        return _around(settings["frozen"], node, body, parents, data, recipe, held_out, state)
    if "rank" in settings:
        return _with_adapter(node, body, data, recipe, held_out, state)
    return train(
        node.name,
        start,
        body.config,
        data,
        recipe,
        held_out,
        state,
        objective=objective,
        judged_by=body.objective,
    )


def _written(teacher: Body, stream: Stream, context: int, seed: int) -> Stream:
    starts = np.random.default_rng([seed, 3]).integers(0, stream.tokens.size - PROMPT, WRITTEN)
    prompts = stream.tokens[starts[:, None] + np.arange(PROMPT)]
    return Stream(lessons.written_by(teacher.logits, teacher.weights, prompts, context, seed))


def _with_adapter(node: Node, body: Body, data: Any, recipe: Recipe, held_out: Batch, state: Path) -> Trained:
    """Train an adapter and return the weights with it merged in."""
    factors = lessons.adapter_start(body.weights, int(node.settings["rank"]), recipe.order_seed)
    objective = lessons.adapter_objective(body.objective, body.weights)
    done = train(node.name, factors, body.config, data, recipe, held_out, state, objective=objective)
    merged = lessons.merged_adapter(body.weights, done.weights)
    return replace(done, weights={name: np.asarray(v, dtype=np.float32) for name, v in merged.items()})


def _around(
    names: Sequence[str],
    node: Node,
    body: Body,
    parents: list[Path],
    data: Any,
    recipe: Recipe,
    held_out: Batch,
    state: Path,
) -> Trained:
    """Train all but some tensors, which are the first parent's and stay as they are (a published table)."""
    tensors, _ = load_model(parents[0])
    if absent := set(names) - tensors.keys() | set(names) - body.weights.keys():
        raise UsageError(
            f"{node.name} cannot be made",
            reason=f"there is nothing to freeze called {', '.join(sorted(absent))}",
        )
    taken = {name: tensors[name] for name in names}
    free = {name: value for name, value in body.weights.items() if name not in taken}
    objective = lessons.frozen_objective(body.objective, taken)
    done = train(node.name, free, body.config, data, recipe, held_out, state, objective=objective)
    return replace(done, weights={name: taken.get(name, done.weights.get(name)) for name in body.weights})


def loss_of(folder: Path, held_out: Batch) -> float:
    """Return the held-out loss of a stored model, in nats a token."""
    body = _parent(folder)
    return evaluate(as_stored(body.weights), body.config, held_out, body.objective)
