"""Old ratings from a file: what another program found out about the same pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import InvalidRequest

MOST_BYTES = 4 * 2**20
RATINGS = range(-100_000, 100_001)
"""What a rating may be; what is beyond was meant as something else."""
_FORM = "Write lines of picture,rating, or a JSON object; a picture is its number or its file's SHA-256."


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


def ratings_by_candidate(session: Session, contest_id: int, ratings: dict[str, int]) -> dict[int, int]:
    """The same by candidate of a contest.

    Raises:
        InvalidRequest: a picture does not take part in the contest, or is named in both ways.
    """
    rows = rows_of(session, _MEMBERS, {"contest": contest_id})
    known = {str(row.candidate_id): row.candidate_id for row in rows} | {
        row.sha256: row.candidate_id for row in rows
    }
    found: dict[int, int] = {}
    for picture, rating in ratings.items():
        candidate = known.get(picture.lower())
        if candidate is None:
            raise InvalidRequest(
                f"Picture {picture} does not take part in contest {contest_id}.",
                hint="`persona-tui candidate list RUN` shows who does; nothing was imported.",
            )
        if candidate in found:
            raise InvalidRequest(f"Picture {candidate} is rated twice.", hint="Keep one of the two lines.")
        found[candidate] = rating
    return found


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
SELECT i.id AS candidate_id, i.sha256 FROM contest_members m
JOIN image_candidates i ON i.id = m.image_candidate_id WHERE m.contest_id = :contest
"""
