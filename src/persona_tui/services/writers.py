"""Who writes: Gemini first, then a local model; the caller has a template when both are away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog
from pydantic import BaseModel

from persona_tui.errors import ClientError
from persona_tui.passed import Passed

Answer = TypeVar("Answer", bound=BaseModel)

log = structlog.get_logger()


class LanguageModel(Protocol):
    """A client that answers a prompt with a value of a schema."""

    async def generate(
        self,
        system: Passed[str],
        prompt: Passed[str],
        *,
        pictures: Sequence[Passed[bytes]] = (),
        schema: type[Answer],
    ) -> Answer: ...


@dataclass(frozen=True)
class Writer:
    """A language model under the name that is kept with what it wrote."""

    name: str
    model: LanguageModel


async def ask(
    writers: Sequence[Writer],
    system: Passed[str],
    prompt: Passed[str],
    *,
    pictures: Sequence[Passed[bytes]] = (),
    schema: type[Answer],
) -> tuple[Answer, str] | None:
    """Ask one writer after another.

    Returns:
        The first answer with its writer's name; None when there is no writer or none could answer.
    """
    try:
        return await insist(writers, system, prompt, pictures=pictures, schema=schema)
    except ClientError:
        return None


async def insist(
    writers: Sequence[Writer],
    system: Passed[str],
    prompt: Passed[str],
    *,
    pictures: Sequence[Passed[bytes]] = (),
    schema: type[Answer],
) -> tuple[Answer, str]:
    """The same, for work that can't be done without an answer.

    Raises:
        ClientError: of the last writer, or that there is none.
    """
    last = ClientError("There is no language model to ask.")
    for writer in writers:
        try:
            answer = await writer.model.generate(system, prompt, pictures=pictures, schema=schema)
        except ClientError as problem:
            log.warning("writer failed", writer=writer.name, problem=problem.message)
            last = problem
            continue
        return answer, writer.name
    raise last
