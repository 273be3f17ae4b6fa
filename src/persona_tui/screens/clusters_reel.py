"""A listing of any length seen through a window: only what lies around the cursor is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, overload

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.library.pictures import LibraryPicture, Mark, Page

CHUNK = 60
"""Pictures read by one statement."""


class Source(Protocol):
    """Where a listing comes from."""

    def page(self, session: Session, after: Mark | None, backwards: bool) -> Page:
        """The next pictures behind a mark, or those before it."""


@dataclass(frozen=True)
class Reel(Sequence["LibraryPicture | None"]):
    """The pictures that are loaded, at their places in the whole listing; all others are None.

    Attributes:
        first: place of the first loaded one.
        pages: what is loaded, one behind the other.
        total: how many there are in all; None while that is not known.
    """

    first: int = 0
    pages: tuple[Page, ...] = ()
    total: int | None = None

    @property
    def pictures(self) -> tuple[LibraryPicture, ...]:
        """What is loaded."""
        return tuple(picture for page in self.pages for picture in page.pictures)

    @property
    def last(self) -> int:
        """Place behind the last loaded one."""
        return self.first + sum(len(page.pictures) for page in self.pages)

    @property
    def goes_on(self) -> bool:
        """Whether there are pictures behind those that are loaded."""
        return bool(self.pages) and self.pages[-1].end is not None

    def __len__(self) -> int:
        """Of the whole listing; until it is counted, as far as it is known to reach."""
        return max(self.total or 0, self.last + 1) if self.goes_on else self.last

    @overload
    def __getitem__(self, index: int) -> LibraryPicture | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LibraryPicture | None]: ...
    def __getitem__(self, index: int | slice) -> LibraryPicture | Sequence[LibraryPicture | None] | None:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = index - self.first
        for page in self.pages if place >= 0 else ():
            if place < len(page.pictures):
                return page.pictures[place]
            place -= len(page.pictures)
        return None

    def lacks(self, low: int, high: int) -> bool:
        """Whether some of the places from `low` to before `high` exist and are not loaded."""
        return max(low, 0) < self.first or (min(high, len(self)) > self.last and self.goes_on)


def wound(session: Session, source: Source, reel: Reel, low: int, high: int) -> Reel:
    """The listing with the places from `low` to before `high` loaded, and little else.

    Near pictures are read on from the last mark, the first and the last from their own end.
    Where the listing turns out to begin elsewhere than was counted, its places are numbered anew.
    """
    low = max(low, 0)
    if not reel.pages or (low < reel.first and low < CHUNK):
        reel = replace(reel, first=0, pages=(source.page(session, None, False),))
    elif reel.total is not None and high >= reel.total and reel.goes_on and reel.last < low:
        page = source.page(session, None, True)
        reel = replace(reel, first=max(reel.total - len(page.pictures), 0), pages=(page,))
    while reel.lacks(low, high):
        if low < reel.first and (mark := reel.pages[0].start) is not None:
            page = source.page(session, mark, True)
            reel = replace(reel, first=reel.first - len(page.pictures), pages=(page, *reel.pages))
        elif reel.first > low:
            reel = replace(reel, first=0)
        else:
            page = source.page(session, reel.pages[-1].end, False)
            reel = replace(reel, pages=(*reel.pages, page))
    if reel.first < 0 or (reel.first > 0 and reel.pages[0].start is None):
        reel = replace(reel, first=0)
    return _trimmed(reel, low, high)


def reread(session: Session, source: Source, reel: Reel, low: int, high: int) -> Reel:
    """The same part of the listing as it is now; not counted anew."""
    mark = reel.pages[0].start if reel.pages else None
    if mark is None:
        reel = replace(reel, first=0, pages=())
    else:
        page = source.page(session, mark, True)
        reel = replace(reel, first=reel.first - len(page.pictures), pages=(page,))
    return wound(session, source, reel, low, high)


def _trimmed(reel: Reel, low: int, high: int) -> Reel:
    """Without the pages that lie more than one beyond what is asked for."""
    first, pages = reel.first, list(reel.pages)
    while len(pages) > 1 and first + len(pages[0].pictures) < low - CHUNK:
        first += len(pages.pop(0).pictures)
    last = reel.last
    while len(pages) > 1 and last - len(pages[-1].pictures) > high + CHUNK:
        last -= len(pages.pop().pictures)
    return replace(reel, first=first, pages=tuple(pages))
