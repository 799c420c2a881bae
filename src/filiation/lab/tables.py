"""The tables of a measured zoo: what was found as markdown, JSON and parquet, with its figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filiation._version import __version__
from filiation.lab import backgrounds
from filiation.lab.figures import write_figures
from filiation.lab.kin import Zoo
from filiation.lab.laws import Rate
from filiation.lab.summary import summarise

Row = Mapping[str, Any]


def markdown(found: Mapping[str, Any]) -> str:
    """Return the tables as markdown."""
    parts = [
        f"{found['models']} models of the recipe `{found['recipe']}` (zoo sha256 `{found['zoo_sha256'][:16]}`), "
        f"{found['comparisons']:,} comparisons by filiation {found['filiation']}.",
        _rates(found),
        "## Each kind of child\n\n" + _kind_table(found["kinds"]),
        "## Pairs that share no weights: distilled and framed\n\n" + _kind_table(found["quiet"]),
        "## Pairs made alike without kinship\n\n" + _fixture_table(found["fixtures"]),
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
        "true_pairs_called_anything": "true pairs called anything but none found or cannot test",
        "mechanism_right": "true pairs with the mechanism named",
        "mechanism_left_open": "true pairs with the mechanism left open between kinds of which the right is one",
        "mechanism_right_either_way": "true pairs with the mechanism named, "
        "or left open between kinds that all count as right",
        "independent_called_common_origin": "independent pairs called a common origin",
        "independent_called_anything": "independent pairs called anything but none found or cannot test",
        "quiet_called_common_origin": "distilled and framed pairs called a common origin",
        "fixtures_called_anything": "pairs made alike without kinship called anything but none found or cannot test",
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


def _fixture_table(fixtures: Iterable[Mapping[str, Any]]) -> str:
    lines = [
        [
            found["kind"],
            " / ".join(found["pair"]),
            found["relation"],
            _number(found["log10_e"]),
            _number(found["largest_log10_e"]),
        ]
        for found in fixtures
    ]
    return table(["made alike by", "pair", "verdict", "log10 e", "largest of one label set"], lines)


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
    """Write ``tables.md``, ``results.json``, ``validation.json``, ``backgrounds.json``, figures and, with pyarrow,
    ``rows.parquet``.
    """
    found = summarise(zoo, rows)
    (out / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "tables.md").write_text(markdown(found), encoding="utf-8")
    rates = {key: value for key, value in found.items() if isinstance(value, dict) and "trials" in value}
    kept = ("filiation", "recipe", "zoo_sha256", "made_with", "models", "comparisons")
    brief = {**{key: found[key] for key in kept}, "rates": rates}
    (out / "validation.json").write_text(json.dumps(brief, indent=1) + "\n", encoding="utf-8")
    likeness = backgrounds.document(zoo, rows, __version__)
    (out / "backgrounds.json").write_text(json.dumps(likeness, indent=1) + "\n", encoding="utf-8")
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
            **{k: v for k, v in row.items() if k not in ("tests", "by_test", "history", "missing")},
            **{f"history_{k}": v for k, v in row.get("history", {}).items()},
            "missing": [" or ".join(group) for group in row["missing"]],
        }
        for row in rows
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(flat), path)
