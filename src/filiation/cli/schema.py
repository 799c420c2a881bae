"""``filiation schema``."""

from __future__ import annotations

import json

import click

from filiation.cli.output import Sink


@click.command(name="schema")
@click.option(
    "--of",
    "command_",
    type=click.Choice(("compare", "audit", "probe")),
    default="compare",
    show_default=True,
    help="Of whose report.",
)
def command(command_: str) -> None:
    """Print the JSON Schema (2020-12) of the reports that filiation writes."""
    if command_ == "audit":
        from filiation.auditing import audit_schema as schema
    elif command_ == "probe":
        from filiation.probing.records import probe_schema as schema
    else:
        from filiation.evidence import json_schema as schema

    Sink(machine=True).data(json.dumps(schema(), sort_keys=True, ensure_ascii=False, indent=2))
