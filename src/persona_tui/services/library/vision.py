"""Caption, objects and taste of a picture, asked of a language model that sees, all in one call."""

from __future__ import annotations

import re
from asyncio import to_thread
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field
from sqlmodel import Session

from persona_tui.errors import KeyRejected, ServiceRefused, ServiceUnreachable
from persona_tui.services.safety import guard
from persona_tui.services.writers import Writer, insist
from persona_tui.settings import Settings
from persona_tui.text import clean

SessionScope = Callable[[], AbstractContextManager[Session]]

_PROMPT_VERSION = 1
_MOST_OBJECTS = 20
_NUMBER = re.compile(r"\s*(-?\d+(?:[.,]\d+)?)\s*(%|(?:/|out of|of)\s*10)?\s*", re.IGNORECASE)
_SYSTEM = (
    "You describe pictures for a photo library: plainly, only what can be seen, no guesses about who a "
    "person is. Answer in JSON."
)
_PROMPT = (
    "Describe this picture.\n"
    "caption: one sentence of at most 200 characters that says what can be seen.\n"
    "objects: up to 12 things in it, each with a label of one or two words and your confidence from 0 to 1.\n"
    "aesthetic: how well made it is as a photograph, from 1 (poor) to 10 (outstanding): light, sharpness, "
    "composition, colour."
)


def _number(value: Any) -> Any:
    """A number that a model wrote as a word: `7/10`, `7,5`, `85 %`."""
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    number = float(match[1].replace(",", "."))
    return number / 100 if match[2] == "%" else number


def _words(value: Any) -> Any:
    return clean(value, keep_lines=False).strip() if isinstance(value, str) else value


def _objects(value: Any) -> Any:
    """The list, also of bare labels or as a table of label and confidence."""
    if isinstance(value, dict):
        value = [{"label": label, "confidence": confidence} for label, confidence in value.items()]
    if not isinstance(value, list):
        return value
    return [{"label": one, "confidence": 0.5} if isinstance(one, str) else one for one in value][
        :_MOST_OBJECTS
    ]


Share = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)]
Taste = Annotated[float, BeforeValidator(_number), Field(ge=1, le=10)]
Words = Annotated[str, BeforeValidator(_words)]


class SeenObject(BaseModel):
    """A thing in the picture."""

    label: Annotated[Words, Field(min_length=1, max_length=60)]
    confidence: Share


class Description(BaseModel):
    """What the model says; an answer that does not hold these bounds is refused as a whole."""

    caption: Annotated[Words, Field(min_length=1, max_length=600)]
    objects: Annotated[list[SeenObject], BeforeValidator(_objects)]
    aesthetic: Taste


class Away(Exception):
    """The model can't be asked at all now: what waits goes on waiting."""


def models_of(settings: Settings) -> tuple[str, ...]:
    """Names of the models that are shown pictures; `Resources.seers` has them in the same order."""
    by = settings.vision.by
    local = by in {"local", "both"} and settings.local_llm.base_url is not None
    gemini = by in {"gemini", "both"} and settings.gemini.api_key is not None
    return (*([settings.local_llm.model] if local else []), *([settings.gemini.model] if gemini else []))


def version_of(settings: Settings) -> str:
    """Models and prompt; another one calls for asking anew."""
    return f"{' or '.join(models_of(settings))}, prompt {_PROMPT_VERSION}"


def lack_of(settings: Settings) -> str:
    """Why no picture can be described here, and what to do; empty when one can."""
    if settings.vision.by == "off":
        return "Descriptions are switched off: set PERSONA_VISION__BY to local, gemini or both."
    if models_of(settings):
        return ""
    if settings.vision.by == "local":
        return "No local vision model: set PERSONA_LOCAL_LLM__BASE_URL, or PERSONA_VISION__BY=gemini."
    return "No vision model: set PERSONA_GEMINI__API_KEY or PERSONA_LOCAL_LLM__BASE_URL."


async def describe(
    scope: SessionScope, seers: Sequence[Writer], picture: bytes, *, persona_id: int, subject: str
) -> tuple[Description, str]:
    """Ask for a description; nothing leaves this machine that the guard did not let through.

    Args:
        picture: JPEG of at most 1024 px, without EXIF.
        subject: `table:id`, for the audit trail.

    Returns:
        It, and the name of the model that gave it.

    Raises:
        Away: nobody can be reached, or the key or quota is refused.
        GuardRefused, ClientError: this picture can't be described.
    """

    def let_through() -> tuple[Any, Any, Any]:
        with scope() as session:
            return (
                guard.pass_text(session, _SYSTEM, purpose="language_model", persona_id=persona_id),
                guard.pass_text(session, _PROMPT, purpose="language_model", persona_id=persona_id),
                guard.pass_picture(
                    session, picture, purpose="language_model", persona_id=persona_id, subject=subject
                ),
            )

    system, prompt, passed = await to_thread(let_through)
    try:
        return await insist(seers, system, prompt, pictures=(passed,), schema=Description)
    except (ServiceUnreachable, KeyRejected) as problem:
        raise Away(problem.message) from None
    except ServiceRefused as problem:
        if problem.status in {404, 429}:  # no such model, no quota; a 500 may be about this very picture
            raise Away(problem.message) from None
        raise
