"""The kinds of derivation, for `docs/report-format.md`: from the phrase file, so that a new kind is described."""

from __future__ import annotations

import tomllib

from docs._generate.pages import ROOT, table

PAGE = "docs/report-format.md"


def parts() -> dict[str, str]:
    """Return every generated part of the page."""
    text = (ROOT / "src/filiation/report/phrases/en.toml").read_text(encoding="utf-8")
    kinds: dict[str, dict[str, str]] = tomllib.loads(text)["derivation"]
    return {"derivations": table(["`kind`", "means"], [[f"`{k}`", v["text"]] for k, v in kinds.items()])}
