"""The models of a report as label and value, ready to print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from filiation.report.numbers import MISSING, clean, figure, size
from filiation.report.sentences import inference_text, reason_text, worked_out
from filiation.report.wording import Phrases

#: What is said of layers, and of no component that has none.
_OF_LAYERS = frozenset({"n_layers", "norm", "norm_position", "positions", "rope", "rope_theta", "activation"})


@dataclass(frozen=True, slots=True)
class FileView:
    """One file of a model, ready to print."""

    name: str
    size: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelView:
    """One of the models: a heading, and its facts as label and value."""

    heading: str
    name: str
    facts: tuple[tuple[str, str], ...]
    files: tuple[FileView, ...]


def model_view(
    phrases: Phrases, model: Mapping[str, Any], heading: str, name: str, *, same_files: Sequence[str] = ()
) -> ModelView:
    """Return one model's facts; what is unknown is left out. ``same_files``: models with the same digest."""

    def label(key: str) -> str:
        return phrases.say("ui", key)

    facts = [
        (label("name"), name),
        (label("locator"), clean(model.get("locator") or MISSING)),
        (digest_label(phrases, model), clean(model.get("digest") or MISSING)),
        *(((label("same_files"), phrases.say("ui", "list_comma").join(same_files)),) if same_files else ()),
        (label("revision"), clean(model.get("revision") or "")),
        (label("format"), clean(model.get("format") or MISSING)),
        (label("family"), clean(model.get("family") or "")),
        (label("geometry"), _geometry(phrases, model.get("geometry") or {})),
        (label("parameters"), figure(model["parameters"]) if model.get("parameters") else ""),
        (label("dtypes"), _dtypes(model.get("dtypes") or {})),
        (label("stored"), size(model.get("total_bytes") or 0)),
        (label("read"), f"{model.get('bytes_read') or 0:,d} ({size(model.get('bytes_read') or 0)})"),
        (label("inferred"), phrases.say("ui", "list_semicolon").join(_inferences(phrases, model))),
    ]
    files = tuple(_file(phrases, f) for f in model.get("files") or ())
    return ModelView(heading, name, tuple((k, v or MISSING) for k, v in facts), files)


def digest_label(phrases: Phrases, model: Mapping[str, Any]) -> str:
    """Return what a model's digest is called: where it pins nothing of the contents, its label says so."""
    unpinned = model.get("digest_covers") == "names_sizes_headers"
    return phrases.say("ui", "digest_headers" if unpinned else "digest")


def _file(phrases: Phrases, file: Mapping[str, Any]) -> FileView:
    sha256 = file.get("sha256")
    if not sha256:
        why = file.get("not_hashed")
        sha256 = (
            phrases.say("ui", "not_hashed", reason=reason_text(phrases, why))
            if why
            else phrases.say("ui", "not_hashed_plain")
        )
    return FileView(clean(file.get("name", "")), f"{file.get('size', 0):,d}", clean(sha256))


def _geometry(phrases: Phrases, geometry: Mapping[str, Any]) -> str:
    nested = any(isinstance(v, Mapping) for v in geometry.values())
    components = cast("Mapping[str, Mapping[str, Any]]", geometry) if nested else {"": geometry}
    texts: list[str] = []
    for component, sizes in phrases.ordered("component", components):
        flat = sizes.get("n_layers") == 0
        known = {k: v for k, v in sizes.items() if not (flat and k in _OF_LAYERS)}
        shown = [
            f"{phrases.name('geometry', k)} {figure(v)}"
            for k, v in phrases.ordered("geometry", known)
            if v is not None
            and not isinstance(v, bool | Mapping | list)
            and v is not None
            and not isinstance(v, bool | Mapping | list)
        ]
        text = phrases.say("ui", "list_comma").join(shown)
        name = phrases.name("component", component)
        several = len(components) > 1
        texts.append(phrases.say("ui", "label_colon", label=name, value=text) if several else text)
    return phrases.say("ui", "list_semicolon").join(texts)


def _inferences(phrases: Phrases, model: Mapping[str, Any]) -> list[str]:
    """Return what was worked out, in words: a record is what it is and, in brackets, from what."""
    texts: list[str] = []
    for record in cast("Sequence[str]", model.get("inferred") or ()):
        what, mark, basis = str(record).removesuffix(")").partition(" (")
        plain_words = worked_out(phrases, str(record)) or clean(record)
        texts.append(inference_text(phrases, what, basis) if mark else plain_words)
    return texts


def _dtypes(dtypes: Mapping[str, int]) -> str:
    return ", ".join(f"{clean(kind)} × {number:,d}" for kind, number in sorted(dtypes.items()))
