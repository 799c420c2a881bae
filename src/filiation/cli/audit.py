"""``filiation audit``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filiation.cli.deliver import Wanted, deliver
from filiation.cli.options import STDOUT, JsonCommand, file_option, json_option, language_option, quiet_option

if TYPE_CHECKING:
    from filiation.auditing import Audited


class AuditCommand(JsonCommand):
    """A command whose ``--against`` takes several words: ``filiation audit REPO --against A B``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give every reference its own ``--against`` before click splits options from arguments."""
        return super().parse_args(ctx, with_every_reference(args))


def with_every_reference(args: Sequence[str]) -> list[str]:
    """Return the words with ``--against A B`` as ``--against=A --against=B``.

    Where no word is left for the repository in question, the last one after an ``--against`` is it.
    """
    words: list[str] = []
    others = taking = False
    last: int | None = None
    for word in args:
        if taking and not word.startswith("-"):
            last = len(words)
            words.append(f"--against={word}")
            continue
        taking = word == "--against"
        if taking:
            continue
        others = others or (not word.startswith("-") and not _is_value(words, word))
        words.append(word)
    if not others and last is not None and sum(w.startswith("--against=") for w in words) > 1:
        words[last] = words[last].removeprefix("--against=")
    return [*words, "--against"] if taking and last is None else words


#: Options that take the word after them; a test compares them with the command's own.
TAKE_A_WORD = frozenset(
    {
        "--parent", "--name", "--derived-on", "--evidence", "--html", "--markdown", "--sarif", "--cyclonedx", "--spdx",
        "--policy", "--fail-if", "--lang", "--cache",
    }
)  # fmt: skip


def _is_value(words: Sequence[str], word: str) -> bool:
    """Whether a word belongs to the option before it."""
    before = words[-1] if words else ""
    return before in TAKE_A_WORD or (before == "--json" and word.endswith(".json"))


@click.command(name="audit", cls=AuditCommand)
@click.argument("repository")
@click.option(
    "--against",
    multiple=True,
    metavar="REPO_OR_CORPUS ...",
    help="Repositories to compare it with, and corpora made by 'filiation corpus build' (.npz.xz).",
)
@click.option(
    "--parent", "parents", multiple=True, metavar="P", help="A model it is told to come from. Repeatable."
)
@click.option(
    "--name", metavar="NAME", help="The name it is published under; for a folder it is not known otherwise."
)
@click.option("--derived-on", metavar="DAY", help="Day of derivation, such as 2024-05-20. [the first commit]")
@click.option(
    "--evidence",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="REPORT.json",
    help="A report of 'filiation compare' that says who the parents by weights are. Repeatable.",
)
@json_option
@file_option("--html", "Write a self-contained HTML report.")
@file_option("--markdown", "Write a markdown report.")
@file_option("--sarif", "Write SARIF 2.1.0, for code hosts.")
@file_option("--cyclonedx", "Write a CycloneDX 1.7 ML-BOM.")
@file_option("--spdx", "Write an SPDX 3.0.1 document with the AI profile.")
@click.option(
    "--fix", is_flag=True, help="Print a patch that would satisfy what is owed, in place of the report."
)
@click.option(
    "--fail-if",
    multiple=True,
    metavar="CONDITION",
    help="Exit 1 where this is found (3 for inconclusive): owed, missing, contradicted, a rule such as L4, a level of "
    "code such as same-after-renaming, notices-removed, a kind of trace such as same-file. Repeatable.",
)
@click.option(
    "--policy",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A TOML file with an [audit] table: fail_if (conditions), ignore (rules), max_owed.",
)
@click.option(
    "--corpus/--no-corpus", default=True, help="Rank code against the shipped public releases. [yes]"
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="FILIATION_CACHE",
    metavar="FOLDER",
    help="Keep fingerprints of source files here between runs. [none kept; FILIATION_CACHE]",
)
@language_option
@quiet_option
def command(
    repository: str,
    against: tuple[str, ...],
    parents: tuple[str, ...],
    name: str | None,
    derived_on: str | None,
    evidence: tuple[Path, ...],
    json_to: str | None,
    html: Path | None,
    markdown: Path | None,
    sarif: Path | None,
    cyclonedx: Path | None,
    spdx: Path | None,
    fix: bool,
    fail_if: tuple[str, ...],
    policy: Path | None,
    corpus: bool,
    cache: Path | None,
    lang: str,
    quiet: bool,
) -> int:
    """Say what a model REPOSITORY claims, what it shows, and what it owes.

    A repository is a folder, an archive, or a hub id (org/name or org/name@revision). Its code, configurations,
    tokenizer, tensor index, card and licence are read; weights are not needed. Nothing in it is executed. None of it
    is legal advice.

    \b
    Examples:
      filiation audit ./model
      filiation audit ./model --against org/other ./third --html audit.html
      filiation audit ./model --parent org/base --fix > owed.patch
      filiation audit ./model --evidence compare.json --fail-if owed --sarif audit.sarif
    """
    from filiation.auditing import Request, examine
    from filiation.cli.audit_policy import AuditPolicy, judge, read_policy, with_conditions
    from filiation.cli.progress import progress
    from filiation.report.custody import now
    from filiation.report.wording import phrases

    boms = (("sarif", sarif), ("cyclonedx", cyclonedx), ("spdx", spdx))
    others = tuple((name, path) for name, path in boms if path is not None)
    wanted = Wanted(json_to, html, markdown, lang, quiet, others)
    wanted.check((repository, *against, *(str(path) for path in evidence)))
    _check(fail_if, wanted, fix=fix)
    required = with_conditions(read_policy(policy) if policy else AuditPolicy(), fail_if)
    request = Request(repository, against, parents, derived_on, evidence, corpus, name)
    started = now()
    with progress(wanted.sink) as tell:
        made = examine(request, cache=cache, progress=tell)
    _deliver(made, wanted, started, fix=fix)
    outcome = judge(made.report, required, phrases(lang))
    for message in outcome.messages:
        wanted.sink.talk(message)
    if made.report.verdict.outcome == "owed" and not fix:
        wanted.sink.hint("--fix prints a patch that would satisfy what is owed")
    return outcome.code


def _check(fail_if: Sequence[str], wanted: Wanted, *, fix: bool) -> None:
    """Refuse what cannot be done before anything long is computed."""
    from importlib.util import find_spec

    from filiation.cli.audit_policy import CONDITIONS
    from filiation.errors import MissingExtraError, UsageError

    unknown = next((name for name in fail_if if name not in CONDITIONS), None)
    if unknown is not None:
        raise UsageError(
            f"There is no condition '{unknown}'.", next_step=f"Use one of: {', '.join(CONDITIONS)}."
        )
    if fix and wanted.json_to == STDOUT:
        raise UsageError(
            "--fix and --json both write to standard output.",
            next_step="Give --json a file, such as --json audit.json.",
        )
    if any(name == "spdx" for name, _ in wanted.others) and find_spec("spdx_python_model") is None:
        raise MissingExtraError("SPDX output", "bom", "spdx-python-model")


def _deliver(made: Audited, wanted: Wanted, started: datetime, *, fix: bool) -> None:
    from filiation.cli.deliver import write_files

    drawing = {}
    if wanted.html is not None:
        from filiation.auditing.excerpts import excerpts

        drawing = {"excerpts": excerpts(made)}
    if not fix:
        deliver(made.report, wanted, started, drawing)
        return
    for path in write_files(made.report, wanted, started, drawing):
        wanted.sink.talk(f"wrote {path}")
    _print_patch(made, wanted)


def _print_patch(made: Audited, wanted: Wanted) -> None:
    """Print the patch alone to standard output, so that git apply can read it, and the rest to standard error."""
    from filiation import disclosure
    from filiation.report.audit.words import worded
    from filiation.report.wording import phrases

    said = phrases(wanted.language)
    patch = disclosure.fix(made.suspect, made.claims, made.parents, made.shown, wanted.language, made.beside)
    if patch.diff:
        wanted.sink.data(patch.diff)
    else:
        wanted.sink.talk(said.say("audit", "fix", "nothing"))
    if patch.name:
        wanted.sink.talk(said.say("audit", "fix", "name", name=patch.name))
    if patch.left:
        wanted.sink.talk(said.say("audit", "fix", "left"))
        for left in patch.left:
            wanted.sink.talk(f"  {left.rule}: {worded(said, left.reason, **left.values)}")
