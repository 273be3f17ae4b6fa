"""The one door: every text, picture and workflow passes here on its way out, or does not go.

Holds the process's seal, so that nothing else can make a `Passed` value (R31). Each verdict is an audit
event with the content's hash; a refusal is kept even though the transaction around it rolls back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from sqlalchemy import event
from sqlmodel import Session

from persona_tui.errors import GuardRefused, UnknownName
from persona_tui.models.persona import Persona
from persona_tui.passed import Passed, Workflow, content_hash
from persona_tui.seal import take_seal
from persona_tui.services.safety import audit
from persona_tui.services.safety.audit import Happened
from persona_tui.services.safety.rules import Finding, examine

Purpose = Literal["generator", "trainer", "language_model", "post"]

_SEAL = take_seal()


def pass_text(session: Session, text: str, *, purpose: Purpose, persona_id: int | None) -> Passed[str]:
    """Let a text through or refuse it.

    Raises:
        GuardRefused: a rule forbids it, or the persona does not declare an adult age.
    """
    _require_adult(session, persona_id)
    _judge(session, text, examine(text), purpose=purpose, persona_id=persona_id)
    return Passed(text, seal=_SEAL)


@dataclass(frozen=True)
class Asked:
    """A ComfyUI graph that wants to go out; `subject`: `table:id` of what it is for."""

    workflow: Workflow
    persona_id: int | None
    subject: str = ""


def pass_workflow(
    session: Session, workflow: Workflow, *, persona_id: int | None, subject: str = ""
) -> Passed[Workflow]:
    """Let a ComfyUI graph through as a whole: all its texts are read together.

    Raises:
        GuardRefused: a rule forbids what its texts say together.
    """
    (verdict,) = pass_workflows(session, [Asked(workflow, persona_id, subject)])
    if isinstance(verdict, GuardRefused):
        raise verdict
    return verdict


def pass_workflows(session: Session, asked: Sequence[Asked]) -> tuple[Passed[Workflow] | GuardRefused, ...]:
    """Judge ComfyUI graphs, each as a whole; a refusal is returned, so that the others go on."""
    verdicts: list[Passed[Workflow] | GuardRefused] = []
    passes: list[Happened] = []
    for one in asked:
        try:
            _require_adult(session, one.persona_id)
            finding = examine("\n".join(_texts(one.workflow)))
            happened = _verdict(
                one.workflow, finding, purpose="generator", persona_id=one.persona_id, subject=one.subject
            )
            if finding is not None:
                _refuse(session, happened, finding)
        except GuardRefused as refused:
            verdicts.append(refused)
        else:
            passes.append(happened)
            verdicts.append(Passed(one.workflow, seal=_SEAL))
    audit.append_all(session, passes)
    return tuple(verdicts)


def pass_picture(
    session: Session, picture: bytes, *, purpose: Purpose, persona_id: int | None, subject: str = ""
) -> Passed[bytes]:
    """Let a picture through; its persona must declare an adult age.

    Raises:
        GuardRefused: the persona does not declare an adult age.
    """
    _require_adult(session, persona_id)
    _judge(session, picture, None, purpose=purpose, persona_id=persona_id, subject=subject)
    return Passed(picture, seal=_SEAL)


def pass_film(
    session: Session, film: Path, *, purpose: Purpose, persona_id: int | None, subject: str = ""
) -> Passed[Path]:
    """Let a film through, as `pass_picture` a picture; it is read once, for its hash.

    Raises:
        GuardRefused: the persona does not declare an adult age.
    """
    _require_adult(session, persona_id)
    passed = Passed(film, seal=_SEAL)
    details = {"purpose": purpose}
    audit.append_all(session, [Happened("guard", "guard.pass", persona_id, subject, passed.sha256, details)])
    return passed


def _require_adult(session: Session, persona_id: int | None) -> None:
    if persona_id is None:
        return
    persona = session.get(Persona, persona_id)
    if persona is None:
        raise UnknownName("There is no such persona.", hint="`persona-tui persona list` shows them.")
    if persona.age < 18:
        raise GuardRefused("The persona does not declare an adult age.", hint="Personas are 18 or older.")


def _judge(
    session: Session,
    content: str | bytes,
    finding: Finding | None,
    *,
    purpose: Purpose,
    persona_id: int | None,
    subject: str = "",
) -> None:
    happened = _verdict(content, finding, purpose=purpose, persona_id=persona_id, subject=subject)
    if finding is not None:
        _refuse(session, happened, finding)
    audit.append_all(session, [happened])


def _verdict(
    content: str | bytes | Mapping[str, Any],
    finding: Finding | None,
    *,
    purpose: Purpose,
    persona_id: int | None,
    subject: str,
) -> Happened:
    return Happened(
        "guard",
        "guard.pass" if finding is None else "guard.refuse",
        persona_id,
        subject,
        content_hash(content),
        {"purpose": purpose} | ({"rule": finding.rule} if finding else {}),
    )


def _refuse(session: Session, happened: Happened, finding: Finding) -> NoReturn:
    _record_refusal(session, happened)
    raise GuardRefused(finding.sentence)


def _record_refusal(session: Session, happened: Happened) -> None:
    """Write the refusal with the commit, if one comes, or in a transaction of its own after the rollback."""
    written = False

    def with_commit(committing: Session) -> None:
        nonlocal written
        if not written:
            written = True
            audit.append_all(committing, [happened])

    def after_rollback(_rolled_back: Session) -> None:
        nonlocal written
        if not written:
            written = True
            with Session(session.get_bind()) as own, own.begin():
                audit.append_all(own, [happened])

    event.listen(session, "before_commit", with_commit, once=True)
    event.listen(session, "after_rollback", after_rollback, once=True)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield str(key)
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
