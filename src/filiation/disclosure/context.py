"""What the rules look at: the repository read once, its parents with their terms, and who owes what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from filiation.disclosure import names
from filiation.disclosure.model import Basis, Beside, Licence, Obligation, Parent, RuleResult, RuleStatus
from filiation.disclosure.own import Own, own_licence
from filiation.disclosure.papers import Papers, read_papers
from filiation.disclosure.parents import Terms, claimed, code_terms, dated, model_terms, united
from filiation.evidence import Claim
from filiation.repository import Repository


@dataclass(frozen=True, slots=True)
class Debt:
    """One obligation of one parent's licence, or the reason why there is none to hold the repository to.

    ``settled`` is None where the obligation holds and must be looked for, else what the rule answers at once.
    ``options`` are the versions of which one holds and nobody knows which; where all ask the same, ``licence`` is the
    latest of them, and no version is cited alone.
    """

    parent: Parent
    licence: Licence | None = None
    obligation: Obligation | None = None
    settled: tuple[RuleStatus, str] | None = None
    options: tuple[Licence, ...] = ()

    @property
    def versions(self) -> tuple[Licence, ...]:
        """Every licence that is meant: several where the version is not decided."""
        return self.options or ((self.licence,) if self.licence else ())

    @property
    def ident(self) -> str | None:
        """The licence's id; several versions joined by ``OR``."""
        return " OR ".join(x.id for x in self.versions) if self.licence else None

    @property
    def clause(self) -> str | None:
        """``<licence id> <clause>``, of every version that is meant."""
        if self.licence is None or self.obligation is None:
            return None
        kind = self.obligation.kind
        each = [(x, next(iter(x.asks(kind)), self.obligation)) for x in self.options]
        return " OR ".join(f"{x.id} {o.clause}" for x, o in each or [(self.licence, self.obligation)])

    def result(self, rule: str) -> RuleResult:
        """Return the answer of a debt that is settled without looking.

        Raises:
            ValueError: it is not settled.
        """
        if self.settled is None:
            raise ValueError("this debt must be looked for")
        status, reason = self.settled
        return RuleResult(
            rule,
            status,
            reason,
            place=self.parent.place,
            clause=self.clause,
            licence=self.ident,
            parent=self.parent.name,
            values={"parent": self.parent.name, "licences": ", ".join(x.name for x in self.versions)},
        )


@dataclass(frozen=True, eq=False)
class Context:
    """One repository with its claims, its parents (dated and united) and earlier states of itself."""

    repository: Repository
    claims: tuple[Claim, ...]
    parents: tuple[Parent, ...]
    beside: tuple[Beside, ...] = ()

    @cached_property
    def papers(self) -> Papers:
        """The repository's cards, licence files and notices."""
        return read_papers(self.repository)

    @cached_property
    def own(self) -> Own:
        """The repository's own licence."""
        return own_licence(self.claims, self.papers)

    @cached_property
    def _terms(self) -> dict[str, tuple[Terms, Terms]]:
        return {p.name: (model_terms(p), code_terms(p)) for p in self.parents}

    def model_terms(self, parent: Parent) -> Terms:
        """Return the terms of a parent's weights."""
        return self._terms[parent.name][0]

    def code_terms(self, parent: Parent) -> Terms:
        """Return the terms of a parent's code."""
        return self._terms[parent.name][1]

    def said(self, *subjects: str) -> tuple[Claim, ...]:
        """Return the claims on some subjects, in the order of the subjects."""
        return tuple(c for s in subjects for c in self.claims if c.subject == s)

    @cached_property
    def is_model(self) -> bool:
        """Whether there is a model in the repository at all: weights, a configuration or an adapter.

        An application that only uses a model has no model name that could be tested.
        """
        endings = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".onnx", ".ckpt")
        files = [p.rpartition("/")[2].lower() for p in self.repository.files]
        known = {"config.json", "adapter_config.json", "params.json", "model.safetensors.index.json"}
        return any(f in known or f.endswith(endings) for f in files)

    def debts(self, kind: str) -> Iterator[Debt]:
        """Yield what the parents' licences ask of this kind, for weights, outputs and code."""
        for parent in self.parents:
            if parent.by_weights or parent.by_outputs:
                yield from _owed(parent, kind, self.model_terms(parent), outputs=parent.by_outputs)
            elif Basis.CODE in parent.basis and kind not in _CODE_ALONE:
                yield from _not_for_code(parent, kind, self.model_terms(parent))
            if Basis.CODE in parent.basis and kind in _CODE_KINDS:
                yield from _owed(parent, kind, self.code_terms(parent), outputs=False)

    def is_parent(self, name: str) -> bool:
        """Return whether a name means one of the parents."""
        return any(names.means(name, p.name) or names.means(p.name, name) for p in self.parents)


_CODE_KINDS = frozenset({"copy", "changes", "keep_notices", "notice_file"})
_CODE_ALONE = frozenset({"changes", "keep_notices", "notice_file"})


def _owed(parent: Parent, kind: str, terms: Terms, outputs: bool) -> Iterator[Debt]:
    if terms.not_in_force:
        for licence in terms.not_in_force:
            yield Debt(parent, licence, None, (RuleStatus.NOT_APPLICABLE, "not_in_force"))
        return
    latest = _agreed(terms.options, kind)
    if terms.options and latest is None:
        yield Debt(parent, None, None, (RuleStatus.CANNOT_TELL, "terms_open"), terms.options)
        return
    binding = terms.licences or ((latest,) if latest else ())
    versions = terms.options if latest and not terms.licences else ()
    if not binding:
        yield Debt(parent, None, None, (RuleStatus.CANNOT_TELL, "terms_unknown"))
        return
    for licence in binding:
        asked = licence.asks(kind)
        if not asked:
            yield Debt(parent, licence, None, (RuleStatus.NOT_APPLICABLE, "not_asked"), versions)
        for obligation in asked:
            spared = outputs and not obligation.outputs
            reason = (RuleStatus.NOT_APPLICABLE, "outputs_not_reached") if spared else None
            yield Debt(parent, licence, obligation, reason, versions)


def _agreed(options: Sequence[Licence], kind: str) -> Licence | None:
    """Return the latest of several possible versions where all of them ask the same of this kind, else None."""
    asked = {
        tuple((o.line, o.phrases, o.part, o.rule, o.link, o.outputs) for o in x.asks(kind)) for x in options
    }
    if len(asked) != 1 or len({x.family for x in options}) != 1:
        return None
    return max(options, key=lambda x: str(x.valid_from or ""))


def _not_for_code(parent: Parent, kind: str, terms: Terms) -> Iterator[Debt]:
    """The model's licence binds who takes the model: the design in public code is not its material."""
    for licence in terms.licences or terms.options or terms.not_in_force:
        for obligation in licence.asks(kind):
            yield Debt(parent, licence, obligation, (RuleStatus.NOT_APPLICABLE, "architecture_only"))


def make(
    repository: Repository,
    claims: Sequence[Claim],
    parents: Sequence[Parent] = (),
    findings: Sequence[Parent] = (),
    beside: Sequence[Beside] = (),
) -> Context:
    """Return the context: parents from the caller, from evidence and from the claims, united and dated.

    A claim that is less exact than a parent already known ("Llama 3" beside ``meta-llama/Meta-Llama-3-8B``) adds no
    parent of its own.
    """
    known = list(united((*findings, *parents)))
    for entry in claimed(claims):
        vague = not any(names.same(entry.name, p.name) for p in known)
        if vague and any(names.means(entry.name, p.name) for p in known):
            continue
        known.append(entry)
    return Context(repository, tuple(claims), dated(united(known), repository), tuple(beside))
