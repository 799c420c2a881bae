"""The trace wing measured: the public case from facts, and what renaming finds between unrelated families.

Usage: ``python -m benchmarks.traces``; ``--quick`` leaves out the background (about six minutes of one core).
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

from filiation import repository, traces
from filiation.anatomy.rename import smallest_rename
from filiation.traces.surprise import surprise
from filiation.traces.tensors import is_short

ROOT = Path(__file__).resolve().parents[1]
FACTS = ROOT / "tests" / "traces" / "facts"
INVENTORIES = ROOT / "tests" / "anatomy" / "inventories"

STUDIED = {
    "git id of tokenizer.json": "288bd3afd90fea91887c711ea0a6554f9145aae5",
    "names explained": "741 of 741",
    "renames": "vpm/vison, resampler/projection",
    "total bytes": "34,148,369,344",
    "equal config values": "25, of which 3 rare",
    "auto_map dangles at": "modeling_minicpmv.PreTrainedTokenizerFastWrapper",
}
"""What reading the two repositories by hand had found."""


def case() -> dict[str, str]:
    """Return the same figures as the tool finds them."""
    suspect, reference = (
        repository.open(str(FACTS / f"{n}.json")) for n in ("llama3v", "minicpm_llama3_v25")
    )
    found: dict[str, Any] = {}
    for trace in traces.find(suspect, [reference]).traces:
        found.setdefault(trace.kind, trace.numbers)
    names, config = found["tensor_names"], found["config_values"]
    return {
        "git id of tokenizer.json": found["same_file"]["git_id"],
        "names explained": f"{names['explained']} of {names['names']}",
        "renames": ", ".join(f"{b}/{a}" for a, b in sorted(names["renames"].items(), reverse=True)),
        "total bytes": f"{found['total_bytes']['total_bytes']:,}",
        "equal config values": f"{config['equal']}, of which {config['rare_count']} rare",
        "auto_map dangles at": found["dangling_reference"]["target"],
        "digits that public naming leaves open": str(names["log10_surprise"]),
    }


def background() -> list[tuple[float, str, str]]:
    """Return the surprise of every ordered pair of public inventories that would be reported, largest first."""
    known: dict[str, tuple[list[str], str]] = {}
    for path in sorted(INVENTORIES.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        shapes = next(v for k, v in document.items() if k not in ("class", "config") and isinstance(v, dict))
        known[path.stem] = list(shapes), str(document["config"].get("model_type"))
    rows: list[tuple[float, str, str]] = []
    for (a, (names, _)), (b, (others, family)) in itertools.permutations(known.items(), 2):
        found = smallest_rename(names, others)
        if found.explained >= max(8, found.total / 2) and is_short(found, names):
            rows.append((surprise(names, others, found.mapping, family).log10, a, b))
    print(f"{len(known)} inventories, {len(known) * (len(known) - 1)} ordered pairs")
    return sorted(rows, reverse=True)


def main() -> None:
    """Print both."""
    measured = case()
    for key, value in measured.items():
        print(f"{key:40} {value:60} by hand: {STUDIED.get(key, '-')}")
    if "--quick" not in sys.argv:
        rows = background()
        at = [row[0] for row in rows][::-1]
        print(f"pairs that a short renaming joins: {len(rows)}")
        for share in (0.5, 0.9, 0.95, 0.99, 1.0):
            print(f"  digits left open, quantile {share}: {at[min(len(at) - 1, int(share * len(at)))]}")
        for row in rows[:5]:
            print("  ", row)


if __name__ == "__main__":
    main()
