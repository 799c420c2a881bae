"""The tables of a run: verdicts at each line, ranking, what each kind of derivation is told by, and costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median

from benchmarks.fingerprints.methods import METHODS
from benchmarks.peers_run import Answers, Row
from benchmarks.peers_tools import ABSTAINS, APART, CANNOT, PEERS, RELATED, UNJUDGED
from filiation.lab.laws import Rate, auroc
from filiation.lab.tables import table

OWN = "filiation"

#: Which kinds are told together, by the last step of a line.
SECTIONS = {
    "trained on": (
        "continued_as_long continued_light continued_heavy fine_tuned fine_tuned_long preference_tuned "
        "lora_merged averaged_over_time dirty_training noise rank_one_edit"
    ),
    "merged": "merged_siblings merged_with_stranger",
    "cut, grown, regrouped": (
        "sparse layers_dropped layers_reordered up_scaled blocks_inserted ffn_pruned heads_pruned "
        "residual_pruned heads_pooled heads_repeated upcycled dense_from_experts experts_permuted"
    ),
    "vocabulary, head, graft": (
        "vocabulary embeddings_replaced grafted_tower untied head_replaced rope_changed"
    ),
    "stored otherwise": (
        "renamed re_sharded fused dummy_tensors other_type other_format quantised quantised_fp8"
    ),
    "laundered in one way": (
        "permuted flipped signed_permuted gains_changed rotated value_rotated rescaled rotary_rotated"
    ),
    "laundered in all ways": "all_together",
    "made to look like another": "framed gains_copied layers_grafted",
}


def section(what: str) -> str:
    """Return the section of a pair's name; a line with laundering in all ways belongs there, trained on or not."""
    steps = [step.split(" (")[0] for step in what.split(" + ")]
    kind = "all_together" if "all_together" in steps else steps[-1]
    return next((name for name, kinds in SECTIONS.items() if kind in kinds.split()), "other")


def with_second_readings(answers: Answers) -> dict[str, Sequence[Row]]:
    """Add, after each tool whose answers have a second number, a reading of that number alone."""
    out: dict[str, Sequence[Row]] = {}
    for tool, rows in answers.items():
        out[tool] = rows
        peer = next((p for p in PEERS if p.name == tool and p.beside), None)
        if peer is not None and peer.beside is not None:
            name, line = peer.beside
            out[f"{tool}, {name}"] = [_second(row, line) for row in rows]
    return out


def _second(row: Row, line: float) -> Row:
    if row.beside is None:
        return replace(row, answer=CANNOT, score=None)
    return replace(row, answer=RELATED if row.beside > line else APART, score=row.beside)


def line_of(tool: str) -> str:
    """Return in words where a tool draws its line."""
    lines = {peer.name: peer.threshold for peer in PEERS}
    lines |= {f"{p.name}, {p.beside[0]}": f"over {p.beside[1]}" for p in PEERS if p.beside}
    lines |= {m.title: m.threshold for m in METHODS}
    lines[OWN] = (
        "`common_origin`, `identical`, `shared_parts`; `suggestive` and `shared_initialisation` abstain"
    )
    return lines.get(tool, "-")


def called(rows: Iterable[Row]) -> str:
    """Return how many of the pairs that could be tested were called related, what abstained, what was not tested."""
    counts = Counter(row.answer for row in rows)
    tested = sum(counts.values()) - counts[CANNOT]
    if counts[UNJUDGED]:
        return f"no line; {counts[CANNOT]} cannot test"
    return f"{Rate(counts[RELATED], tested)}; {counts[ABSTAINS]} abstain, {counts[CANNOT]} cannot test"


def verdicts(answers: Answers) -> str:
    """Return the table of verdicts at each tool's own line."""
    heads = ["tool", "its line", "true pairs", "independent, one shape", "distilled or framed", "one start"]
    groups = ("true", "apart", "quiet", "initialisation")
    lines = [
        [tool, line_of(tool), *(called(row for row in rows if row.group == group) for group in groups)]
        for tool, rows in answers.items()
    ]
    return table(heads, lines)


def highest(rows: Iterable[Row]) -> float | None:
    """Return the largest score of an independent pair, None without one."""
    return max((r.score for r in rows if r.group == "apart" and r.score is not None), default=None)


def ranking(answers: Answers) -> str:
    """Return the table of AUROC and of the true pairs that score above every independent one."""
    heads = [
        "tool",
        "AUROC",
        "true and independent pairs with a score",
        "true pairs over every independent one",
    ]
    lines: list[list[str]] = []
    for tool, rows in answers.items():
        true, apart = (
            [r.score for r in rows if r.group == g and r.score is not None] for g in ("true", "apart")
        )
        area, most = auroc(true, apart), highest(rows)
        over = "-" if most is None else str(Rate(sum(score > most for score in true), len(true)))
        lines.append([tool, "-" if area is None else f"{area:.4f}", f"{len(true)} and {len(apart)}", over])
    return table(heads, lines)


def told(row: Row, most: float | None) -> str:
    """Return one cell: the answer, or for a tool without a line whether the score lies over every independent one."""
    if row.answer == UNJUDGED:
        return "-" if most is None or row.score is None else "(yes)" if row.score > most else "(no)"
    return {RELATED: "yes", APART: "no", ABSTAINS: "open", CANNOT: "cannot"}[row.answer]


def by_section(answers: Answers) -> str:
    """Return how many of the true pairs that could be tested each tool called related, by section."""
    heads = ["true pairs", *answers]
    names = [*SECTIONS, "other"]
    lines: list[list[str]] = []
    for name in names:
        cells = [_share([r for r in rows if _within(r, name)], highest(rows)) for rows in answers.values()]
        if any(cell != "-" for cell in cells):
            lines.append([name, *cells])
    return table(heads, lines)


def _within(row: Row, name: str) -> bool:
    return row.group == "true" and section(row.what) == name


def _share(rows: Sequence[Row], most: float | None) -> str:
    words = [told(row, most) for row in rows]
    tested = sum(word != "cannot" for word in words)
    if not words:
        return "-"
    mark = "*" if any(word.startswith("(") for word in words) else ""
    return f"{sum(word in ('yes', '(yes)') for word in words)} of {tested}{mark}" if tested else "cannot"


def by_pair(answers: Answers) -> str:
    """Return every true pair, graft, distilled or framed pair and shared start with every tool's answer."""
    order: dict[tuple[str, str], Row] = {}
    for rows in answers.values():
        order |= {(r.suspect, r.candidate): r for r in rows if r.group != "apart"}
    found = {tool: {(r.suspect, r.candidate): r for r in rows} for tool, rows in answers.items()}
    most = {tool: highest(rows) for tool, rows in answers.items()}
    lines = [
        [
            f"{suspect} / {candidate}",
            row.what,
            *(
                told(found[tool][suspect, candidate], most[tool])
                if (suspect, candidate) in found[tool]
                else "-"
                for tool in answers
            ),
        ]
        for (suspect, candidate), row in order.items()
    ]
    return table(["pair", "what it is", *answers], lines)


def costs(answers: Answers, loading: Mapping[str, float]) -> str:
    """Return seconds, processor seconds and memory a pair."""
    heads = [
        "tool",
        "s to load",
        "s a pair, median",
        "processor s a pair, median",
        "peak MiB, median",
        "largest",
    ]
    lines = [
        [
            tool,
            f"{loading[tool]:.1f}" if tool in loading else "-",
            f"{median(r.seconds for r in rows):.2f}",
            f"{median(r.processor for r in rows):.2f}",
            f"{median(r.peak_mib for r in rows):.0f}",
            f"{max(r.peak_mib for r in rows):.0f}",
        ]
        for tool, rows in answers.items()
        if rows
    ]
    return table(heads, lines)


def reasons(answers: Answers) -> str:
    """Return why tools could not test, counted."""
    counts = Counter(
        (tool, row.reason or "-") for tool, rows in answers.items() for row in rows if row.answer == CANNOT
    )
    return table(
        ["tool", "cannot test, as it says", "pairs"],
        [[tool, why, str(n)] for (tool, why), n in counts.items()],
    )


def page(answers: Answers, loading: Mapping[str, float], absent: Mapping[str, str]) -> str:
    """Return all tables as markdown; `absent`: tools that were not run, and why."""
    both = with_second_readings(answers)
    parts = {
        "Verdicts, each at its own line": verdicts(both),
        "Ranking": ranking(both),
        "True pairs by what was done": by_section(both),
        "Costs": costs(answers, loading),
        "Why a pair could not be tested": reasons(answers),
        "Every pair": by_pair(answers),
    }
    text = "\n\n".join(f"## {title}\n\n{body}" for title, body in parts.items())
    missing = "".join(f"\n{tool}: not run, {why}.\n" for tool, why in absent.items())
    return f"{text}\n{missing}"
