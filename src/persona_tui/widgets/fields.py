"""The fields of a form: what they hold, how it is written, and what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Field:
    """A line of text; the base of the other kinds.

    Attributes:
        name: key of the value in the form's result.
        label: shown before the field.
        value: what it holds at first.
        required: may not be left empty; an optional field left empty gives None (text: "").
        hint: dim words under the field while it has the focus.
        check: a last look at a value that is otherwise good; returns a sentence if it is not.
        implies: name and value of a choice that is taken as soon as something is typed here, because
            without it what is typed would say nothing.
    """

    name: str
    label: str
    value: Any = None
    required: bool = False
    hint: str = ""
    check: Callable[[Any], str | None] | None = None
    implies: tuple[str, Any] | None = None

    def written(self) -> str:
        """The first value as the operator would type it."""
        return "" if self.value is None else str(self.value)

    def read(self, typed: str) -> Any:
        """The value of what was typed.

        Raises:
            ValueError: a sentence on what is wrong.
        """
        if not typed.strip():
            if self.required:
                raise ValueError("Needs a value.")
            return self.nothing()
        value = self.parse(typed)
        problem = self.check(value) if self.check else None
        if problem:
            raise ValueError(problem)
        return value

    def parse(self, typed: str) -> Any:
        """The value of something typed.

        Raises:
            ValueError: a sentence on what is wrong.
        """
        return typed.strip()

    def nothing(self) -> Any:
        """The value of an optional field left empty."""
        return ""


@dataclass(frozen=True, kw_only=True)
class TextField(Field):
    """One line of text.

    Attributes:
        longest: most characters.
    """

    longest: int = 200

    def parse(self, typed: str) -> str:
        text = typed.strip()
        if len(text) > self.longest:
            raise ValueError(f"At most {self.longest} characters; this has {len(text)}.")
        return text


@dataclass(frozen=True, kw_only=True)
class SecretField(TextField):
    """A token or password: what is typed is shown as dots."""

    longest: int = 4096


@dataclass(frozen=True, kw_only=True)
class LongTextField(TextField):
    """Several lines of text.

    Attributes:
        rows: height of the field.
    """

    longest: int = 4000
    rows: int = 4


@dataclass(frozen=True, kw_only=True)
class NumberField(Field):
    """A number with a decimal point; gives a `Decimal`.

    Attributes:
        minimum: least value, if any.
        maximum: greatest value, if any.
    """

    minimum: Decimal | int | None = None
    maximum: Decimal | int | None = None

    def parse(self, typed: str) -> Decimal | int:
        try:
            number = Decimal(typed.strip().replace(",", "."))
        except InvalidOperation:
            raise ValueError("Must be a number, such as 2.5.") from None
        if not number.is_finite():
            raise ValueError("Must be a number, such as 2.5.")
        return self._in_range(number)

    def _in_range(self, number: Decimal | int) -> Decimal | int:
        if self.minimum is not None and number < self.minimum:
            raise ValueError(f"Must be at least {self.minimum}.")
        if self.maximum is not None and number > self.maximum:
            raise ValueError(f"Must be at most {self.maximum}.")
        return number

    def nothing(self) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class IntegerField(NumberField):
    """A whole number; gives an `int`."""

    def parse(self, typed: str) -> int:
        try:
            number = int(typed.strip())
        except ValueError:
            raise ValueError("Must be a whole number.") from None
        return int(self._in_range(number))


@dataclass(frozen=True, kw_only=True)
class DateField(Field):
    """A day, YYYY-MM-DD; gives a `date`.

    Attributes:
        earliest: first day allowed, if any.
        latest: last day allowed, if any.
    """

    earliest: date | None = None
    latest: date | None = None

    def parse(self, typed: str) -> date:
        try:
            day = date.fromisoformat(typed.strip())
        except ValueError:
            raise ValueError("Must be a day such as 2026-03-14.") from None
        if self.earliest is not None and day < self.earliest:
            raise ValueError(f"Not before {self.earliest}.")
        if self.latest is not None and day > self.latest:
            raise ValueError(f"Not after {self.latest}.")
        return day

    def nothing(self) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class MomentField(Field):
    """A day and a time, YYYY-MM-DD HH:MM, in the zone that the label names; gives a naive `datetime`."""

    def written(self) -> str:
        return f"{self.value:%Y-%m-%d %H:%M}" if self.value is not None else ""

    def parse(self, typed: str) -> datetime:
        try:
            moment = datetime.fromisoformat(" ".join(typed.split()))
        except ValueError:
            raise ValueError("Must be a day and a time such as 2026-03-14 09:30.") from None
        if moment.tzinfo is not None:
            raise ValueError("Without a zone: it is the one that the label names.")
        return moment

    def nothing(self) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class ChoiceField(Field):
    """One of several values, stepped through with the arrow keys.

    Attributes:
        choices: (value, label) pairs; the first one is taken when `value` is none of them.
    """

    choices: Sequence[tuple[Any, str]] = ()

    def index(self) -> int:
        """Index of the first value."""
        return next((i for i, (value, _) in enumerate(self.choices) if value == self.value), 0)

    def taken(self) -> Any:
        """The value that is shown at first."""
        return self.choices[self.index()][0]


@dataclass(frozen=True, kw_only=True)
class CheckField(Field):
    """Yes or no, shown as a choice; gives a `bool`."""
