"""The walk: open what is at hand -> serve local models -> ask -> judge -> report. A replay takes the same path."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filiation._version import __version__
from filiation.endpoint.budget import Budget
from filiation.endpoint.client import Endpoint
from filiation.endpoint.joined import Joined
from filiation.endpoint.keys import Key, from_environment, from_keyring
from filiation.endpoint.model import Asker, EndpointRecord, Spent
from filiation.endpoint.patience import Patience
from filiation.endpoint.replay import Replay
from filiation.endpoint.serving.local import serve
from filiation.endpoint.session import Announcement, Session, agreed, commitment
from filiation.endpoint.sheets import AnswerSheet
from filiation.errors import LogError, UsageError
from filiation.evidence import Outcome, ProbeRelation
from filiation.probing import battery
from filiation.probing.materials import Materials, open_materials
from filiation.probing.records import Asked, Commitment, ProbeReport, TokenizerFile
from filiation.probing.request import Party, Request
from filiation.probing.verdict import judge

Progress = Callable[[str, int, int | None], None]
_SHEET = "sheet"
"""Under which name a log keeps the sheet of a chat site that was asked by hand."""
_KEYRING = "keyring:"
_LIMITS = ("proxy", "checkpoint", "distillation", "controls", "identity")


@dataclass(frozen=True)
class Means:
    """What a live probe may use, beside the request.

    Attributes:
        log: the file that every exchange is written to.
        budget: the most that is used.
        consent: asked once, before the first request.
        resume: go on with the log of a probe that was interrupted.
        patience: how long to wait, and how often to try.
    """

    log: Path
    budget: Budget = field(default_factory=Budget)
    consent: Callable[[Announcement], bool] = agreed
    resume: bool = False
    patience: Patience | None = None


def examine(
    request: Request, means: Means, progress: Progress | None = None, sheet: AnswerSheet | None = None
) -> ProbeReport:
    """Ask live endpoints, write the log, and judge.

    Args:
        sheet: the suspect's answers, where a person asked it; the log keeps them.

    Raises:
        UsageError: the request contradicts itself, a key is missing, or consent was refused.
        InputError: a model or file that is at hand cannot be read; AccessDeniedError: an endpoint refuses the key.
        BudgetError: not even the first questions fit the budget. NetworkError: the endpoint cannot be reached.
    """
    request.check()
    tell = _stage(progress)
    tell("opening")
    materials = open_materials(request)
    keys = _keys(request)
    with ExitStack() as stack:
        parties = [p for p in request.parties() if sheet is None or p.role not in sheet.records]
        endpoints = [stack.enter_context(_endpoint(p, request, keys, tell)) for p in parties]
        tell("capabilities")
        session = stack.enter_context(
            Session(
                endpoints,
                budget=means.budget,
                seed=request.seed,
                consent=means.consent,
                log=means.log,
                resume=means.resume,
                patience=means.patience,
                about=request.about() | _kept(sheet),
            )
        )
        draft = judged(session if sheet is None else Joined(sheet, session), request, materials, tell)
        spent = _with(sheet, session.spent())
    return replace(draft, spent=spent, log_sha256=sha256_of(means.log))


def replay(log: Path, progress: Progress | None = None) -> ProbeReport:
    """Compute a report again from its log. Nothing is asked of anyone.

    Raises:
        LogError: the file is no log, is damaged, or ends before the probe did.
        InputError: a model or file that the answers were held against is no longer where it was, or is another.
    """
    asker = Replay(log)
    if not asker.finished:
        raise LogError(
            "The log ends before the probe did.",
            file=str(log),
            reason="It was interrupted.",
            next_step="Finish it: the same command once more, with --resume.",
        )
    about = dict(asker.about)
    sheet = _sheet(about.pop(_SHEET, None), log)
    request = Request.of(about, str(log))
    tell = _stage(progress)
    tell("opening")
    materials = open_materials(request)
    draft = judged(asker if sheet is None else Joined(sheet, asker), request, materials, tell)
    return replace(draft, spent=_with(sheet, asker.spent()), log_sha256=sha256_of(log))


def _kept(sheet: AnswerSheet | None) -> dict[str, Any]:
    """Return what a log keeps of a sheet: all of it, so that a replay needs no second file."""
    return {} if sheet is None else {_SHEET: {"name": sheet.path.name, "text": sheet.text}}


def _sheet(kept: Any, log: Path) -> AnswerSheet | None:
    if kept is None:
        return None
    try:
        return AnswerSheet("suspect", Path(str(kept["name"])), str(kept["text"]))
    except (KeyError, TypeError) as error:
        raise LogError(
            "The log does not hold the whole sheet.", file=str(log), reason="It was altered."
        ) from error


def _with(sheet: AnswerSheet | None, spent: Spent) -> Spent:
    """Add the questions that a person put."""
    if sheet is None:
        return spent
    by_role = {**spent.by_role, "suspect": sheet.answered}
    return replace(spent, requests=spent.requests + sheet.answered, by_role=by_role)


def judged(asker: Asker, request: Request, materials: Materials, tell: Callable[[str], None]) -> ProbeReport:
    """Run the tests and draw the conclusion; ``spent`` and the log's digest are filled in by the caller."""
    found = battery.run(asker, request, materials, tell)
    tests = [f.test for f in found]
    identity = {**materials.identity}
    shared = battery.standings(request, materials).values()
    verdict = judge(
        tests, identity, battery.attention(found), has_sibling=any(s.same_tokenizer for s in shared)
    )
    records = {role: _record(record, request) for role, record in asker.records.items()}
    undecided = any(t.outcome is Outcome.UNDECIDED for t in tests)
    limits = (*_LIMITS, "budget") if undecided else _LIMITS
    return ProbeReport(
        tool={"name": "filiation", "version": __version__},
        command={"name": "probe", **request.about()},
        models=Asked(
            suspect=records.pop("suspect"),
            others=tuple(records.values()),
            checkpoints=materials.checkpoints,
            tokenizers=tuple(
                TokenizerFile(t.name, t.digest or "", t.source) for t in materials.tokenizers if t.digest
            ),
            identity=identity,
            files=materials.files,
        ),
        verdict=verdict,
        tests=tuple(tests),
        evidence=tuple(e for f in found for e in f.evidence),
        spent=Spent(),
        commitment=Commitment(str(request.seed), commitment(request.seed)),
        log_sha256="",
        limits=limits if verdict.relation is not ProbeRelation.CANNOT_TEST else ("proxy", "identity"),
    )


def _record(record: EndpointRecord, request: Request) -> EndpointRecord:
    """Name a model of one's own by where it lies: the port it was served on means nothing to a reader."""
    local = next((p for p in request.parties() if p.role == record.role and p.is_local), None)
    return record if local is None else replace(record, locator=local.locator, model=local.model)


@contextmanager
def _endpoint(
    party: Party, request: Request, keys: Mapping[str, Key], tell: Callable[[str], None]
) -> Generator[Endpoint]:
    if party.is_local:
        tell("serving")
        with serve(Path(party.locator), name=party.model) as served:
            yield served.endpoint(party.role)
        return
    is_suspect = party.role == "suspect"
    speaks = request.dialect if is_suspect else ""
    stream = request.stream and is_suspect
    yield Endpoint(party.role, party.locator, party.model, speaks, keys.get(party.role), stream)


def _keys(request: Request) -> dict[str, Key]:
    """Return the keys by role.

    Raises:
        UsageError: a variable is not set, or names a role that nobody has.
    """
    roles = {p.role for p in request.parties() if not p.is_local}
    keys: dict[str, Key] = {}
    for entry in request.key_env:
        role, mark, variable = entry.partition("=")
        role, variable = (role, variable) if mark else ("suspect", entry)
        if role not in roles:
            raise UsageError(
                f"No endpoint has the role '{role}' that a key was given for.",
                next_step=f"Use one of: {', '.join(sorted(roles))}.",
            )
        keys[role] = _key(variable)
    return keys


def _key(source: str) -> Key:
    """Return the key of an environment variable, or of ``keyring:SERVICE/USER``."""
    if not source.startswith(_KEYRING):
        return from_environment(source)
    service, mark, user = source.removeprefix(_KEYRING).rpartition("/")
    if not mark or not service or not user:
        raise UsageError(
            "The keyring entry is not named.",
            next_step="Write it as keyring:SERVICE/USER, for example keyring:nova/me.",
        )
    return from_keyring(service, user)


def _stage(progress: Progress | None) -> Callable[[str], None]:
    return (lambda _: None) if progress is None else (lambda name: progress(name, 0, None))


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            whole.update(block)
    return whole.hexdigest()
