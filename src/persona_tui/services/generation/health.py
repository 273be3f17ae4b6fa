"""What the engine tells about itself: endpoints, their jobs with progress, and sentences on what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from persona_tui.errors import ClientError, PersonaError


@dataclass(frozen=True)
class EndpointStatus:
    """A ComfyUI server as the engine sees it.

    Attributes:
        healthy: it answered when it was last asked.
        queue: prompts that it holds, ours and others'.
        sentence: what is wrong, or what it is.
        version: of ComfyUI; empty while it is not known.
        vram_free, vram_total: bytes of all its cards; None unknown, 0 in total without a card.
        depth: how many of our jobs it is to hold.
    """

    url: str
    healthy: bool
    queue: int
    sentence: str
    version: str = ""
    vram_free: int | None = None
    vram_total: int | None = None
    depth: int = 0


@dataclass(frozen=True)
class JobStatus:
    """A job on a server.

    Attributes:
        step: position of its step in the run.
        progress: 0 to 1 of the node that runs.
        started: when it was first seen to run; None while it waits.
        endpoint: address of the server.
        queue_position: prompts before it there, ours and others'; 0 runs, None is not known.
    """

    job_id: int
    run_id: int
    step: int
    progress: float
    started: datetime | None
    endpoint: str = ""
    queue_position: int | None = None


@dataclass(frozen=True)
class EngineStatus:
    """All endpoints and all jobs that are on them.

    Attributes:
        notices: what holds pictures up though servers are well: the day's budget is spent, the disk is full.
    """

    endpoints: tuple[EndpointStatus, ...]
    jobs: tuple[JobStatus, ...]
    notices: tuple[str, ...] = ()


def sentence_of(problem: Exception) -> str:
    """What the operator is told of a failure; the log holds the rest."""
    if isinstance(problem, PersonaError):
        return problem.message
    return f"Generation tripped ({type(problem).__name__}); it goes on, and the log has the details."


class Health:
    """Whether an endpoint's work goes well, and since when the endpoint does not answer."""

    def __init__(self) -> None:
        self.healthy = False
        self.sentence = "Not asked yet."
        self.failures = 0
        self.away_since: float | None = None

    def answered(self, sentence: str) -> None:
        """The endpoint answered; whether the rest of the round goes well is not known yet."""
        self.healthy, self.sentence, self.away_since = True, sentence, None

    def well(self, sentence: str) -> None:
        """A whole round of work went well."""
        self.healthy, self.sentence, self.failures = True, sentence, 0

    def trouble(self, problem: Exception, now: float) -> None:
        """Something failed, here or there; `now` on the loop's clock."""
        self.healthy, self.sentence = False, sentence_of(problem)
        self.failures += 1
        if isinstance(problem, ClientError) and self.away_since is None:
            self.away_since = now


class Fleet:
    """The health of all endpoints, by address."""

    def __init__(self, urls: Iterable[str]) -> None:
        self.health = {url: Health() for url in urls}
        self.notices: tuple[str, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        """All endpoints."""
        return tuple(self.health)

    def healthy(self) -> tuple[str, ...]:
        """Endpoints at which all goes well."""
        return tuple(url for url, health in self.health.items() if health.healthy)

    def away(self, now: float, longer_than: float) -> tuple[str, ...]:
        """Endpoints that have not answered for so many seconds; `now` on the loop's clock."""
        return tuple(
            url
            for url, health in self.health.items()
            if health.away_since is not None and now - health.away_since > longer_than
        )
