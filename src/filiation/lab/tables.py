"""What a measured zoo says: rates with exact intervals, a line for each kind, laws, shared initialisations, misses."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filiation._version import __version__
from filiation.lab.figures import write_figures
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
        "mechanism_right": _rate(named, lambda r: bool(r["mechanism"])),
        "mechanism_left_open": _rate(named, lambda r: bool(r["left_open"])),
        "independent_called_common_origin": _rate(strangers, lambda r: r["relation"] in _ACCUSES),
        "independent_called_anything": _rate(
            strangers, lambda r: r["relation"] not in ("none_found", "cannot_test")
        ),
        "quiet_called_common_origin": _rate(by[Category.QUIET], lambda r: r["relation"] in _ACCUSES),
        "initialisation_called_common_origin": _rate(
            by[Category.INITIALISATION], lambda r: r["relation"] in _ACCUSES
        ),
        "kinds": _kinds(kin),
        "quiet": _kinds(by[Category.QUIET]),
        "independent": _independent(strangers),
        "laws": [tally.record() for tally in tallies(by[Category.INDEPENDENT])],
        "likeness": backgrounds(rows),
        "initialisation": _initialisation(rows),
        "misses": _misses(rows),
    }


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


def markdown(found: Mapping[str, Any]) -> str:
    """Return the tables as markdown."""
    parts = [
        f"{found['models']} models of the recipe `{found['recipe']}` (zoo sha256 `{found['zoo_sha256'][:16]}`), "
        f"{found['comparisons']:,} comparisons by filiation {found['filiation']}.",
        _rates(found),
        "## Each kind of child\n\n" + _kind_table(found["kinds"]),
        "## Pairs that share no weights: distilled and framed\n\n" + _kind_table(found["quiet"]),
        "## Independent pairs\n\n" + _independent_table(found["independent"]),
        "## The laws of the exact tests\n\n" + _law_table(found["laws"]),
        "## Published similarity statistics\n\n" + _likeness_table(found["likeness"]),
        "## Shared initial weights, and controls\n\n" + _initialisation_table(found["initialisation"]),
        "## Misses\n\n" + _miss_table(found["misses"]),
    ]
    return "\n\n".join(parts) + "\n"


def _rates(found: Mapping[str, Any]) -> str:
    names = {
        "true_pairs_right": "true pairs with the right relation",
        "mechanism_right": "true pairs with the mechanism named",
        "mechanism_left_open": "true pairs with the mechanism left open between kinds of which the right is one",
        "independent_called_common_origin": "independent pairs called a common origin",
        "independent_called_anything": "independent pairs called anything but none found or cannot test",
        "quiet_called_common_origin": "distilled and framed pairs called a common origin",
        "initialisation_called_common_origin": "pairs of one initialisation called a common origin",
    }
    lines = [[text, _share(found[key])] for key, text in names.items()]
    return "## Rates\n\n" + table(["what", "count, exact 95 % interval"], lines)


def _share(rate: Mapping[str, Any] | None) -> str:
    return "-" if rate is None else str(Rate(rate["count"], rate["trials"]))


def _short(rate: Mapping[str, Any] | None) -> str:
    return "-" if rate is None else f"{rate['count']}/{rate['trials']}"


def _range(found: Mapping[str, float] | None, digits: int = 1) -> str:
    if found is None:
        return "-"
    return " / ".join(f"{found[key]:,.{digits}f}" for key in ("least", "median", "largest"))


def _kind_table(kinds: Iterable[Mapping[str, Any]]) -> str:
    heads = ["kind", "relation right", "mechanism right", "verdicts", "also named", "log10 e", "kB", "s"]
    lines = [
        [
            kind["kind"],
            _short(kind["right"]),
            _short(kind["mechanism"]),
            _counts(kind["relations"]),
            _counts(kind["also_named"]) or "-",
            _range(kind["log10_e"]),
            f"{kind['bytes']['median'] / 1000:,.0f}" if kind["bytes"] else "-",
            f"{kind['seconds']['median']:.1f}" if kind["seconds"] else "-",
        ]
        for kind in kinds
    ]
    note = (
        "Kinds run from the child back to what it is compared with. Also named: derivation kinds beyond those asked "
        "for. log10 e: least / median / largest; bytes and seconds: median.\n\n"
    )
    return note + table(heads, lines)


def _counts(relations: Mapping[str, int]) -> str:
    return ", ".join(f"{relation} {count}" for relation, count in sorted(relations.items()))


def _independent_table(groups: Iterable[Mapping[str, Any]]) -> str:
    lines = [
        [
            group["category"],
            group["family"],
            "yes" if group["same_shape"] else "no",
            str(group["pairs"]),
            _counts(group["relations"]),
            _share(group["common_origin"]),
            f"{group['log10_e']['largest']:.2f}" if group["log10_e"] else "-",
        ]
        for group in groups
    ]
    heads = ["pairs of", "family", "one shape", "n", "verdicts", "called a common origin", "largest log10 e"]
    return table(heads, lines)


def _law_table(laws: Iterable[Mapping[str, Any]]) -> str:
    lines = [
        [
            law["test"],
            f"{law['label_sets']:,}",
            f"{law['units']:,}",
            f"{law['observed']:,.0f}",
            f"{law['expected']:,.0f}",
            _number(law["z"]),
            _number(law["p_uniform"], 3),
            _number(law["p_poisson"], 3),
            f"{law['mean_e']:.3f}",
            f"{law['largest_log10_e']:.2f}",
            " / ".join(str(count) for count in law["over"].values()),
        ]
        for law in laws
    ]
    heads = ["test", "label sets", "units", "observed", "expected", "z", "p uniform", "p Poisson", "mean e"]
    return table([*heads, "largest log10 e", ">= 10 / 100 / 1000"], lines)


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _likeness_table(found: Iterable[Mapping[str, Any]]) -> str:
    lines = [
        [
            entry["statistic"],
            entry["family"],
            f"{entry['independent_pairs']}",
            _range(entry["independent"], 3),
            f"{entry['kin_pairs']}",
            _range(entry["kin"], 3),
            _number(entry["auroc"], 4),
        ]
        for entry in found
    ]
    heads = ["statistic", "family", "independent pairs", "least / median / largest", "kin pairs"]
    note = (
        "Pairs of one shape and family. AUROC: the chance that a kin pair scores above an independent one. Kin pairs "
        "include the laundered ones.\n\n"
    )
    return note + table([*heads, "least / median / largest", "AUROC"], lines)


def _initialisation_table(pairs: Iterable[Mapping[str, Any]]) -> str:
    lines = [
        [
            f"{pair['suspect']} / {pair['candidate']}",
            pair["kind"],
            pair["relation"],
            _number(pair["log10_e"], 0),
            *(
                _number(pair.get(key), 3)
                for key in ("gain_correlation", "gains_in_place", "weight_cosine", "partners_agree")
            ),
        ]
        for pair in pairs
    ]
    heads = ["pair", "kind", "verdict", "log10 e", "gain correlation", "gains in place"]
    return table([*heads, "weight cosine", "partners agree"], lines)


def _miss_table(misses: Iterable[Mapping[str, Any]]) -> str:
    lines = [
        [
            f"{miss['suspect']} / {', '.join(miss['candidates'])}",
            miss["category"],
            miss["relation"],
            " or ".join(miss["expected"]),
            ", ".join(miss["derivation"]) or "-",
            ("; ".join(" or ".join(group) for group in miss["missing"]) or "-")
            + (" (left open)" if miss["left_open"] else ""),
            str(miss.get("reason") or miss.get("error") or "-"),
        ]
        for miss in misses
    ]
    heads = ["pair", "why measured", "verdict", "expected", "named", "not named", "reason given"]
    return table(heads, lines) if lines else "None."


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a markdown table."""
    rows = [list(heads), ["---"] * len(heads), *(list(line) for line in lines)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def write(zoo: Zoo, rows: Sequence[Row], out: Path) -> dict[str, Any]:
    """Write ``tables.md``, ``results.json``, ``validation.json``, figures and, with pyarrow, ``rows.parquet``."""
    found = summarise(zoo, rows)
    (out / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "tables.md").write_text(markdown(found), encoding="utf-8")
    rates = {key: value for key, value in found.items() if isinstance(value, dict) and "trials" in value}
    kept = ("filiation", "recipe", "zoo_sha256", "made_with", "models", "comparisons")
    brief = {**{key: found[key] for key in kept}, "rates": rates}
    (out / "validation.json").write_text(json.dumps(brief, indent=1) + "\n", encoding="utf-8")
    _parquet(rows, out / "rows.parquet")
    write_figures(rows, out)
    return found


def _parquet(rows: Sequence[Row], path: Path) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return
    flat = [
        {
            **{k: v for k, v in row.items() if k not in ("tests", "history", "missing")},
            **{f"history_{k}": v for k, v in row.get("history", {}).items()},
            "missing": [" or ".join(group) for group in row["missing"]],
        }
        for row in rows
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(flat), path)
