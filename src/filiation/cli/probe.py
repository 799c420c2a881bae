"""``filiation probe``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from filiation.cli.deliver import Wanted, deliver
from filiation.cli.options import JsonCommand, file_option, json_option, language_option, quiet_option
from filiation.cli.output import Sink
from filiation.cli.probe_means import hint_at_resuming, means_of

if TYPE_CHECKING:
    from filiation.errors import UsageError
    from filiation.probing import ProbeReport
    from filiation.probing.request import Request
    from filiation.probing.walk import Progress

# The same lists as in probing (a test compares them): importing that would cost --help the whole client.
RELATIONS = (
    "same-weights", "derivative", "trained-on-outputs", "associated", "different", "none-found", "cannot-test",
)  # fmt: skip
TESTS = (
    "same-model",
    "tokenizer",
    "output-layer",
    "derived",
    "distilled",
    "exclusive-data",
    "shared-mistakes",
    "identity",
)
DIALECTS = (
    "openai", "openai-reasoning", "vllm", "llama-server", "ollama", "sglang", "gateway", "anthropic", "local",
)  # fmt: skip
LANGUAGES = ("en", "zh", "es", "fr")
_MODEL = "URL#MODEL, a local model, or a hub id"


@click.command(name="probe", cls=JsonCommand)
@click.argument("url", required=False)
@click.option("--model", metavar="NAME", help="The model's name at the endpoint.")
@click.option(
    "--key-env",
    multiple=True,
    metavar="[ROLE=]VAR",
    help="Environment variable with the key, or keyring:SERVICE/USER; with ROLE=, of another endpoint. Repeatable.",
)
@click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    help="How to speak to it. [guessed from the address and the replies]",
)
@click.option("--stream", is_flag=True, help="Ask for streams, for gateways that answer in no other way.")
@click.option("--reference", metavar="M", help=f"A model that it might be: {_MODEL}.")
@click.option("--second", metavar="M", help="Another deployment of the reference's weights.")
@click.option(
    "--candidate",
    metavar="M",
    help="A checkpoint whose output layer is looked for. [the local reference or parent]",
)
@click.option(
    "--parent", "parents", multiple=True, metavar="M", help="A model that it might derive from. Repeatable."
)
@click.option(
    "--control",
    "controls",
    multiple=True,
    metavar="M",
    help="A model that it is known not to be. Repeatable.",
)
@click.option("--teacher", metavar="M", help="A model on whose outputs it might be trained.")
@click.option(
    "--control-teacher", "teacher_controls", multiple=True, metavar="M", help="Another teacher. Repeatable."
)
@click.option("--base", metavar="M", help="What it was before that training, as far as it is known.")
@click.option(
    "--tokenizer",
    "tokenizers",
    multiple=True,
    metavar="FILE",
    help="A tokenizer to hold counts against, beside the shipped ones. Repeatable.",
)
@click.option(
    "--items",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Questions that only the owner's private data answers (JSON Lines or CSV).",
)
@click.option(
    "--choices",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Multiple-choice questions, for shared mistakes.",
)
@click.option(
    "--test",
    "tests",
    type=click.Choice(TESTS),
    multiple=True,
    help="Only this test. Repeatable. [all that can be asked]",
)
@click.option(
    "--max-requests",
    type=click.IntRange(1),
    default=5000,
    show_default=True,
    metavar="N",
    help="Most requests to all endpoints together.",
)
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Most tokens, sent and received.")
@click.option(
    "--max-seconds",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Longest time, from the first request on.",
)
@click.option("--max-money", type=click.FloatRange(0), metavar="X", help="Most money; needs --price.")
@click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="[ROLE=]IN:OUT",
    help="Price of a million tokens sent and received; models of one's own cost nothing. Repeatable.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    metavar="N",
    help="Requests in flight.",
)
@click.option(
    "--pairs",
    type=click.IntRange(20),
    default=200,
    show_default=True,
    metavar="N",
    help="Pairs of answers for the same model, at first.",
)
@click.option(
    "--most-pairs",
    type=click.IntRange(20),
    default=1000,
    show_default=True,
    metavar="N",
    help="Pairs of answers for the same model, at most.",
)
@click.option(
    "--language",
    "languages",
    type=click.Choice(LANGUAGES),
    multiple=True,
    help="Language of the prompts for the same model; a model that knows one well tells more in it. Repeatable. [all]",
)
@click.option(
    "--prompts",
    type=click.IntRange(30),
    default=400,
    show_default=True,
    metavar="N",
    help="Prompts for derivation.",
)
@click.option(
    "--vectors",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Whole vectors of log-probabilities to collect, to read off how wide the model is; more than its width.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    help="Seed of all probes. [drawn, and committed to in the log]",
)
@click.option(
    "--log",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where every exchange is written. [probe-TIME.jsonl]",
)
@click.option("--resume", is_flag=True, help="Go on with --log, which was interrupted.")
@click.option(
    "--replay",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="LOG",
    help="Compute the report again from a log; nothing is asked.",
)
@click.option(
    "--questions",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="SHEET",
    help="For a chat site without an API: write the questions to a sheet, to be asked by hand (100 pairs and 60 "
    "prompts, unless told otherwise).",
)
@click.option(
    "--answers",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="SHEET",
    help="The sheet with the answers pasted in; needs --model, no URL, and the other models of the sheet again.",
)
@click.option("--yes", is_flag=True, help="Agree beforehand to what will be sent.")
@json_option
@file_option("--html", "Write a self-contained HTML report.")
@file_option("--markdown", "Write a markdown report.")
@click.option(
    "--fail-if",
    type=click.Choice((*RELATIONS, "inconclusive")),
    multiple=True,
    metavar="RELATION",
    help="Exit 1 when this is the relation found (3 for inconclusive, which stands for associated and cannot-test). "
    f"Repeatable: {', '.join(RELATIONS)}.",
)
@language_option
@quiet_option
def command(
    url: str | None,
    json_to: str | None,
    html: Path | None,
    markdown: Path | None,
    lang: str,
    quiet: bool,
    fail_if: tuple[str, ...],
    replay: Path | None,
    questions: Path | None,
    answers: Path | None,
    **given: Any,
) -> int:
    """Say what stands behind an API: which model, derived from which, trained on whose outputs.

    URL is the base address of an OpenAI-compatible endpoint. Nothing is sent before you agree, and nothing beyond the
    budget. Every exchange is written to a log without keys; --replay computes the report from it again.

    \b
    Examples:
      filiation probe http://127.0.0.1:8080/v1 --model my-model --yes
      filiation probe https://api.example.com/v1 --model nova-1 --key-env KEY --reference ./model.gguf
      filiation probe --replay probe.jsonl --html probe.html
    """
    from filiation.cli.progress import progress
    from filiation.probing import walk
    from filiation.report.custody import now

    wanted = Wanted(json_to, html, markdown, lang, quiet)
    wanted.check(tuple(str(path) for path in (replay, given["log"]) if path is not None))
    started = now()
    if url is not None and (questions or answers):
        raise _two_suspects(url)
    if questions is not None:
        return _write_questions(questions, given, wanted.sink)
    with progress(wanted.sink) as tell, hint_at_resuming(wanted.sink, given["log"]):
        if replay is not None:
            report = walk.replay(replay, tell)
        elif answers is not None:
            report = _read_answers(answers, given, wanted, tell)
        else:
            request = _request(url, given)
            report = walk.examine(request, means_of(request, given, wanted), tell)
    deliver(report, wanted, started)
    return _code(report, fail_if)


def _request(url: str | None, given: dict[str, Any]) -> Request:
    from filiation.errors import UsageError
    from filiation.probing.request import Request

    url, _, named = (url or "").partition("#") if not given["model"] else (url, "", "")
    model = given["model"] or named  # URL#MODEL, as for every other model
    if not url or not model:
        raise UsageError(
            "There is nobody to ask.",
            reason="An address and --model are needed, or --replay.",
            next_step="Write for example:  filiation probe http://127.0.0.1:8080/v1 --model my-model",
        )
    seed = given["seed"] if given["seed"] is not None else _drawn(given["log"], given["resume"])
    return Request(
        url=url,
        model=model,
        dialect=given["dialect"] or "",
        reference=given["reference"],
        second=given["second"],
        candidate=given["candidate"],
        parents=given["parents"],
        controls=given["controls"],
        teacher=given["teacher"],
        teacher_controls=given["teacher_controls"],
        base=given["base"],
        tokenizers=given["tokenizers"],
        items=given["items"],
        choices=given["choices"],
        tests=tuple(name.replace("-", "_") for name in given["tests"]),
        seed=seed,
        pairs=given["pairs"],
        most=given["most_pairs"],
        prompts=given["prompts"],
        vectors=given["vectors"],
        languages=given["languages"],
        key_env=given["key_env"],
        stream=given["stream"],
    )


def _write_questions(sheet: Path, given: dict[str, Any], sink: Sink) -> int:
    from filiation.probing import byhand

    sizes = {"pairs": byhand.PAIRS, "prompts": byhand.PROMPTS}
    context = click.get_current_context()
    fewer = {k: n for k, n in sizes.items() if context.get_parameter_source(k) is ParameterSource.DEFAULT}
    request = _request("by hand", {**given, **fewer})
    count = byhand.write_questions(request, sheet, given["max_requests"])
    sink.talk(f"wrote {sheet}: {count} questions, each to be asked in a new chat")
    again = "" if len(request.parties()) == 1 else ", and the same models"
    sink.hint(
        f"paste the answers under their marks, then:  filiation probe --answers {sheet} --model NAME{again}"
    )
    return 0


def _read_answers(sheet: Path, given: dict[str, Any], wanted: Wanted, tell: Progress | None) -> ProbeReport:
    from filiation.probing import byhand

    request = _request("by hand", {**given, "seed": 0})  # the sheet's own is used
    means = means_of(request, given, wanted) if len(request.parties()) > 1 else None
    return byhand.read_answers(request, sheet, means, tell)


def _two_suspects(url: str) -> UsageError:
    from filiation.errors import UsageError

    return UsageError(
        "A sheet stands in place of an address.",
        file=url,
        next_step="Leave the address out; name the model that it might be with --reference URL#MODEL.",
    )


def _drawn(log: Path | None, resume: bool) -> int:
    """Return a seed nobody could know beforehand; that of the log where a probe goes on."""
    import secrets

    if not (resume and log is not None):
        return secrets.randbits(63)
    from filiation.endpoint.recorded import Recorded

    return int(Recorded.load(log).run["seed"])


def _code(report: ProbeReport, fail_if: tuple[str, ...]) -> int:
    relation = str(report.verdict.relation).replace("_", "-")
    if relation in fail_if:
        return 1
    return 3 if "inconclusive" in fail_if and relation in ("associated", "cannot-test") else 0
