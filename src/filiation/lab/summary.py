"""What a measured zoo says, as plain numbers: rates, a line for each kind, laws, backgrounds, misses."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from filiation._version import __version__
from filiation.lab.kin import Category, Zoo
from filiation.lab.laws import Rate, auroc, quantiles, tallies

Row = Mapping[str, Any]
_ACCUSES = ("common_origin", "identical")


def summarise(zoo: Zoo, rows: Sequence[Row]) -> dict[str, Any]:
    """Return everything the tables hold, as plain numbers."""
    by = {category: [row for row in rows if row["category"] == category] for category in Category}
    kin = [*by[Category.DERIVED], *by[Category.JOINT]]
    strangers = [*by[Category.INDEPENDENT], *by[Category.STRANGER]]
    named = [row for row in kin if row["mechanism"] is not None]
    return {
        "filiation": __version__,
        "recipe": zoo.record["recipe"],
        "zoo_sha256": zoo.digest(),
        "made_with": zoo.record["made_with"],
        "models": len(zoo.models),
        "comparisons": len(rows),
        "true_pairs_right": _rate(kin, lambda r: bool(r["right"])),
        "true_pairs_called_anything": _rate(kin, _called),
        "mechanism_right": _rate(named, lambda r: bool(r["mechanism"])),
        "mechanism_left_open": _rate(named, lambda r: bool(r["left_open"])),
        "mechanism_right_either_way": _rate(named, lambda r: bool(r["mechanism"] or r["open_right"])),
        "independent_called_common_origin": _rate(strangers, lambda r: r["relation"] in _ACCUSES),
        "independent_called_anything": _rate(strangers, _called),
        "quiet_called_common_origin": _rate(by[Category.QUIET], lambda r: r["relation"] in _ACCUSES),
        "initialisation_called_common_origin": _rate(
            by[Category.INITIALISATION], lambda r: r["relation"] in _ACCUSES
        ),
        "kinds": _kinds(kin),
        "quiet": _kinds(by[Category.QUIET]),
        "fixtures_called_anything": _rate(by[Category.FIXTURE], _called),
        "fixtures": _fixtures(by[Category.FIXTURE]),
        "independent": _independent(strangers),
        "laws": [tally.record() for tally in tallies(by[Category.INDEPENDENT])],
        "likeness": backgrounds(rows),
        "initialisation": _initialisation(rows),
        "misses": _misses(rows),
    }


def _called(row: Row) -> bool:
    return row["relation"] not in ("none_found", "cannot_test", "error")


def _rate(rows: Sequence[Row], true: Any) -> dict[str, Any]:
    return Rate(sum(true(row) for row in rows), len(rows)).record()


def _kinds(rows: Iterable[Row]) -> list[dict[str, Any]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        name = " < ".join(row["kinds"]) + (" (all parents)" if row["category"] == Category.JOINT else "")
        groups[name].append(row)
    return [_kind(name, groups[name]) for name in groups]


def _kind(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    named = [row for row in rows if row["mechanism"] is not None]
    return {
        "kind": name,
        "right": _rate(rows, lambda r: bool(r["right"])),
        "mechanism": _rate(named, lambda r: bool(r["mechanism"])) if named else None,
        "relations": dict(Counter(str(row["relation"]) for row in rows)),
        "also_named": dict(Counter(kind for row in rows for kind in row["beyond"])),
        "log10_e": quantiles([row["log10_e"] for row in rows if row.get("log10_e") is not None]),
        "bytes": quantiles([row["bytes"] for row in rows if "bytes" in row]),
        "seconds": quantiles([row["seconds"] for row in rows if "seconds" in row]),
    }


def _fixtures(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the pairs that were made alike, each with the largest e-value of any one label set."""
    return [
        {
            "kind": row["kinds"][0],
            "pair": [row["suspect"], *row["candidates"]],
            "relation": row["relation"],
            "log10_e": row.get("log10_e"),
            "largest_log10_e": max((float(test[-1]) for test in row.get("tests", [])), default=None),
        }
        for row in rows
    ]


def _independent(rows: Iterable[Row]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str, bool], list[Row]] = defaultdict(list)
    for row in rows:
        groups[str(row["category"]), str(row["family"]), bool(row["same_shape"])].append(row)
    return [
        {
            "category": category,
            "family": family,
            "same_shape": same,
            "pairs": len(found),
            "relations": dict(Counter(str(row["relation"]) for row in found)),
            "common_origin": _rate(found, lambda r: r["relation"] in _ACCUSES),
            "log10_e": quantiles([row["log10_e"] for row in found if row.get("log10_e") is not None]),
        }
        for (category, family, same), found in sorted(groups.items())
    ]


def _initialisation(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return pairs of one initialisation and the continued controls, by training length."""
    found: list[dict[str, Any]] = []
    for row in rows:
        control = row["category"] == Category.DERIVED and str(row["suspect"]).startswith("continued-")
        if row["category"] != Category.INITIALISATION and not control:
            continue
        found.append(
            {
                "suspect": row["suspect"],
                "candidate": row["candidates"][0],
                "kind": "control" if control else row["kinds"][0],
                "steps": row["steps"],
                "relation": row["relation"],
                "log10_e": row.get("log10_e"),
                **row.get("history", {}),
            }
        )
    return found


def backgrounds(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return what each published statistic shows on independent pairs of one shape, by family, and on kin pairs."""
    kin: dict[tuple[str, str], list[float]] = defaultdict(list)
    apart: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        independent = row["category"] == Category.INDEPENDENT and row["same_shape"]
        if independent or row["category"] == Category.DERIVED:
            for name, value in row.get("likeness", {}).items():
                (apart if independent else kin)[name, str(row["family"])].append(value)
    return [
        {
            "statistic": name,
            "family": family,
            "independent_pairs": len(values),
            "independent": quantiles(values),
            "kin_pairs": len(kin[name, family]),
            "kin": quantiles(kin[name, family]),
            "auroc": auroc(kin[name, family], values),
        }
        for (name, family), values in sorted(apart.items())
    ]


def _misses(rows: Iterable[Row]) -> list[dict[str, Any]]:
    keys = (
        "suspect",
        "candidates",
        "category",
        "kinds",
        "relation",
        "expected",
        "log10_e",
        "scope",
        "reason",
    )
    more = ("derivation", "missing", "left_open", "error")
    return [
        {key: row[key] for key in (*keys, *more) if key in row}
        for row in rows
        if not row["right"] or row["mechanism"] is False
    ]
