"""A source as the opening hands it on: narrowed to the file that was named, held to a byte budget, kept if small."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filiation.checkpoint.shards import companions, is_weight_name
from filiation.checkpoint.sources.base import Source
from filiation.checkpoint.sources.ranges import HEAD
from filiation.errors import BudgetError, InputError
from filiation.evidence import FileRecord

#: Settings that are read when a model is opened, beside the headers of its weights.
READ_AT_OPENING = ("config.json",)


class SourceView:
    """A source without the weight files that the caller did not mean.

    Attributes:
        chosen: the weight file that the caller named, or None for a whole folder.
        notes: what the source had to assume.
        kept: whether what is read of it stays in memory, so that no byte is read twice.
        read_into: the source's own reading without a copy, or None. ``read_pieces_into`` the same of pieces that lie
            apart, where no byte is counted.
    """

    def __init__(
        self,
        source: Source,
        budget: int | None = None,
        keep: int | None = None,
        opening: int | None = None,
    ) -> None:
        """Narrow a source.

        Args:
            source: the place.
            budget: bytes that may be read of it.
            keep: files of at most so many bytes in all, on this machine, are each read once, whole, and kept.
            opening: bytes that may be read of it until :meth:`opened` is called, where there is no budget.
        """
        self._source = source
        self._budget = opening if budget is None else budget
        self._only_opening = budget is None and opening is not None
        self._fetched: set[tuple[str, int, int]] = set()
        self._seen: set[str] = set()
        self.chosen: str | None = getattr(source, "chosen", None)
        self.notes: tuple[str, ...] = tuple(getattr(source, "notes", ()))
        names = [record.name for record in source.files()]
        meant = companions(self.chosen, names) if self.chosen is not None else set(names)
        self._hidden = frozenset(n for n in names if is_weight_name(n) and n not in meant)
        into: Callable[[str, int, memoryview], None] | None = getattr(source, "read_into", None)
        self.read_into = into if into is None or self._budget is None else self._counted(into)
        self._whole: dict[str, bytes] = {}
        self.kept = keep is not None and self._is_within(keep)
        if self.kept:
            self.read_into = self._copy
        is_free = self._budget is None and not self.kept
        self.read_pieces_into: Any = getattr(source, "read_pieces_into", None) if is_free else None

    @property
    def locator(self) -> str:
        """What the caller wrote."""
        return self._source.locator

    @property
    def name(self) -> str:
        """A short display name."""
        return self._source.name

    @property
    def revision(self) -> str | None:
        """The commit a hub id resolved to, or None."""
        return self._source.revision

    @property
    def bytes_read(self) -> int:
        """Bytes read so far, of all files."""
        return self._source.bytes_read

    @property
    def left(self) -> int | None:
        """Bytes that the opening may still read; None where it is not bound, or reads whole files and keeps them."""
        bound = self._budget if self._only_opening and not self.kept else None
        return None if bound is None else max(0, bound - self.bytes_read)

    def opened(self) -> None:
        """Lift the bound of the opening: from here on the caller holds its reads to what it means to read."""
        if self._only_opening:
            self._budget, self._only_opening = None, False

    @property
    def refused(self) -> Mapping[str, InputError]:
        """Names that are there but may not be read, with the error each raises."""
        found: Mapping[str, InputError] = getattr(self._source, "refused", {})
        return {name: error for name, error in found.items() if name not in self._hidden}

    def files(self) -> Sequence[FileRecord]:
        """Every file but the weights of other models."""
        return [record for record in self._source.files() if record.name not in self._hidden]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes ``start:stop`` of a file.

        Raises:
            BudgetError: it would be more than the budget allows.
        """
        if self.kept or (name in READ_AT_OPENING and (start, stop) == (0, None)):
            return self._part(
                name, start, stop
            )  # settings are asked for twice: by the format, and by the opening
        return self._fetch(name, start, stop)

    def _fetch(self, name: str, start: int, stop: int | None) -> bytes:
        if self._only_opening:
            self._require_head(name)
        if self._budget is not None:
            end = stop if stop is not None else next((f.size for f in self.files() if f.name == name), start)
            if (name, start, end) not in self._fetched:
                self._spend(name, end - start)
        self._seen.add(name)
        return self._source.read(name, start, stop)

    def _require_head(self, name: str) -> None:
        """Refuse a remote place before anything is asked of it, where even the first requests bring too much."""
        if self._seen or self.local_path(name) is not None:
            return
        wanted = [f for f in self.files() if is_weight_name(f.name) or f.name in READ_AT_OPENING]
        heads = sum(min(f.size, HEAD) for f in wanted)
        if self._budget is not None and self._source.bytes_read + heads > self._budget:
            raise self._too_small(name, heads)

    def _is_within(self, most: int) -> bool:
        """Whether all files lie on this machine and are no larger than this together."""
        files = self.files()
        return sum(f.size for f in files) <= most and all(self.local_path(f.name) is not None for f in files)

    def _part(self, name: str, start: int, stop: int | None) -> bytes:
        if name not in self._whole:
            self._whole[name] = self._fetch(name, 0, None)
        whole = self._whole[name]
        if stop is not None and stop > len(whole):
            return self._source.read(name, start, stop)  # which says what is missing
        return whole[start:stop]

    def _copy(self, name: str, start: int, buffer: memoryview) -> None:
        buffer[:] = self._part(name, start, start + len(buffer))

    def prefetch(self, name: str, ranges: Sequence[tuple[int, int]]) -> None:
        """Pass the hint on.

        Raises:
            BudgetError: it would be more than the budget allows.
        """
        if self._budget is not None and self._source.local_path(name) is None:
            wanted = {(name, start, stop) for start, stop in ranges} - self._fetched
            self._spend(name, sum(stop - start for _, start, stop in wanted))
            self._fetched |= wanted  # reading these costs nothing more
        self._source.prefetch(name, ranges)

    def local_path(self, name: str) -> Path | None:
        """Return the file's path when it lies on this machine."""
        return self._source.local_path(name)

    def _counted(
        self, into: Callable[[str, int, memoryview], None]
    ) -> Callable[[str, int, memoryview], None]:
        def read_into(name: str, start: int, buffer: memoryview) -> None:
            self._spend(name, len(buffer))
            into(name, start, buffer)

        return read_into

    def _spend(self, name: str, count: int) -> None:
        if self._budget is None or self._source.bytes_read + count <= self._budget:
            return
        if self._only_opening:
            raise self._too_small(name, count)
        raise BudgetError(
            f"Reading on would take more than the budget of {self._budget} bytes.",
            file=name,
            reason=f"{self._source.bytes_read} bytes of {self.locator} were read, {count} more are needed.",
            next_step="Allow more with --budget BYTES, or download the model and name its folder.",
        )

    def _too_small(self, name: str, count: int) -> BudgetError:
        """Return the error of an opening that a budget does not allow; it names the smallest that would."""
        settings = sum(
            f.size for f in self.files() if f.name in READ_AT_OPENING and f.name not in (name, *self._seen)
        )
        least = self._source.bytes_read + count + settings
        return BudgetError(
            f"The budget of {self._budget:,} bytes is too small to open {self.locator}.",
            file=name,
            reason=f"Its headers and settings take {least:,} bytes or more, and no weight is read without them.",
            next_step=f"Allow at least that: --budget {least}",
        )
