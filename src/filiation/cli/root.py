"""The group of commands. Nothing heavy is imported for ``--help``."""

from __future__ import annotations

import click

from filiation._version import __version__
from filiation.cli.lazy import LazyGroup

COMMANDS = {
    "compare": "Say whether a model shares its origin with another, with evidence.",
    "audit": "Say what a repository claims, what it shows, and what it owes: code, tokenizer, licence.",
    "probe": "Say what stands behind an API: which model, derived from which, trained on whose outputs.",
    "corpus": "Build a reference corpus of public code, as fingerprints.",
    "inspect": "Show a model's parts, symmetries, types and digest.",
    "verify": "Compute a stored report again and say whether it still holds.",
    "render": "Draw a stored report as text, HTML or markdown, in English or Chinese.",
    "demo": "Compare small models that were really trained.",
    "schema": "Print the JSON Schema of a report.",
    "lab": "Breed small lineages for research.",
}


@click.group(
    name="filiation",
    cls=LazyGroup,
    commands_at={name: (f"filiation.cli.{name}", help_) for name, help_ in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="filiation", message="%(prog)s %(version)s")
def program() -> None:
    """Does one language model come from the other? filiation answers with evidence that a stranger can recompute.

    \b
    Exit codes:
      0  done, and the policy (if any) is met
      1  the policy is not met, or a report no longer holds
      2  the call is wrong
      3  inconclusive, where --fail-if inconclusive asks for it
      4  an input is missing or unreadable
      5  internal error
      141  whoever read the output left before its end (| head): no result
    """
