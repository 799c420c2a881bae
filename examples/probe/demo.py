"""Who is behind this endpoint? A real model behind a reseller that gives it a new name: ``make demo-probe``.

Starts llama.cpp with SmolLM2-135M-Instruct, a LiteLLM proxy that sells it as "nova-1" with a system prompt of its own
and altered token counts, and asks the proxy. Everything stays on this machine; the first run downloads the model
(93 MB) and the proxy.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.real.fetch import ARTIFACTS, fetch  # noqa: E402 - the folder must be on the path first
from tests.real.servers import real_model, reseller  # noqa: E402


def main() -> int:
    """Start both servers, ask, write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "demo-probe")
    parser.add_argument("--pairs", type=int, default=60, help="pairs of answers for the same model, at first")
    parser.add_argument("--most-pairs", type=int, default=60, help="and at most")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    file = fetch("smollm2") / ARTIFACTS["smollm2"].model
    log = out / "probe.jsonl"
    log.unlink(missing_ok=True)
    with real_model(file, "smollm2-135m") as model, reseller(model, out / "reseller") as sold:
        command = [
            str(Path(sys.executable).parent / "filiation"), "probe", sold.url, "--model", sold.model, "--yes",
            "--reference", str(file), "--log", str(log),
            "--test", "same-model", "--test", "tokenizer", "--test", "output-layer",
            # SmolLM2 knows English best, so its answers tell most there.
            "--language", "en", "--pairs", str(options.pairs), "--most-pairs", str(options.most_pairs),
            "--concurrency", "2",
            "--html", str(out / "probe.html"), "--json", str(out / "probe.json"),
        ]  # fmt: skip
        code = subprocess.run(command, check=False).returncode
    if code == 0:
        sys.stdout.write(told(out / "probe.json", sold.model))
    return code


def told(report: Path, sold_as: str) -> str:
    """Return what the report's verdict means for this endpoint, in one sentence, and the file to open."""
    verdict = json.loads(report.read_text(encoding="utf-8"))["verdict"]
    said = f"this run did not see through the reseller: {verdict['relation']}"
    if verdict["relation"] == "same_weights":
        said = f"{sold_as} is SmolLM2-135M-Instruct behind another name"
    elif "output_layer_alone" in verdict["reasons"]:
        said = f"{sold_as} has SmolLM2-135M-Instruct's output layer; its answers did not settle the rest"
    return f"\n{said}.\nThe whole report: {report.with_suffix('.html')}\n"


if __name__ == "__main__":
    sys.exit(main())
