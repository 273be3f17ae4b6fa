"""Who is in a dataset's pictures: what keeps them from becoming nobody's."""

from __future__ import annotations

from sqlmodel import Session

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.manifest import Subject
from persona_tui.models.training import Dataset
from persona_tui.services.safety import consents


def require_not_withdrawn(session: Session, row: Dataset) -> None:
    """See that a dataset does not become another's because somebody has taken their consent back.

    Raises:
        InvalidRequest: somebody has.
    """
    given = None if row.consent_id is None else consents.get_consent(session, row.consent_id)
    if given is not None and given.state == "withdrawn":
        raise InvalidRequest(
            f"{row.name} holds pictures of {given.subject}, whose consent {given.id} was withdrawn.",
            title="No consent",
            hint="Make a new dataset without these pictures.",
        )


def require_as_fictional(row: Dataset, told: Subject, where: str) -> None:
    """See that nobody real comes into a dataset that is said to be fictional, as far as a manifest tells.

    What a manifest says permits nothing, but it may forbid.

    Args:
        told: by the manifest that pictures come from.
        where: it lies, for people.

    Raises:
        InvalidRequest: it says that somebody real is in its pictures.
    """
    if told == "real" and row.subject == "fictional":
        raise InvalidRequest(
            f"{where} says that somebody real is in its pictures, and {row.name} is said to be fictional.",
            title="No consent",
            hint="Record a consent, and name it: `persona-tui dataset subject PERSONA NAME --consent ID`.",
        )
