"""An SPDX 3.0.1 document with the AI profile: the model as an AIPackage, its files, parents, and licences.

The profile asks for exactly one declared and one concluded licence of every AIPackage; where there is none to name,
``NoAssertionLicense`` says so.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from filiation.auditing.records import AuditReport, ParentRecord
from filiation.errors import MissingExtraError
from filiation.report.audit.licences import Named, concluded, declared, expression, of_parent
from filiation.report.audit.story import reason_of, unexamined
from filiation.report.custody import Custody
from filiation.report.numbers import clean
from filiation.report.wording import Phrases

NAME = "spdx"
SUFFIX = ".spdx.json"
_MOST_FILES = 2_000


def render(report: AuditReport, phrases: Phrases, custody: Custody | None = None) -> str:
    """Return the document as JSON-LD. Its time is that of the custody record; without one the epoch stands there.

    Raises:
        MissingExtraError: spdx-python-model is not installed (extra ``bom``).
    """
    try:
        from spdx_python_model import v3_0_1 as spdx
    except ImportError as error:
        raise MissingExtraError("SPDX output", "bom", "spdx-python-model") from error
    when = datetime.fromisoformat(custody.finished) if custody is not None else datetime.fromtimestamp(0, UTC)
    draft = _Draft(spdx, report, when)
    draft.model(phrases)
    objects = spdx.SHACLObjectSet()
    for entry in draft.elements:
        objects.add(entry)
    out = io.BytesIO()
    spdx.JSONLDSerializer().write(objects, out, indent=2, sort_keys=True)
    return out.getvalue().decode() + "\n"


class _Draft:
    """The elements of the document as they are made; every one has the same creation record."""

    def __init__(self, spdx: Any, report: AuditReport, when: datetime) -> None:
        self.spdx, self.report = spdx, report
        self.base = f"https://filiation.org/spdx/{report.models.suspect.digest}#"
        self.elements: list[Any] = []
        self.info = spdx.CreationInfo(specVersion="3.0.1", created=when)
        self.info._id = "_:creationinfo"
        tool = self.add("Tool", "tool", name=f"filiation {clean(report.tool.get('version', ''))}")
        agent = self.add("SoftwareAgent", "agent", name="filiation")
        self.info.createdBy = [agent]
        self.info.createdUsing = [tool]

    def add(self, kind: str, at: str, /, **values: Any) -> Any:
        """Make an element with an address of its own inside the document."""
        made = getattr(self.spdx, kind)(**values)
        made._id = self.base + at
        made.creationInfo = self.info
        self.elements.append(made)
        return made

    def relate(self, at: str, kind: str, start: Any, *ends: Any) -> None:
        """Add a relationship."""
        self.add(
            "Relationship",
            at,
            from_=start,
            to=list(ends),
            relationshipType=getattr(self.spdx.RelationshipType, kind),
        )

    def model(self, phrases: Phrases) -> None:
        """Add the model, what it holds, what it comes from, and the document around them."""
        package = self._package(phrases)
        files = self._files()
        if files:
            self.relate("contains", "contains", package, *files)
        for number, parent in enumerate(self.report.parents):
            self._parent(number, parent, package)
        self._datasets(package)
        self._licence("declared", "hasDeclaredLicense", package, declared(self.report))
        self._licence("concluded", "hasConcludedLicense", package, concluded(self.report))
        profiles = ("core", "software", "ai", "simpleLicensing")
        document = self.add(
            "SpdxDocument",
            "document",
            name=phrases.say("audit", "title", name=clean(self.report.models.suspect.name)),
            comment=phrases.say("disclosure", "not_legal_advice"),
            profileConformance=[getattr(self.spdx.ProfileIdentifierType, p) for p in profiles],
            rootElement=[package],
        )
        document.element = [e for e in self.elements if e is not document]

    def _package(self, phrases: Phrases) -> Any:
        suspect = self.report.models.suspect
        said = {c.subject: clean(c.text) for c in reversed(self.report.claims)}
        owed = [f"{r.id}: {reason_of(r, phrases)}" for r in self.report.rules if r.owed]
        heading = phrases.say("audit", "ui", "left")
        unread = [f"{heading}: {text}" for text in unexamined(self.report, phrases)]
        values: dict[str, Any] = {
            "name": clean(suspect.name),
            "software_packageVersion": clean(suspect.revision or suspect.digest),
            "software_primaryPurpose": self.spdx.software_SoftwarePurpose.model,
            "verifiedUsing": [self._hash(suspect.digest)],
            "comment": clean(" ".join([f"{self.report.verdict.outcome}.", *owed, *unread])),
        }
        if family := said.get("config_model_type"):
            values["ai_typeOfModel"] = [family]
        lines = dict.fromkeys(clean(c.text) for c in self.report.claims if c.subject == "header_holder")
        if lines:
            values["software_copyrightText"] = "\n".join(list(lines)[:200])
        return self.add("ai_AIPackage", "model", **values)

    def _hash(self, value: str) -> Any:
        return self.spdx.Hash(algorithm=self.spdx.HashAlgorithm.sha256, hashValue=value)

    def _files(self) -> Sequence[Any]:
        listed = [f for f in self.report.models.suspect.files if f.sha256][:_MOST_FILES]
        return [
            self.add(
                "software_File", f"file-{n}", name=clean(f.path), verifiedUsing=[self._hash(str(f.sha256))]
            )
            for n, f in enumerate(listed)
        ]

    def _parent(self, number: int, parent: ParentRecord, package: Any) -> None:
        """Weights and claims are descent; for code the package is what was modified into it."""
        code_only = set(parent.basis) == {"code"}
        kind = "software_Package" if code_only else "ai_AIPackage"
        basis = ", ".join(parent.basis)
        made = self.add(kind, f"parent-{number}", name=clean(parent.name), comment=f"basis: {clean(basis)}")
        outputs_only = set(parent.basis) == {"outputs"}
        relation = "trainedOn" if outputs_only else "descendantOf"
        self.relate(f"from-{number}", relation, package, made)
        self._licence(f"parent-{number}-declared", "hasDeclaredLicense", made, of_parent(parent.licences))
        found = () if parent.open else of_parent((*parent.licences, *parent.code_licences))
        self._licence(f"parent-{number}-concluded", "hasConcludedLicense", made, found)

    def _datasets(self, package: Any) -> None:
        names = dict.fromkeys(
            clean(c.text) for c in self.report.claims if c.subject in ("datasets", "gguf_dataset")
        )
        data = self.spdx.software_SoftwarePurpose.data
        made = [
            self.add("software_Package", f"dataset-{n}", name=name, software_primaryPurpose=data)
            for n, name in enumerate(names)
        ]
        if made:
            self.relate("trained-on", "trainedOn", package, *made)

    def _licence(self, name: str, kind: str, start: Any, found: Iterable[Named]) -> None:
        named = tuple(found)
        if not named:
            individuals = self.spdx.expandedlicensing_IndividualLicensingInfo.NAMED_INDIVIDUALS
            self.relate(f"{name}-licence", kind, start, individuals["NoAssertionLicense"])
            return
        made = self.add(
            "simplelicensing_LicenseExpression",
            f"{name}-expression",
            simplelicensing_licenseExpression=expression(named),
            comment=", ".join(clean(n.name) for n in named),
        )
        self.relate(f"{name}-licence", kind, start, made)
