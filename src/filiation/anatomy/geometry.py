"""The sizes and kinds of a tower: from its config where there is one, checked against shapes; else from shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from filiation.anatomy.activation import activation_of
from filiation.anatomy.config import Settings, settings_of, types_of
from filiation.anatomy.families import of_architecture, of_type
from filiation.anatomy.further import check_further
from filiation.anatomy.model import Geometry, Inference
from filiation.anatomy.roles import NORMS
from filiation.anatomy.routing import check_routing
from filiation.anatomy.towers import Found, Tower
from filiation.errors import CorruptCheckpointError


@dataclass(frozen=True, slots=True)
class Heads:
    """How attention is divided; None where neither config nor shapes say."""

    n_heads: int | None
    n_kv_heads: int | None
    d_head: int | None


def measure(tower: Tower) -> tuple[Geometry, Settings]:
    """Return the geometry of ``tower`` and what its config says.

    Raises:
        CorruptCheckpointError: a tensor's shape contradicts the config.
    """
    kinds = tower.family.kinds
    settings = settings_of(tower.config, tower.family.keys, tower.family.ignore)
    check_further(tower.config, tower.family)
    d_model = _d_model(tower, settings)
    tower.found = [_oriented(found, d_model) for found in _without_odd_norms(tower)]
    settings, heads, (d_ff, d_ff_expert, d_ff_shared) = _divided(tower, settings)
    activation, doubts = activation_of(tower.config, tower.family)
    tower.notes += doubts
    embedding = _first(tower.found, "embedding")
    geometry = Geometry(
        d_model=d_model,
        n_layers=_n_layers(tower, settings),
        d_ff=d_ff,
        n_heads=heads.n_heads,
        n_kv_heads=heads.n_kv_heads,
        d_head=heads.d_head,
        vocab=embedding.info.shape[0] if embedding else None,
        n_experts=_n_experts(tower),
        norm=_norm(tower),
        norm_position=kinds.norm_position,
        gated=_gated(tower),
        up_is_odd=kinds.up_is_odd,
        activation=activation,
        rope=kinds.rope,
        rope_theta=settings.rope_theta if kinds.rope else None,
        alibi=kinds.alibi,
        tied_embeddings=_tied(tower, settings),
        positions=kinds.positions,
        d_ff_expert=d_ff_expert,
        d_ff_shared=d_ff_shared,
        mla=_first(tower.found, "kv_a") is not None,
    )
    _check_vocabulary(embedding, settings, tower)
    _check_experts(geometry, settings, tower)
    if _matrices(tower.found, "o") and not heads.n_heads:
        what = f"the number of heads in {tower.component} is unknown"
        tower.notes.append(Inference(what, "no config gives it and the shapes do not determine it"))
    return geometry, settings


_Widths = tuple[int | None, int | None, int | None]
_DIVIDES = ("n_kv_heads", "d_head", "d_ff")


def _divided(tower: Tower, settings: Settings) -> tuple[Settings, Heads, _Widths]:
    """Return how heads and neurons are divided, and the settings without those that were left out of account.

    Of a model type that no table knows nobody can say which keys its code reads. There the tensors count where they
    say otherwise; of a known one the config belongs to other weights.

    Raises:
        CorruptCheckpointError: a tensor's shape contradicts the config.
    """
    try:
        return settings, _heads(tower, settings), _ffn_widths(tower, settings)
    except CorruptCheckpointError as error:
        said = _keys(settings, *_DIVIDES)
        if said is None or _is_known(tower):
            raise
        left = replace(settings, n_kv_heads=None, d_head=None, d_ff=None)
        try:
            found = _heads(tower, left), _ffn_widths(tower, left)
        except CorruptCheckpointError:
            raise error from None
    what = f"{said} of {tower.component} left out of account"
    tower.notes.append(Inference(what, "the tensors say otherwise, and no table knows what its code reads"))
    return left, *found


def _is_known(tower: Tower) -> bool:
    """Whether a table knows what the loaders read that the config names; a config without a type is held to it all."""
    types = types_of(tower.config)
    return not types or any(of_type(word) or of_architecture(word) for word in types)


#: Roles of vectors with one value for each residual channel.
_ALONG_STREAM = ("attn_norm", "ffn_norm", "post_attn_norm", "post_ffn_norm", "final_norm")


def _without_odd_norms(tower: Tower) -> list[Found]:
    """Leave out the norms of a further tower that are no vectors; refuse them in a first one.

    Raises:
        CorruptCheckpointError: a norm of the first tower of a kind is no vector, as no loader takes it.
    """
    odd = [f for f in tower.found if f.hit.rule.roles[0] in _ALONG_STREAM and len(f.info.shape) != 1]
    if odd and ":" not in tower.component:
        raise CorruptCheckpointError(
            "A norm is no vector.",
            file=odd[0].info.file,
            tensor=odd[0].info.name,
            reason=f"It has shape {list(odd[0].info.shape)}; loaders read one value for each channel in a row.",
            next_step="Store it as a vector, or take the file from where it was published.",
        )
    return [found for found in tower.found if found not in odd] if odd else tower.found


def contradiction(found: Found, said: str, seen: str, key: str | None = None) -> CorruptCheckpointError:
    """Return the error of a shape that contradicts the config (its entry ``key``)."""
    said = f"{said} ({key})" if key else said
    return CorruptCheckpointError(
        "A tensor's shape contradicts the config.",
        file=found.info.file,
        tensor=found.info.name,
        reason=f"The config says {said}; the tensor has {seen} (shape {list(found.info.shape)}).",
        next_step="Check that config.json belongs to these weights; remove it to let the sizes be inferred.",
    )


def _first(found: Iterable[Found], role: str, *, bias: bool = False) -> Found | None:
    return next((f for f in found if f.hit.rule.roles == (role,) and f.hit.bias == bias), None)


def _matrices(found: Iterable[Found], *roles: str) -> list[Found]:
    return [f for f in found if not f.hit.bias and f.hit.rule.roles == roles]


def _d_model(tower: Tower, settings: Settings) -> int:
    votes: Counter[int] = Counter()
    example: dict[int, Found] = {}
    for found in tower.found:
        size = _residual_size(found)
        if size is not None:
            votes[size] += 1
            example.setdefault(size, found)
    if not votes:
        return settings.d_model or 0
    width = max(votes, key=lambda size: (votes[size], size))
    if settings.d_model is not None and settings.d_model != width:
        said = f"{settings.d_model} residual channels"
        raise contradiction(example[width], said, f"{width}", settings.keys.get("d_model"))
    return width


def _oriented(found: Found, d_model: int) -> Found:
    """Turn stacked experts that are stored the other way round: transformers has written both."""
    rule, shape = found.hit.rule, found.info.shape
    if not rule.stacked or len(shape) != 3 or shape[1] == shape[2]:
        return found
    residual = rows_of(found) if rule.roles == ("down",) else columns_of(found)
    if residual == d_model or d_model not in shape[1:]:
        return found
    return replace(found, hit=replace(found.hit, rule=replace(rule, transpose=not rule.transpose)))


def _residual_size(found: Found) -> int | None:
    """The length of the axis that a norm, a reader or a writer shares with the residual stream."""
    rule, shape = found.hit.rule, found.info.shape
    role = rule.roles[0]
    if found.hit.bias:
        return None
    if role in NORMS and role != "embedding_norm" and len(shape) == 1 and found.layer is not None:
        return shape[0]
    if len(shape) - rule.stacked != 2:
        return None
    if role in ("q", "k", "v", "gate", "up", "kv_a"):
        return columns_of(found)
    return rows_of(found) if role in ("o", "down") else None


def _n_layers(tower: Tower, settings: Settings) -> int:
    drafts = {f.layer for f in tower.found if f.hit.rule.roles[0].startswith("draft.")}
    present = len(tower.stack.layers) - len(drafts)
    if settings.n_layers is not None and settings.n_layers not in (present, present + len(drafts)):
        tower.notes.append(
            Inference(
                f"{present} layers", f"counted; the config says {settings.n_layers} for {tower.component}"
            )
        )
    return present


def rows_of(found: Found) -> int:
    """Return the length of canonical axis 0 of what is stored (all fused parts together)."""
    shape = found.info.shape[1:] if found.hit.rule.stacked else found.info.shape
    return shape[1] if found.hit.rule.transpose and len(shape) == 2 else shape[0]


def columns_of(found: Found) -> int:
    """Return the length of canonical axis 1."""
    shape = found.info.shape[1:] if found.hit.rule.stacked else found.info.shape
    return shape[0] if found.hit.rule.transpose else shape[1]


def _heads(tower: Tower, settings: Settings) -> Heads:
    if _first(tower.found, "kv_a"):
        return _latent_heads(tower, settings)
    fused = next(
        (f for f in tower.found if set(f.hit.rule.roles) == {"q", "k", "v"} and not f.hit.bias), None
    )
    q, k, o = (_first(tower.found, role) for role in ("q", "k", "o"))
    n_heads, d_head = settings.n_heads, settings.d_head
    if q and o and columns_of(o) != rows_of(q) and not _is_known(tower):
        return Heads(None, None, None)  # Qwen3-Next's queries carry a gate
    q_rows = rows_of(q) if q else columns_of(o) if o and fused else None
    if n_heads is None:
        n_heads, d_head = _heads_from_norms(tower, q_rows, d_head)
    if n_heads is None or q_rows is None:
        return Heads(n_heads, settings.n_kv_heads, d_head)
    if not n_heads or q_rows % n_heads or (d_head is not None and q_rows != n_heads * d_head):
        key = _keys(settings, "n_heads", "d_head")
        raise contradiction(q or o or tower.found[0], _said(n_heads, d_head), f"{q_rows} query channels", key)
    d_head = q_rows // n_heads
    n_kv = _kv_heads(k, fused, q_rows, d_head, settings)
    return Heads(n_heads, n_kv, d_head)


def _said(n_heads: int, d_head: int | None) -> str:
    return f"{n_heads} heads" + (f" of {d_head} channels" if d_head is not None else "")


def _keys(settings: Settings, *names: str) -> str | None:
    """Return the config's keys for these settings, as far as it has them."""
    return ", ".join(settings.keys[name] for name in names if name in settings.keys) or None


def _latent_heads(tower: Tower, settings: Settings) -> Heads:
    o = _first(tower.found, "o")
    if settings.n_heads is None or o is None:
        return Heads(settings.n_heads, None, None)
    if not settings.n_heads or columns_of(o) % settings.n_heads:
        key = _keys(settings, "n_heads")
        raise contradiction(o, _said(settings.n_heads, None), f"{columns_of(o)} value channels", key)
    return Heads(settings.n_heads, None, columns_of(o) // settings.n_heads)


def _heads_from_norms(tower: Tower, q_rows: int | None, d_head: int | None) -> tuple[int | None, int | None]:
    """Without a config, a gain on each query head tells how long a head is; so does the table of rotary frequencies."""
    if not d_head:
        gain = _first(tower.found, "q_norm")
        table = next((f for f in tower.found if f.info.name.endswith("rotary_emb.inv_freq")), None)
        if gain is not None and len(gain.info.shape) == 1 and gain.info.shape[0] != q_rows:
            d_head, source = gain.info.shape[0], gain.info.name
        elif table is not None and len(table.info.shape) == 1:
            d_head, source = 2 * table.info.shape[0], table.info.name
        else:
            return None, None
        if q_rows is not None and q_rows % d_head == 0:
            tower.notes.append(
                Inference(f"heads of {d_head} channels in {tower.component}", f"length of {source}")
            )
    if q_rows is None or q_rows % d_head:
        return None, None
    return q_rows // d_head, d_head


def _kv_heads(
    k: Found | None, fused: Found | None, q_rows: int, d_head: int, settings: Settings
) -> int | None:
    source = k or fused
    if source is None:
        return settings.n_kv_heads
    kv_rows = rows_of(source) if source is k else (rows_of(source) - q_rows) // 2
    said = settings.n_kv_heads
    if kv_rows % d_head or kv_rows <= 0 or (said is not None and said * d_head != kv_rows):
        words = f"heads of {d_head} channels"
        if said is not None:
            words = _said(said, d_head).replace("heads", "key-value heads")
        key = _keys(settings, "n_heads", "n_kv_heads")
        raise contradiction(source, words, f"{kv_rows} key channels", key)
    return kv_rows // d_head


def _ffn_widths(tower: Tower, settings: Settings) -> _Widths:
    dense: Counter[int] = Counter()
    expert: Counter[int] = Counter()
    shared: Counter[int] = Counter()
    example: dict[int, Found] = {}
    for found in _matrices(tower.found, "down") + _matrices(tower.found, "shared.down"):
        width = columns_of(found)
        routed = found.hit.expert is not None or found.hit.rule.stacked
        counter = shared if found.hit.rule.roles[0] == "shared.down" else expert if routed else dense
        counter[width] += 1
        example.setdefault(width, found)
    widths = [counter.most_common(1)[0][0] if counter else None for counter in (dense, expert, shared)]
    d_ff = widths[0] or widths[1]
    said = settings.d_ff
    if said is not None and dense and not expert and len(dense) == 1 and said != d_ff:
        assert d_ff is not None
        raise contradiction(example[d_ff], f"FFNs of {said} neurons", f"{d_ff}", _keys(settings, "d_ff"))
    return d_ff, widths[1], widths[2]


def _n_experts(tower: Tower) -> int | None:
    stacked = next((f for f in tower.found if f.hit.rule.stacked and not f.hit.bias), None)
    if stacked is not None:
        return stacked.info.shape[0]
    numbers = [f.hit.expert for f in tower.found if f.hit.expert is not None]
    return max(numbers) + 1 if numbers else None


def _norm(tower: Tower) -> str:
    """A norm with a bias subtracts the mean, whatever the table says."""
    return (
        "layer"
        if any(f.hit.bias and f.hit.rule.roles[0] in NORMS for f in tower.found)
        else tower.family.kinds.norm
    )


def _gated(tower: Tower) -> bool:
    roles = {role for f in tower.found if f.layer is not None for role in f.hit.rule.roles}
    return "gate" in roles if "down" in roles else tower.family.kinds.gated


def _tied(tower: Tower, settings: Settings) -> bool:
    if _first(tower.found, "embedding") is None:
        return False
    if _first(tower.found, "head") is None:
        return True
    return bool(settings.tied)


def _check_vocabulary(embedding: Found | None, settings: Settings, tower: Tower) -> None:
    if embedding is None or settings.vocab is None:
        return
    rows = embedding.info.shape[0]
    if rows < settings.vocab:
        raise contradiction(
            embedding, f"a vocabulary of {settings.vocab}", f"{rows} rows", _keys(settings, "vocab")
        )
    if rows > settings.vocab:
        tower.notes.append(
            Inference(
                f"{rows - settings.vocab} padding rows",
                f"the embedding has {rows}, the config {settings.vocab}",
            )
        )


def _check_experts(geometry: Geometry, settings: Settings, tower: Tower) -> None:
    """Compare the experts there are with the number (and the number of groups) that the config gives.

    Raises:
        CorruptCheckpointError: they differ.
    """
    if geometry.n_experts is not None:
        check_routing(tower.config)
    said, groups, count = settings.n_experts, settings.expert_groups, geometry.n_experts
    if count is None:
        if said is not None and said > 1:
            tower.notes.append(Inference("no experts", f"none are stored; the config says {said}"))
        return
    example = next(f for f in tower.found if f.hit.rule.stacked or f.hit.expert is not None)
    if said is not None and said != count:
        raise contradiction(example, f"{said} experts", f"{count} of them", _keys(settings, "n_experts"))
    if groups is not None and count % groups:
        key = _keys(settings, "expert_groups")
        raise contradiction(example, f"{groups} groups of experts", f"{count} of them in all", key)
