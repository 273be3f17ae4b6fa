"""How the stand-in behaves where the real service is slow, stale, or not documented."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Chance = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=86_400)]
SecondPublish = Literal["same_id", "not_found", "not_ready", "publish_again", "any"]


class Behaviour(BaseModel):
    """Settings of one stand-in, kept across its restarts. Times are the sandbox's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    container_seconds: Seconds = 0.3
    """From a container's creation to FINISHED."""
    fetch_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    """How long the crawler waits for a picture, by the machine's clock."""
    refuse_late: bool = False
    """A bad picture makes a container that turns to ERROR, instead of refusing the creation."""
    listing_delay: tuple[Seconds, Seconds] = (0.0, 0.0)
    """A published item shows in the listing after a time drawn from this range."""
    comment_delay: tuple[Seconds, Seconds] = (0.0, 0.0)
    """A comment shows below its item after a time drawn from this range."""
    second_publish: SecondPublish = "same_id"
    """A second `media_publish` of one container: the same id; 24/2207008; 9007/2207027; another post; `any`:
    one of the four is drawn."""
    stale_status: Chance = 0.0
    """Chance that a status read shows the state before: IN_PROGRESS for FINISHED, FINISHED for PUBLISHED."""
    unreadable_alt_text: Chance = 0.0
    """Chance that a published item never shows its alternative text."""
    foreign_posts: Chance = 0.0
    """Chance that the owner's phone publishes something right before a `media_publish`."""
    caption_readable: bool = False
    """Captions can be read back: true of Facebook Login, not of Instagram Login."""
    quota_total: int = Field(default=50, ge=0, le=1000)
    """Posts in 24 hours through the API."""
    container_limit: int = Field(default=400, ge=0, le=100_000)
    """Containers in 24 hours."""
    usage_percent: int = Field(default=1, ge=0, le=200)
    """What the usage headers say of calls made."""
    regain_minutes: int = Field(default=0, ge=0, le=1440)
    """What the usage headers ask to wait."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        for name in ("listing_delay", "comment_delay"):
            shorter, longer = getattr(self, name)
            if shorter > longer:
                raise ValueError(f"{name} goes from the shorter to the longer time")
        return self
