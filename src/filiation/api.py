"""The Python interface: what ``filiation.compare`` returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from filiation.comparison import Progress, compare_models
from filiation.errors import MissingExtraError
from filiation.evidence import Evidence, Report, Verdict, plain, to_json

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EvidenceTable(Sequence[Evidence]):
    """The evidence records, with tables on request."""

    records: tuple[Evidence, ...]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Evidence]:
        return iter(self.records)

    @overload
    def __getitem__(self, index: int) -> Evidence: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Evidence, ...]: ...
    def __getitem__(self, index: int | slice) -> Evidence | tuple[Evidence, ...]:
        return self.records[index]

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat dictionary per record (nested fields as ``part_layer`` and the like)."""
        return [_flat(plain(record)) for record in self.records]

    def to_arrow(self) -> Any:
        """Return a pyarrow table.

        Raises:
            MissingExtraError: pyarrow is not installed (extra ``arrow``).
        """
        try:
            import pyarrow
        except ImportError as error:
            raise MissingExtraError("Arrow output", "arrow", "pyarrow") from error
        return pyarrow.Table.from_pylist(self.rows())

    def to_pandas(self) -> pd.DataFrame:
        """Return a pandas data frame.

        Raises:
            MissingExtraError: pandas is not installed (extra ``pandas``).
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError("pandas output", "pandas", "pandas") from error
        return pandas.DataFrame(self.rows())


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    part = record.pop("part")
    scalars = {k: v for k, v in record.items() if not isinstance(v, dict | list)}
    return {**scalars, **{f"part_{k}": v for k, v in part.items()}}


@dataclass(frozen=True)
class Comparison:
    """What a comparison found. ``report`` holds everything; the properties are short cuts."""

    report: Report

    @property
    def verdict(self) -> Verdict:
        """The verdict over all candidates."""
        return self.report.verdict

    @property
    def evidence(self) -> EvidenceTable:
        """Every record, tests that did not run included."""
        return EvidenceTable(self.report.evidence)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types."""
        return self.report.to_dict()

    def to_json(self) -> str:
        """Return the report's canonical JSON."""
        return to_json(self.report)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()  # pyright: ignore[reportPrivateUsage]


def compare(
    suspect: str,
    *candidates: str,
    full: bool = False,
    budget: int | None = None,
    base: str | None = None,
    seed: str | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare a suspect with one or several candidates.

    Args:
        suspect: a folder, a file, a hub id ``org/name[@revision]``, ``hf://``, ``https://`` or ``s3://`` locator.
        candidates: one or more of the same.
        full: read every byte for the inheritance map and the derivation.
        budget: most bytes to read from each model; by default 1 GB from remote models, no bound on local ones.
        base: the suspect's base model, where the suspect is a PEFT adapter.
        seed: a word that enters the choice of what a partial reading reads; drawn after the files were fixed, it
            keeps whoever made them from knowing that choice.
        progress: called with ``(stage, done, total)``.

    Raises:
        UsageError: no candidate given. InputError: a model is missing, unreadable, corrupt or cannot be named.

    Example:
        >>> import filiation
        >>> comparison = filiation.compare("examples/models/fine-tuned", "examples/models/base")
        >>> str(comparison.verdict.relation)
        'common_origin'
    """
    return Comparison(
        compare_models(suspect, candidates, full=full, budget=budget, base=base, seed=seed, progress=progress)
    )
