"""What each other tool is asked: run by the interpreter of that tool's own environment, with JSON in and JSON out.

``python benchmarks/probe_peer_calls.py NAME`` reads standard input; the last line printed is the answer. Every
tool is called as its own documentation calls it. benchmarks/probe_peers.py makes the environments and starts this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Given = dict[str, Any]


def model_equality_testing(given: Given) -> Given:
    """Hand each run's answers to the permutation test with the Hamming kernel on characters, its recommended one."""
    import numpy as np
    import torch
    from model_equality_testing.distribution import CompletionSample
    from model_equality_testing.pvalue import two_sample_permutation_pvalue
    from model_equality_testing.tests import IMPLEMENTED_TESTS

    torch.manual_seed(0)
    length = given["characters"]

    def sample(answers: list[tuple[str, str]], cells: list[str]) -> Any:
        codes = [[ord(c) for c in text[:length].ljust(length, "\0")] for _, text in answers]
        where = np.array([cells.index(cell) for cell, _ in answers])
        return CompletionSample(where, np.array(codes), len(cells))

    found: list[float] = []
    for run in given["runs"]:
        cells = sorted({cell for side in run.values() for cell, _ in side})
        one, other = (sample(run[side], cells) for side in ("reference", "suspect"))
        p_of = two_sample_permutation_pvalue(one, other, b=given["draws"], stat_type="mmd_hamming")
        found.append(p_of(IMPLEMENTED_TESTS["mmd_hamming"](one, other)))
    return {"p": found}


def knowlyr_modelaudit(given: Given) -> Given:
    """Audit teacher and student over their APIs, in as many questions as are given."""
    from modelaudit.config import AuditConfig
    from modelaudit.engine import AuditEngine

    engine = AuditEngine(
        AuditConfig(cache_dir=given["folder"], api_timeout=300, num_probes=given["questions"])
    )
    teacher, student = given["reference"], given["suspect"]
    found = engine.audit(
        teacher["model"],
        student["model"],
        teacher_provider="openai",
        teacher_api_key="none",
        teacher_api_base=teacher["url"],
        student_provider="openai",
        student_api_key="none",
        student_api_base=student["url"],
    )
    scores = {c.method: c.similarity for c in found.comparisons}
    return {"verdict": found.verdict, "scores": scores}


def llm_provenance_probe(given: Given) -> Given:
    """Fingerprint the tokenizer, against the shipped vectors and the reference's own, measured as it measures them."""
    from provenance_probe.client import Client
    from provenance_probe.config import Target
    from provenance_probe.probes import tokenizer

    def measured(role: str) -> Given:
        named = given[role]
        return tokenizer.measure(
            Client(Target(role, named["url"], named["model"], timeout=600.0, authorized=True))
        )

    shipped = tokenizer.load_reference()
    vector = measured("suspect")
    own = {"vector": measured("reference")["vector"], "family": "reference", "origin": "-"}
    best = tokenizer.compare(vector, shipped)[0]
    (against,) = tokenizer.compare(vector, {"models": {"reference": own}})
    return {"shipped": [best["model"], best["score"]], "reference": against["score"]}


def counted_tokenizers(given: Given) -> Given:
    """Fingerprint many endpoints' tokenizers by llm-provenance-probe, against its shipped vectors alone."""
    from provenance_probe.client import Client
    from provenance_probe.config import Target
    from provenance_probe.probes import tokenizer

    shipped = tokenizer.load_reference()
    found: Given = {}
    for name, url in given["endpoints"].items():
        vector = tokenizer.measure(Client(Target(name, url, "counted", timeout=600.0, authorized=True)))
        best = tokenizer.compare(vector, shipped)[0]
        found[name] = [best["model"], best["score"], best["exact_matches"], best["shared_probes"]]
    return found


def tokenwatt_verify(given: Given) -> Given:
    """Run its command with a bank of our own, as it asks for, in as many rounds as a verdict takes."""
    settings: dict[str, str] = {}
    for prefix, role in (("EP", "suspect"), ("REF", "reference")):
        settings |= {f"{prefix}_URL": given[role]["url"], f"{prefix}_MODEL": given[role]["model"]}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "verdict.json"
        command = [str(Path(sys.executable).parent / "tokenwatt-verify"), "run", "--target", "env:EP"]
        command += ["--reference", "env:REF", "--probes", str(Path(__file__).with_name("probe_peer_bank.py"))]
        command += ["--rounds", str(given["rounds"]), "--out", folder, "--json", str(out)]
        done = subprocess.run(command, env={**os.environ, **settings}, stdout=subprocess.DEVNULL, check=False)
        if done.returncode not in (0, 2):
            raise SystemExit(f"tokenwatt-verify ended with {done.returncode}")
        verdict = json.loads(out.read_text(encoding="utf-8"))
    said = {f["signal"]: f["message"] for f in verdict["findings"]}
    return {"verdict": verdict["overall"], "capability": said["capability"], "tokenizer": said["tokenizer"]}


CALLS: dict[str, Callable[[Given], Given]] = {
    "model-equality-testing": model_equality_testing,
    "knowlyr-modelaudit": knowlyr_modelaudit,
    "llm-provenance-probe": llm_provenance_probe,
    "counted-tokenizers": counted_tokenizers,
    "tokenwatt-verify": tokenwatt_verify,
}

if __name__ == "__main__":
    print(json.dumps(CALLS[sys.argv[1]](json.load(sys.stdin))))
