"""Licences of weights: shown before first use, and acknowledged where they forbid commercial use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import NotAllowedNow
from persona_tui.gpu.dino import fingerprint
from persona_tui.gpu.training.families import Family
from persona_tui.services.safety import audit

ACTION = "licence.acknowledge"
KEPT = "That you have read it is kept in the audit trail."


@dataclass(frozen=True)
class Notice:
    """What has to be read of weights before they are used.

    Attributes:
        subject: what it is about, as the audit trail names it.
        details: what is kept there with it.
        of_base: it is the base model's, which a plan tells in any case.
    """

    subject: str
    sentence: str
    details: Mapping[str, str]
    of_base: bool = False


def unread(session: Session, family: Family, arcface: Path | None = None) -> tuple[Notice, ...]:
    """What nobody has acknowledged yet: of a base model, and of the ArcFace model that likeness goes by.

    Args:
        arcface: the operator's ONNX file; None where none is used.
    """
    found = [_of_base(family)] if not family.licence.commercial else []
    found += [_of_arcface(arcface)] if arcface is not None else []
    return tuple(one for one in found if not rows_of(session, _FIND, {"subject": one.subject}))


def acknowledge(session: Session, notices: tuple[Notice, ...], actor: str = "operator") -> None:
    """Write into the audit trail that they were read; a second time changes nothing."""
    for one in notices:
        if not rows_of(session, _FIND, {"subject": one.subject}):
            audit.append(session, actor=actor, action=ACTION, subject=one.subject, details=dict(one.details))


def require_acknowledged(session: Session, family: Family, arcface: Path | None = None) -> None:
    """See that all was acknowledged that has to be.

    Raises:
        NotAllowedNow: something was not.
    """
    missing = unread(session, family, arcface)
    if missing:
        raise NotAllowedNow(
            " ".join(one.sentence for one in missing),
            title="Licence not acknowledged",
            hint="Read it, then start with --accept-licence; that is kept in the audit trail.",
        )


def _of_base(family: Family) -> Notice:
    licence = family.licence
    return Notice(
        f"base_family:{family.name}",
        f"{family.title} may not be used commercially ({licence.name}, {licence.url}).",
        {"licence": licence.name, "url": licence.url, "model": family.title},
        of_base=True,
    )


def _of_arcface(path: Path) -> Notice:
    """Of a file, by its content: another model is another licence."""
    try:
        content = fingerprint(path)
    except OSError:
        content = path.name
    return Notice(
        f"arcface:{content}",
        f"{path.name} tells faces apart: most ArcFace models that are published, InsightFace's among them, "
        "are for research only.",
        {"licence": "of the operator's own ArcFace model", "model": path.name, "content": content},
    )


_FIND = "SELECT id FROM audit_events WHERE action = 'licence.acknowledge' AND subject = :subject LIMIT 1"
