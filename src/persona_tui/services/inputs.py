"""From outside values to checked input models: nothing reaches a table row unvalidated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic_core import ErrorDetails
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
        raise InvalidRequest(
            f"{field.capitalize()}: {_reason(first)}.", hint="Correct it and try again."
        ) from None


_REASONS = {
    "missing": "is missing",
    "extra_forbidden": "is no field there",
    "string_too_short": "has fewer than {min_length} characters",
    "string_too_long": "has more than {max_length} characters",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "decimal_parsing": "must be a number",
    "finite_number": "must be a number",
    "bool_parsing": "must be yes or no",
    "date_from_datetime_parsing": "must be a date such as 2026-11-24",
    "literal_error": "must be {expected}",
}
"""Pydantic's kinds of errors in words of people; its own are kept for all others."""


def _reason(problem: ErrorDetails) -> str:
    words, bounds = _REASONS.get(problem["type"]), problem.get("ctx", {})
    if bounds.get("min_length") == 1 and not problem["input"]:
        return "must not be empty"
    if words is None:
        return problem["msg"].removeprefix("Value error, ").rstrip(".")
    return words.format_map(bounds)


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
