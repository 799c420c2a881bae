"""``filiation compare``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filiation.cli.deliver import Wanted, deliver
from filiation.cli.lazy import imported
from filiation.cli.options import Bytes, JsonCommand, file_option, json_option, language_option, quiet_option

if TYPE_CHECKING:
    from filiation.cli.policy import Policy
    from filiation.evidence import Report

#: See :class:`~filiation.cli.lazy.LazyGroup`.
IMPORTS_LATER = True

# The same list as policy.RELATIONS (a test compares them): importing that would cost --help the whole report.
_RELATIONS = (
    "identical",
    "common-origin",
    "shared-parts",
    "shared-initialisation",
    "suggestive",
    "none-found",
    "cannot-test",
    "inconclusive",
)


@click.command(name="compare", cls=JsonCommand)
@click.argument("suspect")
@click.argument("candidates", nargs=-1, required=True)
@json_option
@file_option("--html", "Write a self-contained HTML report.")
@file_option("--markdown", "Write a markdown report.")
@language_option
@click.option("--full", is_flag=True, help="Read every byte: complete inheritance map and derivation.")
@click.option(
    "--budget",
    type=Bytes(),
    metavar="BYTES",
    help="Most bytes to read from each model, such as 500MB. [1GB if remote]",
)
@click.option("--base", metavar="B", help="The base model, where the suspect is an adapter.")
@click.option(
    "--seed",
    metavar="TEXT",
    help="A word drawn after both files were fixed: nobody could know before which rows are read.",
)
@click.option(
    "--fail-if",
    type=click.Choice(_RELATIONS),
    multiple=True,
    metavar="RELATION",
    help="Exit 1 when this is the relation found (3 for inconclusive, which stands for suggestive and cannot-test). "
    f"common-origin includes identical. Repeatable: {', '.join(_RELATIONS)}.",
)
@click.option(
    "--policy",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A TOML file with a [policy] table: fail_if and fail_unless (lists of relations), max_log10_e, "
    "max_inherited_share.",
)
@quiet_option
def command(
    suspect: str,
    candidates: tuple[str, ...],
    json_to: str | None,
    html: Path | None,
    markdown: Path | None,
    lang: str,
    full: bool,
    budget: int | None,
    base: str | None,
    seed: str | None,
    fail_if: tuple[str, ...],
    policy: Path | None,
    quiet: bool,
) -> int:
    """Say whether SUSPECT shares its origin with one or several CANDIDATES.

    A model is a folder, a file, a hub id (org/name or org/name@revision), or an hf://, https:// or s3:// address.
    Nothing in it is executed.

    \b
    Examples:
      filiation compare ./suspect ./candidate --html report.html
      filiation compare org/child org/parent --json report.json
      filiation compare ./merged ./parent-a ./parent-b --fail-if common-origin --fail-if inconclusive
    """
    from filiation.cli.progress import progress
    from filiation.comparison import compare_models

    imported()
    wanted = Wanted(json_to, html, markdown, lang, quiet)
    wanted.check((suspect, *candidates))
    required = _required(policy, fail_if)
    started = datetime.now(UTC)
    with progress(wanted.sink) as tell:
        report = compare_models(
            suspect, candidates, full=full, budget=budget, base=base, seed=seed, progress=tell
        )
    deliver(report, wanted, started)
    code = 0 if required is None else _judged(report, required, wanted)
    _hint(wanted, report, full=full)
    return code


def _required(policy: Path | None, fail_if: tuple[str, ...]) -> Policy | None:
    """Return what the relation is held against; None where nothing is asked, which spares loading the phrases."""
    if policy is None and not fail_if:
        return None
    from filiation.cli.policy import Policy, read_policy, with_relations

    return with_relations(read_policy(policy) if policy else Policy(), fail_if)


def _judged(report: Report, required: Policy, wanted: Wanted) -> int:
    """Tell what the policy says of the report; return its exit code."""
    from filiation.cli.policy import judge
    from filiation.report.wording import phrases

    outcome = judge(report, required, phrases(wanted.language))
    for message in outcome.messages:
        wanted.sink.talk(message)
    return outcome.code


def _hint(wanted: Wanted, report: Report, *, full: bool) -> None:
    little = report.verdict.relation in ("none_found", "suggestive")
    if little and not full and "sampled" in report.limits:
        wanted.sink.hint("--full reads every byte and may find more")
    if wanted.json_file is not None:
        wanted.sink.hint(f"filiation verify {wanted.json_file}  computes it again")
    elif wanted.html is None:
        wanted.sink.hint("--html report.html draws the maps; --json report.json keeps the evidence")
