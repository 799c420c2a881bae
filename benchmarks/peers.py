"""Other tools, published methods and filiation on the same pairs of a bred zoo, in one run.

    PYTHONPATH=. .venv/bin/python -m benchmarks.peers ZOO [MEASURED] --out FOLDER      (make bench-peers)

ZOO was made by `filiation lab breed`. modelDNA 0.1.0, cisco-ai-provenance-kit 1.0.0 (needs a Python 3.12, which is
looked for) and weightscope 0.4.3 are installed from the package index into environments of their own; what cannot be
installed is "not run". The methods of `benchmarks/fingerprints` are written anew from their papers. A tool that says
that it cannot compare two models is counted apart from a wrong answer; so is one that abstains.

Each tool is loaded once and asked about each pair in a fork of its own. Answers are kept line by line in
FOLDER/peers.jsonl: a run that was cut off goes on, and only what a changed source or model makes stale is asked again.
MEASURED, a folder of `filiation lab measure`, is held against what filiation said in this run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks import peers_tables
from benchmarks.fingerprints.methods import METHODS, Method, read
from benchmarks.peers_pairs import RULE, Asked, chosen
from benchmarks.peers_run import Answers, Row, Store, Warm, methods_code, own_code
from benchmarks.peers_tools import PEERS, Reader, installed, read_filiation
from filiation.lab.kin import Zoo


@dataclass(frozen=True)
class Job:
    """One thing to ask: its name, the program kept loaded for it, the arguments before the pair, what reads it."""

    tool: str
    program: str
    python: Path
    arguments: tuple[str, ...]
    options: tuple[str, ...]
    read: Reader
    code: str

    @property
    def isolated(self) -> bool:
        """Tell whether it runs in an environment of its own."""
        return not self.code


def jobs(environments: Path, absent: dict[str, str]) -> Iterator[Job]:
    """Yield everything that can be asked here; `absent` gets what cannot, and why."""
    for peer in PEERS:
        place = installed(peer, environments)
        if isinstance(place, str):
            absent[peer.name] = place
            continue
        yield Job(
            peer.name, peer.program, place.parent / "python", peer.before, peer.after, peer.read, code=""
        )
    own = Path(sys.executable)
    code = own_code()
    yield Job(peers_tables.OWN, "filiation", own, ("compare",), ("--json",), read_filiation, code)
    code = methods_code()
    for method in METHODS:
        yield _of(method, own, code)


def _of(method: Method, own: Path, code: str) -> Job:
    program = "benchmarks.fingerprints.__main__:main"
    return Job(method.title, program, own, (method.name,), (), partial(read, method), code)


def ask(store: Store, zoo: Zoo, pairs: Sequence[Asked], wanted: Sequence[Job]) -> None:
    """Ask every tool about every pair, pair after pair, so that all tools meet the same load of the machine."""
    warm: dict[tuple[Path, str], Warm] = {}
    try:
        for count, pair in enumerate(pairs, start=1):
            place = [str(zoo.folder / name) for name in (pair.suspect, pair.candidate)]
            for job in wanted:
                if store.known(job.tool, pair, job.code):
                    continue
                key = job.python, job.program
                if key not in warm:
                    warm[key] = Warm(*key, isolated=job.isolated)
                    store.loaded(job.tool, warm[key].loading)
                arguments = [*job.arguments, *place, *job.options]
                store.add(job.tool, pair, *warm[key].run(arguments, job.read), job.code)
            if count % 10 == 0:
                print(f"{count} of {len(pairs)} pairs", file=sys.stderr)
    finally:
        for program in warm.values():
            program.close()


def agreement(rows: Sequence[Row], measured: Path) -> str:
    """Say on how many pairs the relation is the one that `filiation lab measure` found."""
    lines = (measured / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    before = {(r["suspect"], *r["candidates"]): r["relation"] for r in map(json.loads, lines)}
    both = [(row, before.get((row.suspect, row.candidate))) for row in rows]
    known = [(row, relation) for row, relation in both if relation is not None]
    others = [f"{r.suspect} / {r.candidate}: {r.reason}, was {w}" for r, w in known if r.reason != w]
    text = f"{len(known) - len(others)} of {len(known)} pairs have the relation that {measured} has."
    return "\n".join([text, *others])


def write(out: Path, answers: Answers, loading: Mapping[str, float], absent: Mapping[str, str]) -> str:
    """Write ``peers.json`` and ``peers.md`` and return the latter."""
    record = {"answers": {tool: [asdict(row) for row in rows] for tool, rows in answers.items()}}
    record |= {"loading": dict(loading), "not_run": dict(absent)}
    text = peers_tables.page(answers, loading, absent)
    (out / "peers.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (out / "peers.md").write_text(text, encoding="utf-8")
    return text


def main() -> None:
    """Ask every tool and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("zoo", type=Path)
    parser.add_argument("measured", type=Path, nargs="?", help="folder of `filiation lab measure`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--environments", type=Path, default=Path(".cache/peers"))
    parser.add_argument("--each", type=int, default=60, help="independent pairs of one shape")
    parser.add_argument("--only", nargs="*", help="names of tools; all when left out")
    parser.add_argument("--tables", action="store_true", help="draw the tables of what was asked before")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    zoo, absent = Zoo(options.zoo), dict[str, str]()
    pairs, store = chosen(zoo, options.each), Store(options.out / "peers.jsonl", zoo)
    tools = [*(peer.name for peer in PEERS), peers_tables.OWN, *(method.title for method in METHODS)]
    named = [tool for tool in tools if not options.only or any(name in tool for name in options.only)]
    print(RULE.format(each=options.each), file=sys.stderr)
    if (
        options.tables
    ):  # of what there is: nothing is installed, and answers of another state of the source count
        answers = {tool: store.newest(tool, pairs) for tool in named}
    else:
        wanted = [job for job in jobs(options.environments, absent) if job.tool in named]
        ask(store, zoo, pairs, wanted)
        answers = {job.tool: store.rows(job.tool, pairs, job.code) for job in wanted}
    print(write(options.out, {t: r for t, r in answers.items() if r}, store.loading, absent))
    rows = answers.get(peers_tables.OWN, [])
    if options.measured is not None and (options.measured / "rows.jsonl").is_file():
        print(agreement(rows, options.measured))


if __name__ == "__main__":
    main()
