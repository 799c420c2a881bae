"""Breeding a zoo: every model of a recipe, parents first, two processes at a time, nothing made twice (extra `lab`).

A zoo is a folder with one folder a model, as a public repository would hold it, and ``zoo.json``, which says where each
comes from. A model is made again only when its key changes: its entry, the text, its parents' digests, the version of
its maker. A run that was cut off goes on where it stopped, inside a training run too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from filiation.errors import FiliationError, StorageError, UsageError
from filiation.lab.recipe import Breeding, Node
from filiation.lab.workers import cannot_write, workers, write_whole, writing

#: Called with a line of progress.
Say = Callable[[str], None]
STATE = ".state"
#: With less room than this on the disk, whatever went wrong is put down to it: libraries say so in many ways.
_NO_ROOM = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """What one run of :func:`breed` did: names of the models made, found ready, and failed (with the reason)."""

    made: tuple[str, ...]
    ready: tuple[str, ...]
    failed: Mapping[str, str]
    seconds: float


def breed(recipe: Breeding, out: Path, *, processes: int = 2, niceness: int = 10, say: Say) -> Outcome:
    """Make every model of a recipe that is not there yet.

    Args:
        processes: models made at a time, one thread each.
        niceness: by how much the processes give way to others.

    Raises:
        UsageError: the recipe asks for what cannot be made, or ``out`` cannot be made a zoo. StorageError: the disk
            is full.
    """
    from filiation.lab.checks import check
    from filiation.lab.material import prepare

    began = time.monotonic()
    check(recipe)
    _make_folder(out)
    with writing(out / STATE):
        material = prepare(out / STATE, recipe.vocab, recipe.context)
    levels = ", ".join(f"{domain} {level:.3f}" for domain, level in material.unigram.items())
    say(f"recipe {recipe.name}: {len(recipe.nodes)} models; unigram level {levels} nats a token")
    run = _Run(recipe, out, material.digest, say)
    run.write_zoo(material.unigram)
    with workers(processes, niceness) as pool:
        run.all_of_it(pool, processes, material.unigram)
    seconds = time.monotonic() - began
    say(f"{len(run.made)} made, {len(run.ready)} ready before, {len(run.failed)} failed, {_clock(seconds)}")
    return Outcome(tuple(run.made), tuple(run.ready), run.failed, seconds)


class _Run:
    """The state of one breeding: what is done, what runs, what waits."""

    def __init__(self, recipe: Breeding, out: Path, text_digest: str, say: Say) -> None:
        self.recipe, self.out, self.text_digest, self.say = recipe, out, text_digest, say
        self.records: dict[str, dict[str, Any]] = {}
        self.made: list[str] = []
        self.ready: list[str] = []
        self.failed: dict[str, str] = {}

    def all_of_it(self, pool: ProcessPoolExecutor, processes: int, unigram: Mapping[str, float]) -> None:
        running: dict[Future[dict[str, Any]], Node] = {}
        waiting = list(self.recipe.nodes)
        while waiting or running:
            while len(running) < processes and (node := self._next(waiting)) is not None:
                if not self._found_ready(node):
                    future = pool.submit(make, self._order(node), str(self.out))
                    running[future] = node
            finished, _ = wait(running, return_when=FIRST_COMPLETED) if running else ((), ())
            for future in finished:
                self._note(running.pop(future), future)
            self.write_zoo(unigram)

    def _next(self, waiting: list[Node]) -> Node | None:
        """Take a model whose parents are there, the recipe's first, but what needs no training before what does."""
        for node in list(waiting):
            if any(parent in self.failed for parent in node.parents):
                waiting.remove(node)
                self.failed[node.name] = "a parent failed"
        ready = [node for node in waiting if all(parent in self.records for parent in node.parents)]
        if not ready:
            return None
        chosen = next((node for node in ready if node.maker != "train"), ready[0])
        waiting.remove(chosen)
        return chosen

    def _order(self, node: Node) -> dict[str, Any]:
        return {**asdict(node), "key": self._key(node)}

    def _key(self, node: Node) -> str:
        return node.key(self.text_digest, [self.records[parent]["digest"] for parent in node.parents])

    def _found_ready(self, node: Node) -> bool:
        record = _read_record(self.out, node.name)
        if record is None or record["key"] != self._key(node):
            return False
        folder = self.out / node.name
        if not folder.is_dir() or digests(folder)["sha256"] != record["sha256"]:
            return False
        self.records[node.name] = record
        self.ready.append(node.name)
        return True

    def _note(self, node: Node, future: Future[dict[str, Any]]) -> None:
        count = len(self.records) + len(self.failed) + 1
        head = f"[{count}/{len(self.recipe.nodes)}] {node.name}"
        try:
            record = future.result()
        except StorageError:
            raise
        except FiliationError as error:
            self.failed[node.name] = f"{error.message}: {error.reason}" if error.reason else error.message
            self.say(f"{head}: FAILED, {self.failed[node.name]}")
            return
        self.records[node.name] = record
        self.made.append(node.name)
        learned = ""
        if "end_loss" in record:
            learned = f", loss {record['start_loss']:.3f} -> {record['end_loss']:.3f}"
            learned += f" (unigram {record['unigram']:.3f})" if "unigram" in record else ""
        self.say(f"{head}: {_clock(record['seconds'])}{learned}")

    def write_zoo(self, unigram: Mapping[str, float]) -> None:
        """Write ``zoo.json``: every model that is there, in the order of the recipe."""
        models: dict[str, Any] = {}
        for node in self.recipe.nodes:
            if node.name in self.records:
                record = {k: v for k, v in self.records[node.name].items() if k not in ("seconds", "key")}
                models[node.name] = {
                    "maker": node.maker,
                    "kind": node.kind,
                    "parents": list(node.parents),
                    "ancestors": list(self.recipe.ancestors(node.name)),
                    "how": node.how,
                    "settings": node.settings,
                    **record,
                }
        zoo = {
            "recipe": self.recipe.name,
            "text_sha256": self.text_digest,
            "unigram": {domain: round(level, 3) for domain, level in unigram.items()},
            "made_with": _versions(),
            "models": models,
            "pairs": [asdict(pair) for pair in self.recipe.pairs],
            "failed": self.failed,
        }
        write_whole(self.out / "zoo.json", json.dumps(zoo, indent=1) + "\n")


def make(order: Mapping[str, Any], out: str) -> dict[str, Any]:
    """Make one model in a worker process and return its record.

    Raises:
        StorageError: the disk is full. UsageError, FiliationError: the model cannot be made.
    """
    zoo = Path(out)
    try:
        return _made(order, zoo)
    except FiliationError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and shutil.disk_usage(zoo).free > _NO_ROOM:
            raise
        reason = error.strerror if isinstance(error, OSError) else f"No space left on the disk ({error})"
        raise cannot_write(zoo / str(order["name"]), reason or str(error)) from error


def _made(order: Mapping[str, Any], zoo: Path) -> dict[str, Any]:
    from filiation.lab.makers import bred

    began = time.monotonic()
    key = str(order["key"])
    node = Node(**{name: value for name, value in order.items() if name != "key"})
    # A folder for each key: what was begun under another recipe is no beginning of this one.
    state = zoo / STATE / "runs" / key[:16]
    partial = zoo / STATE / "partial" / node.name
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    measured = bred(node, zoo, state, partial)
    folder = zoo / node.name
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    shutil.rmtree(state, ignore_errors=True)
    record = {**measured, **digests(folder), "key": key, "seconds": round(time.monotonic() - began, 1)}
    write_whole(_record_file(zoo, node.name), json.dumps(record, indent=1))
    return record


def digests(folder: Path) -> dict[str, Any]:
    """Return the sha256 of every file and one digest over all files that hold weights."""
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}
    weights = {n: d for n, d in files.items() if n.endswith((".safetensors", ".gguf", ".bin"))}
    whole = hashlib.sha256(json.dumps(weights, sort_keys=True).encode()).hexdigest()
    return {"digest": whole, "sha256": files, "bytes": sum(p.stat().st_size for p in folder.iterdir())}


def _record_file(out: Path, name: str) -> Path:
    return out / STATE / "records" / f"{name}.json"


def _read_record(out: Path, name: str) -> dict[str, Any] | None:
    """Return what is known of a model; None of nothing, and of a record that was cut off."""
    try:
        return cast("dict[str, Any]", json.loads(_record_file(out, name).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            "The zoo's folder cannot be made.",
            file=str(out),
            reason=error.strerror,
            next_step="Name another.",
        ) from error


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {}
    for package in ("numpy", "torch", "transformers", "tokenizers", "gguf", "xllamacpp"):
        try:
            found[package] = version(package).partition("+")[0]
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
