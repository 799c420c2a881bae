"""``filiation schema``."""

from __future__ import annotations

import json

import click

from filiation.cli.output import Sink


@click.command(name="schema")
def command() -> None:
    """Print the JSON Schema (2020-12) of the reports that filiation writes."""
    from filiation.evidence import json_schema

    Sink(machine=True).data(json.dumps(json_schema(), sort_keys=True, ensure_ascii=False, indent=2))
