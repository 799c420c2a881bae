"""Room disclosure: what a repository claims of its parents, which licences that invokes, and what is owed.

Nothing here is legal advice. An unknown licence is never read as permissive; what cannot be told is said.
"""

from filiation.disclosure.check import NOT_LEGAL_ADVICE, check, duties, evidence
from filiation.disclosure.claims import claims
from filiation.disclosure.desk import Left, Patch
from filiation.disclosure.fix import fix, patched
from filiation.disclosure.model import (
    Basis,
    Beside,
    CodeFinding,
    Licence,
    Obligation,
    Parent,
    Reading,
    Recognised,
    RuleResult,
    RuleStatus,
)
from filiation.disclosure.parents import from_code, from_report, given
from filiation.disclosure.recognise import fingerprint, recognise
from filiation.disclosure.registry import licences

__all__ = [
    "NOT_LEGAL_ADVICE",
    "Basis",
    "Beside",
    "CodeFinding",
    "Left",
    "Licence",
    "Obligation",
    "Parent",
    "Patch",
    "Reading",
    "Recognised",
    "RuleResult",
    "RuleStatus",
    "check",
    "claims",
    "duties",
    "evidence",
    "fingerprint",
    "fix",
    "from_code",
    "from_report",
    "given",
    "licences",
    "patched",
    "recognise",
]
