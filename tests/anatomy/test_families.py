"""Every family's table against what `save_pretrained` writes for a two-layer model of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from filiation.anatomy import Anatomy, Axis, Geometry, Part, Symmetry, dissect
from tests.support import shape_checkpoint

INVENTORIES = Path(__file__).parent / "inventories"
FAMILIES = sorted(file.stem for file in INVENTORIES.glob("*.json"))


def inventory(name: str) -> dict[str, Any]:
    return json.loads((INVENTORIES / f"{name}.json").read_text(encoding="utf-8"))


def dissected(name: str, *, config: bool = True) -> Anatomy:
    record = inventory(name)
    return dissect(shape_checkpoint(record["shapes"], record["config"] if config else None))


def expected_sizes(axis: Axis, geometry: Geometry, role: str) -> set[int | None] | None:
    """The lengths an axis may have, or None where any is right."""
    g = geometry
    head = g.d_head or 0
    return {
        Axis.RESIDUAL: {g.d_model},
        Axis.QUERY: {(g.n_heads or 0) * head},
        Axis.KV: {(g.n_kv_heads or 0) * head},
        Axis.HEAD_DIM: {g.d_head},
        Axis.FFN: {g.d_ff_shared} if role.startswith("shared.") else {g.d_ff, g.d_ff_expert},
        Axis.VOCAB: {g.vocab},
        Axis.EXPERT: {g.n_experts},
    }.get(axis)


def rows_covered(parts: list[Part]) -> Iterator[int]:
    for part in parts:
        yield from range(part.shape[0]) if part.view.rows is None else part.view.rows.tolist()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_tensor_is_named(name: str) -> None:
    anatomy = dissected(name)
    assert anatomy.unnamed == ()
    assert {part.tensor for part in anatomy.parts} == set(inventory(name)["shapes"])


@pytest.mark.parametrize("name", FAMILIES)
def test_sizes_agree_with_the_geometry(name: str) -> None:
    anatomy = dissected(name)
    for part in anatomy.parts:
        geometry = anatomy.geometry[part.component]
        for axis, size in zip(part.axes, part.shape, strict=True):
            allowed = expected_sizes(axis, geometry, part.role)
            assert allowed is None or size in allowed, (part.tensor, part.role, axis, size, geometry)


@pytest.mark.parametrize("name", FAMILIES)
def test_fused_parts_cover_their_tensor_once(name: str) -> None:
    """No row of a fused tensor is lost or given to two parts, and each part reads back with its shape."""
    anatomy = dissected(name)
    shapes = inventory(name)["shapes"]
    by_tensor: dict[tuple[str, int | None], list[Part]] = {}
    for part in anatomy.parts:
        by_tensor.setdefault((part.tensor, part.view.expert), []).append(part)
        assert anatomy.read(part).shape == part.shape
    for (tensor, expert), parts in by_tensor.items():
        inner = shapes[tensor] if expert is None else shapes[tensor][1:]
        if not inner:
            continue
        total = inner[-1] if parts[0].view.transpose else inner[0]
        assert sorted(rows_covered(parts)) == list(range(total)), tensor


@pytest.mark.parametrize("name", FAMILIES)
def test_rulings_are_complete_and_reasoned(name: str) -> None:
    anatomy = dissected(name)
    for component in anatomy.components:
        if component == "projector":
            continue
        rulings = anatomy.rulings[component]
        assert [ruling.symmetry for ruling in rulings] == list(Symmetry)
        assert all(ruling.reason for ruling in rulings)


@pytest.mark.parametrize("name", FAMILIES)
def test_parts_have_one_place_each(name: str) -> None:
    anatomy = dissected(name)
    places = [(p.component, p.role, p.layer, p.expert) for p in anatomy.parts]
    assert len(places) == len(set(places))
    assert not [p.role for p in anatomy.parts if "~" in p.role]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_wrapper_prefix_changes_nothing(name: str) -> None:
    """`module.`, `_orig_mod.` and a PEFT prefix are not family knowledge."""
    record = inventory(name)
    plain = dissected(name)
    for prefix in ("module.", "base_model.model.", "_orig_mod."):
        shapes = {prefix + key: shape for key, shape in record["shapes"].items()}
        wrapped = dissect(shape_checkpoint(shapes, record["config"]))
        assert wrapped.unnamed == ()
        assert wrapped.family == plain.family
        roles = [(p.component, p.role, p.layer, p.expert, p.shape) for p in plain.parts]
        assert [(p.component, p.role, p.layer, p.expert, p.shape) for p in wrapped.parts] == roles


WITHOUT_CONFIG = [name for name in FAMILIES if name not in ("opt_350m",)]


@pytest.mark.parametrize("name", WITHOUT_CONFIG)
def test_roles_without_a_config(name: str) -> None:
    """Names alone give the same roles, save where a table depends on a setting; what is unknown is said."""
    with_config, without = dissected(name), dissected(name, config=False)
    assert without.unnamed == ()
    assert without.inferences
    geometry = next(iter(without.geometry.values()))
    assert geometry.d_model == next(iter(with_config.geometry.values())).d_model
    if geometry.n_heads is None and not geometry.mla:
        assert not without.holds(Symmetry.VALUE_ORDER, without.components[0]).holds
