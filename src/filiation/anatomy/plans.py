"""The ways in which the matrices of one layer can be attention and a feed-forward network, by their shapes.

A plan explains every matrix that reads or writes the residual stream; where shapes and config leave several plans,
names decide among them, and where those do not either, only what all plans agree on is used.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from filiation.anatomy.hints import Kind, Shape, best_score, order_tells
from filiation.anatomy.tables import Path

Needs = tuple[tuple[tuple[str, ...], Shape], ...]
"""(roles stored as one matrix, canonical shape), in the order models store them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a config says of the sizes inside a layer; None where it says nothing."""

    d_model: int | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    d_head: int | None = None
    d_ff: int | None = None
    experts: int = 0

    def allows_attention(self, query: int, kv: int) -> bool:
        """Whether these many query and key channels fit the heads."""
        if kv > query or query % kv:
            return False
        if self.n_heads and (query % self.n_heads or (self.d_head and query != self.n_heads * self.d_head)):
            return False
        if self.n_heads and self.n_kv_heads:
            return query * self.n_kv_heads == kv * self.n_heads
        return True

    def allows_ffn(self, hidden: int, width: int) -> bool:
        """Whether this can be the hidden width: by the config, else anything but the residual width itself."""
        return hidden == self.d_ff if self.d_ff and not self.experts else hidden != width


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to read a layer: what each matrix may be.

    Attributes:
        needs: roles and canonical shapes; together they are exactly the matrices there are.
        transpose: stored ``[in, out]``.
    """

    needs: Needs
    transpose: bool

    def groups(self, kinds: Sequence[Kind]) -> Iterator[tuple[list[Kind], list[tuple[str, ...]]]]:
        """Yield the kinds of one stored shape with the roles that are among them."""
        by_shape: dict[Shape, list[Kind]] = defaultdict(list)
        for kind in kinds:
            if kind.weight is not None:
                by_shape[kind.weight].append(kind)
        for shape, same in by_shape.items():
            wanted = [roles for roles, needed in self.needs if self._stored(needed) == shape]
            if wanted:
                yield same, wanted

    def _stored(self, shape: Shape) -> Shape:
        return shape[::-1] if self.transpose else shape


def spoken(roles: tuple[str, ...]) -> str:
    """Return the one role by whose words a matrix is recognised: a fused one by its first."""
    return roles[0]


def plans(kinds: Sequence[Kind], width: int, facts: Facts) -> list[Plan]:
    """Return every plan that explains all of ``kinds`` (matrices ``[width, n]`` or ``[n, width]``)."""
    found: list[Plan] = []
    for transpose in (False, True):
        if not _biases_fit(kinds, transpose):
            continue
        shapes = Counter(_canonical(kind, transpose) for kind in kinds)
        for needs in _explanations(shapes, width, facts):
            if not any(plan.needs == needs and plan.transpose == transpose for plan in found):
                found.append(Plan(needs, transpose))
    return found


def ffn_plans(kinds: Sequence[Kind], width: int) -> list[Plan]:
    """Return every plan that explains all of ``kinds`` as one feed-forward network."""
    found: list[Plan] = []
    for transpose in (False, True):
        shapes = Counter(_canonical(kind, transpose) for kind in kinds)
        if _biases_fit(kinds, transpose):
            found += [Plan(n, transpose) for n in _ffns(shapes, width, Facts()) if _counted(n) == shapes]
    return found


def may_be_attention(pair: Sequence[Kind], kinds: Sequence[Kind], width: int) -> bool:
    """Whether ``pair`` can, by the shapes of all ``kinds``, be the queries and the outputs of attention."""
    for transpose in (False, True):
        shapes = Counter(_canonical(kind, transpose) for kind in kinds)
        mine = {_canonical(kind, transpose) for kind in pair}
        for needs in _attentions(shapes, width, Facts()):
            if mine <= {shape for _, shape in needs}:
                return True
    return False


def _canonical(kind: Kind, transpose: bool) -> Shape:
    shape = kind.weight or ()
    return shape[::-1] if transpose else shape


def _biases_fit(kinds: Sequence[Kind], transpose: bool) -> bool:
    """A bias is as long as its matrix has outputs."""
    return all(kind.bias is None or kind.bias == _canonical(kind, transpose)[:1] for kind in kinds)


def _explanations(shapes: Counter[Shape], width: int, facts: Facts) -> Iterator[Needs]:
    for attention in _attentions(shapes, width, facts):
        left = shapes - _counted(attention)
        for ffn in [*_ffns(left, width, facts), *([()] if facts.experts else [])]:
            rest = left - _counted(ffn)
            for routing in _routings(rest, width, facts):
                needs = (*attention, *ffn, *routing)
                if _counted(needs) == shapes:
                    yield needs


def _counted(needs: Needs) -> Counter[Shape]:
    return Counter(shape for _, shape in needs)


def _has(shapes: Counter[Shape], needs: Needs) -> bool:
    return all(shapes[shape] >= count for shape, count in _counted(needs).items())


def _attentions(shapes: Counter[Shape], width: int, facts: Facts) -> Iterator[Needs]:
    reads = sorted({rows for rows, columns in shapes if columns == width}, reverse=True)
    writes = sorted({columns for rows, columns in shapes if rows == width}, reverse=True)
    for query in writes:
        o: Needs = ((("o",), (width, query)),)
        for rows in reads:
            # Separate projections: `rows` keys and as many values.
            if facts.allows_attention(query, rows):
                q: Needs = ((("q",), (query, width)), (("k",), (rows, width)), (("v",), (rows, width)), *o)
                if _has(shapes, q):
                    yield q
            kv, odd = divmod(rows - query, 2)
            fused: Needs = ((("q", "k", "v"), (rows, width)), *o)
            if kv > 0 and not odd and facts.allows_attention(query, kv) and _has(shapes, fused):
                yield fused


def _ffns(shapes: Counter[Shape], width: int, facts: Facts, shared: str = "") -> Iterator[Needs]:
    for hidden in sorted({columns for rows, columns in shapes if rows == width}, reverse=True):
        if not shared and not facts.allows_ffn(hidden, width):
            continue
        gate, up, down = (f"{shared}{role}" for role in ("gate", "up", "down"))
        out: Needs = (((down,), (width, hidden)),)
        reader = (hidden, width)
        for needs in (
            (((gate,), reader), ((up,), reader), *out),
            (((gate, up), (2 * hidden, width)), *out),
            (((up,), reader), *out),
        ):
            if _has(shapes, needs):
                yield needs


def _routings(rest: Counter[Shape], width: int, facts: Facts) -> Iterator[Needs]:
    """The router of a mixture, and experts that every token passes; nothing where there are no experts."""
    yield ()
    if not facts.experts:
        return
    router: Needs = ((("router",), (facts.experts, width)),)
    if not _has(rest, router):
        return
    yield router
    for shared in _ffns(rest - _counted(router), width, facts, "shared."):
        yield (*router, *shared)
        yield (*router, *shared, (("shared.router",), (1, width)))


@dataclass(frozen=True, slots=True)
class Chosen:
    """The plan that was chosen.

    Attributes:
        plan: the first of those that fit best.
        agreed: stems of the kinds that all of these read alike; the others are left alone.
        turned: nothing certain says whether matrices are stored ``[out, in]`` or ``[in, out]``.
    """

    plan: Plan
    agreed: frozenset[Path]
    turned: bool = False


def choose(found: Sequence[Plan], kinds: Sequence[Kind]) -> Chosen | None:
    """Choose among plans by the words that tell; None where there is no plan."""
    if not found:
        return None
    fits = [_fit(plan, kinds) for plan in found]
    top = max(telling for telling, _ in fits)
    best = [(plan, leaning) for plan, (telling, leaning) in zip(found, fits, strict=True) if telling == top]
    first, second = best[0], best[-1]
    if len(best) == 2 and _turned_round(first[0], second[0]):
        leans = first[1] != second[1]
        plan = max(best, key=lambda item: item[1])[0] if leans else _in_order(first[0], second[0], kinds)
        return Chosen(plan, frozenset(kind.stem for kind in kinds), turned=True)
    return Chosen(first[0], _agreement([plan for plan, _ in best], kinds))


def _fit(plan: Plan, kinds: Sequence[Kind]) -> tuple[int, int]:
    scores = [best_score(same, [spoken(roles) for roles in wanted]) for same, wanted in plan.groups(kinds)]
    return sum(score[0] for score in scores), sum(score[1] for score in scores)


def _turned_round(a: Plan, b: Plan) -> bool:
    """Whether two plans find the same roles and differ in which way round matrices are stored."""
    return a.transpose != b.transpose and Counter(r for r, _ in a.needs) == Counter(r for r, _ in b.needs)


def _agreement(best: Sequence[Plan], kinds: Sequence[Kind]) -> frozenset[Path]:
    """Return the kinds whose possible roles are the same in all of the plans."""
    readings = [_readings(plan, kinds) for plan in best]
    return frozenset(
        kind.stem for kind in kinds if all(r.get(kind.stem) == readings[0].get(kind.stem) for r in readings)
    )


def _readings(plan: Plan, kinds: Sequence[Kind]) -> Mapping[Path, object]:
    return {
        kind.stem: (sorted(wanted), plan.transpose) for same, wanted in plan.groups(kinds) for kind in same
    }


def _in_order(a: Plan, b: Plan, kinds: Sequence[Kind]) -> Plan:
    """Of two plans that differ in which way round: the one in which ``up`` is stored before ``down``.

    Where the order says nothing, ``[out, in]``, as most models store matrices.
    """
    straight, turned = sorted((a, b), key=lambda plan: plan.transpose)
    up = next((shape for roles, shape in straight.needs if roles == ("up",)), None)
    pair = [kind for kind in kinds if up is not None and kind.weight in (up, up[::-1])]
    if len(pair) != 2 or not order_tells(pair):
        return straight
    return straight if min(pair, key=lambda kind: kind.place).weight == up else turned
