"""The published methods that are measured beside the tools, each with its paper and the line it is read at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.fingerprints import awm, huref, independence, reef, sigma
from benchmarks.fingerprints.subject import Subject
from benchmarks.peers_tools import APART, CANNOT, RELATED, UNJUDGED, Answer, json_object


@dataclass(frozen=True)
class Method:
    """One published method.

    Attributes:
        similarity: from suspect and candidate to a score; larger is closer.
        line: the score from which it reads "related", None where no paper says.
        threshold: where the line comes from, in words.
    """

    name: str
    arxiv: str
    similarity: Callable[[Subject, Subject], float]
    line: float | None
    threshold: str

    @property
    def title(self) -> str:
        """The name with the paper, as tables have it."""
        return f"{self.name} ({self.arxiv})"


METHODS = (
    Method("HuRef ICS", "2312.04828", huref.similarity, None, "no threshold documented"),
    Method("REEF", "2410.14273", reef.similarity, None, "no threshold documented"),
    Method(
        "AWM",
        "2510.06738",
        awm.similarity,
        awm.LINE,
        "no threshold documented; three deviations over the published independent pairs (0.0122)",
    ),
    Method(
        "CSW",
        "2502.12292",
        independence.csw,
        independence.LINE,
        "a p-value without a documented level; 1e-6, the authors' level for pairs of layers",
    ),
    Method(
        "MATCH",
        "2502.12292",
        independence.match,
        independence.LINE,
        "a p-value without a documented level; 1e-6, the authors' level for pairs of layers",
    ),
    Method("sigma curve", "2507.03014", sigma.similarity, sigma.LINE, "0.7, the paper's rule of thumb"),
)


def read(method: Method, text: str, code: int) -> Answer:
    """Read what ``python -m benchmarks.fingerprints`` printed."""
    found = json_object(text)
    if found is None or code:
        return Answer(CANNOT, reason="no answer")
    if "cannot" in found:
        return Answer(CANNOT, reason=str(found["cannot"]))
    score = float(found["score"])
    if method.line is None:
        return Answer(UNJUDGED, score)
    return Answer(RELATED if score >= method.line else APART, score)
