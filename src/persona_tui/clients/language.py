"""What the language-model clients share: refused answers, reading JSON, and the type of a picture."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from persona_tui.errors import ServiceGarbled, ServiceRefused
from persona_tui.text import clean

Answer = TypeVar("Answer", bound=BaseModel)

_SIGNATURES = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
)


class AnswerBlocked(ServiceRefused):
    """The model's own safety rules kept back the answer, or refused the prompt."""

    title = "Answer was blocked"
    hint = "Change the words or the picture; until then the next writer takes over."


def read_answer(text: str, schema: type[Answer], service: str) -> Answer:
    """The JSON text as a value of the schema.

    Raises:
        ServiceGarbled: it is no JSON or does not fit; the message names the first field, not its content.
    """
    try:
        return schema.model_validate_json(text)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_context=False, include_input=False)[0]
        field = clean(".".join(str(part) for part in first["loc"]), keep_lines=False)[:80]
        where = f" at {field}" if field else ""
        raise ServiceGarbled(
            f"{service} answered with JSON that can't be used{where} ({first['type']}).",
            hint="Try again; if it stays so, choose another model.",
        ) from None


def cut_short(service: str) -> ServiceGarbled:
    """The error for an answer that hit the model's limit of length."""
    return ServiceGarbled(
        f"{service}'s answer was cut off at its limit of length.", hint="Ask for less at once."
    )


def media_type(picture: bytes) -> str:
    """The MIME type that the picture's first bytes tell.

    Raises:
        ValueError: neither JPEG, PNG, GIF nor WebP.
    """
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "image/webp"
    for signature, kind in _SIGNATURES:
        if picture.startswith(signature):
            return kind
    raise ValueError("a language model was handed a picture of an unknown kind")
