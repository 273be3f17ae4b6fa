"""Old ratings from a file: what another program found out about the same pictures."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path, PurePath, PureWindowsPath

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import InvalidRequest

MOST_BYTES = 4 * 2**20
RATINGS = range(-100_000, 100_001)
"""What a rating may be; what is beyond was meant as something else."""
_FORM = (
    "Write lines of picture,rating, or a JSON object; a picture is its number, or its file's name or SHA-256."
)


def read_ratings(file: Path) -> dict[str, int]:
    """Ratings by picture, as a CSV or JSON file names them; a heading line is skipped.

    Raises:
        InvalidRequest: no such file, too large, empty, a picture twice, or a rating that is no number.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise InvalidRequest(f"{file} is larger than {MOST_BYTES // 2**20} MiB.", hint=_FORM)
        words = file.read_text("utf-8-sig")
    except OSError as problem:
        raise InvalidRequest(f"{file} can't be read: {problem.strerror}.", hint="Check the path.") from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{file} is no text.", hint=_FORM) from None
    ratings: dict[str, int] = {}
    for picture, rating in _pairs(words):
        if picture in ratings:
            raise InvalidRequest(f"Picture {picture} is rated twice.", hint="Keep one of the two lines.")
        ratings[picture] = _number(picture, rating)
    if not ratings:
        raise InvalidRequest(f"{file} holds no rating.", hint=_FORM)
    return ratings


def ratings_by_candidate(
    session: Session, contest_id: int, ratings: dict[str, int], folder: Path
) -> dict[int, int]:
    """The same by candidate of a contest.

    Args:
        ratings: by a candidate's number, its file's SHA-256 or name in the media store, or by the name of a
            file in the folder, which counts by its content.

    Raises:
        InvalidRequest: a picture does not take part in the contest, takes part more than once, or is named
            in two ways.
    """
    known: dict[str, set[int]] = {}
    for row in rows_of(session, _MEMBERS, {"contest": contest_id}):
        for name in (str(row.candidate_id), row.sha256, PurePath(row.media_key).name.lower()):
            known.setdefault(name, set()).add(row.candidate_id)
    named = {picture: _named(picture, known, folder) for picture in ratings}
    unknown = [picture for picture, candidates in named.items() if not candidates]
    if unknown:
        raise InvalidRequest(
            f"{_listed(unknown)} not take part in contest {contest_id}.",
            hint="`persona-tui candidate list RUN` shows who does; nothing was imported.",
        )
    found: dict[int, int] = {}
    for picture, candidates in named.items():
        if len(candidates) > 1:
            numbers = ", ".join(map(str, sorted(candidates)))
            raise InvalidRequest(
                f"{picture} is the file of several pictures: {numbers}.", hint="Name them by number instead."
            )
        (candidate,) = candidates
        if candidate in found:
            raise InvalidRequest(f"Picture {candidate} is rated twice.", hint="Keep one of the two lines.")
        found[candidate] = ratings[picture]
    return found


def _named(picture: str, known: dict[str, set[int]], folder: Path) -> set[int]:
    """Candidates that go by a name; of a path, Windows' too, the last part counts."""
    name = picture.lower()
    found = known.get(name) or known.get(PureWindowsPath(name).name)
    return found or known.get(_content_of(folder / picture), set())


def _content_of(file: Path) -> str:
    """A file's SHA-256; empty where there is none that can be read."""
    try:
        if not file.is_file():
            return ""
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""


def _listed(pictures: Sequence[str]) -> str:
    """`Picture a.png does`, `Pictures a.png, b.png, c.png and 4 more do`."""
    if len(pictures) == 1:
        return f"Picture {pictures[0]} does"
    more = f" and {len(pictures) - 3} more" if len(pictures) > 3 else ""
    return f"Pictures {', '.join(pictures[:3])}{more} do"


def _pairs(words: str) -> list[tuple[str, object]]:
    if words.lstrip().startswith("{"):
        try:
            told = json.loads(words)
        except (ValueError, RecursionError):
            raise InvalidRequest("The ratings are no JSON that can be read.", hint=_FORM) from None
        return [(str(picture), rating) for picture, rating in told.items()]
    lines = [[cell.strip() for cell in line] for line in csv.reader(io.StringIO(words)) if any(line)]
    if any(len(line) != 2 for line in lines):
        raise InvalidRequest("A line of the ratings has not two columns.", hint=_FORM)
    heading = lines and not any(character.isdigit() for character in "".join(lines[0]))
    return [(picture, rating) for picture, rating in lines[1 if heading else 0 :]]


def _number(picture: str, rating: object) -> int:
    try:
        value = float(rating) if isinstance(rating, int | float | str) else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not RATINGS[0] <= value <= RATINGS[-1]:
        raise InvalidRequest(f"Picture {picture} has no rating: {str(rating)[:40]!r}.", hint=_FORM)
    return round(value)


_MEMBERS = """
SELECT i.id AS candidate_id, i.sha256, i.media_key FROM contest_members m
JOIN image_candidates i ON i.id = m.image_candidate_id WHERE m.contest_id = :contest
"""
