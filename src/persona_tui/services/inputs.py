"""From outside values to checked input models: nothing reaches a table row unvalidated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, PersonaError
from persona_tui.text import clean

Model = TypeVar("Model", bound=BaseModel)


class Input(BaseModel):
    """Base of all input models: unknown fields are errors, texts are cleaned."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _one_line(value: str) -> str:
    return clean(value, keep_lines=False)


Name = Annotated[str, AfterValidator(_one_line), StringConstraints(min_length=1, max_length=80)]
"""A cleaned single line of 1 to 80 characters."""
Line = Annotated[str, AfterValidator(_one_line), StringConstraints(max_length=300)]
"""A cleaned single line of up to 300 characters."""
Prose = Annotated[str, AfterValidator(clean), StringConstraints(max_length=20_000)]
"""A cleaned text of several lines."""


def validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Build an input model.

    Raises:
        InvalidRequest: names the first field that can't be used, and why.
    """
    try:
        return model.model_validate(values)
    except ValidationError as problem:
        first = problem.errors()[0]
        field = " ".join(str(part) for part in first["loc"]).replace("_", " ") or "the input"
        reason = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise InvalidRequest(f"{field.capitalize()}: {reason}.", hint="Correct it and try again.") from None


@contextmanager
def told(session: Session, sentences: Mapping[str, PersonaError]) -> Iterator[None]:
    """Flush at the end, and turn a broken constraint into the sentence that stands for it.

    Args:
        sentences: constraint name → the error to raise.
    """
    try:
        yield
        session.flush()
    except IntegrityError as problem:
        constraint = getattr(getattr(problem.orig, "diag", None), "constraint_name", None) or ""
        if constraint in sentences:
            raise sentences[constraint] from None
        raise
