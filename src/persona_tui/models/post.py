"""Posts, the attempts to publish them, and the accounts they go to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlmodel import Field

from persona_tui.models.base import (
    Table,
    belongs,
    bigint,
    created_at,
    document,
    exactly_one,
    filled,
    flag,
    identity,
    moment,
    number,
    one_of,
)

POST_STATES = (
    "draft",
    "awaiting_image",
    "ready",
    "scheduled",
    "claimed",
    "staged",
    "creating",
    "container",
    "publishable",
    "sending",
    "unknown",
    "reconciling",
    "published",
    "needs_human",
    "fix_needed",
    "paused",
    "deferred",
    "missed",
    "failed",
    "cancelled",
)
FENCED_STATES = (
    "claimed",
    "staged",
    "creating",
    "container",
    "publishable",
    "sending",
    "unknown",
    "reconciling",
)
"""States in which a publisher or reconciler owns the post; one such post per account (R17)."""
FREE_STATES = ("draft", "failed", "cancelled")
"""States that do not hold the post's pictures."""


def _in(states: tuple[str, ...], column: str = "state") -> str:
    return f"{column} IN ({', '.join(repr(state) for state in states)})"


class SchedulingPost(Table, table=True):
    """A post from draft to published; the state machine is data in `post_transitions`."""

    __tablename__ = "scheduling_posts"
    __table_args__ = (
        UniqueConstraint("id", "persona_id"),
        UniqueConstraint("id", "environment"),
        *belongs("account_id", "instagram_accounts", optional=True),
        ForeignKeyConstraint(
            ["account_id", "environment"],
            ["instagram_accounts.id", "instagram_accounts.environment"],
            name="fk_scheduling_posts_account_environment",
        ),
        *belongs("cluster_id", "clusters", optional=True),
        *belongs("pillar_id", "content_pillars", optional=True),
        *belongs("content_suggestion_id", "content_suggestions", optional=True),
        *belongs("run_id", "pipeline_runs", optional=True),
        *belongs("campaign_id", "campaigns", optional=True),
        one_of("kind", "single", "carousel", "story", "reel"),
        one_of("fit", "crop", "pad"),
        one_of("late_policy", "", "reslot", "drop", "ask"),
        one_of("comment_state", "", "waiting", "sending", "unknown", "posted", "failed"),
        one_of("environment", "live", "sandbox"),
        CheckConstraint(_in(POST_STATES), name="state_known"),
        CheckConstraint("length(caption) <= 2200", name="caption_length"),
        CheckConstraint("length(alt_text) <= 1000", name="alt_text_length"),
        CheckConstraint("length(first_comment) <= 2200", name="first_comment_length"),
        CheckConstraint("(comment_state = '') = (first_comment = '')", name="comment_has_state"),
        CheckConstraint(
            f"NOT ({_in(FENCED_STATES)} OR state = 'scheduled') "
            "OR (scheduled_at IS NOT NULL AND account_id IS NOT NULL)",
            name="scheduled_complete",
        ),
        CheckConstraint(f"NOT {_in(FENCED_STATES)} OR lease_until IS NOT NULL", name="fenced_has_lease"),
        CheckConstraint("state <> 'published' OR published_at IS NOT NULL", name="published_dated"),
        CheckConstraint(
            "state NOT IN ('container', 'publishable', 'sending') OR creation_id IS NOT NULL",
            name="container_named",
        ),
        UniqueConstraint("environment", "media_id"),
        Index(
            "uq_scheduling_posts_account_serial",
            "account_id",
            unique=True,
            postgresql_where=text(_in(FENCED_STATES)),
        ),
        Index("ix_scheduling_posts_due", "scheduled_at", postgresql_where=text("state = 'scheduled'")),
        Index(
            "ix_scheduling_posts_next",
            "account_id",
            "scheduled_at",
            postgresql_where=text("state = 'scheduled'"),
        ),
        Index("ix_scheduling_posts_deferred", "account_id", postgresql_where=text("state = 'deferred'")),
        Index(
            "ix_scheduling_posts_out",
            "account_id",
            "published_at",
            postgresql_where=text("published_at IS NOT NULL"),
        ),
        Index("ix_scheduling_posts_persona", "persona_id", "state", "scheduled_at"),
        Index(
            "ix_scheduling_posts_comment",
            "published_at",
            postgresql_where=text("comment_state IN ('waiting', 'sending', 'unknown')"),
        ),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="RESTRICT")
    environment: str
    account_id: int | None = bigint(default=None)
    cluster_id: int | None = bigint(default=None)
    pillar_id: int | None = bigint(default=None)
    content_suggestion_id: int | None = bigint(default=None)
    run_id: int | None = bigint(default=None)
    campaign_id: int | None = bigint(default=None)
    kind: str = filled("single")
    state: str = filled("draft")
    reason: str = filled("")
    """Why it is in this state, in words for the operator."""
    caption: str = filled("")
    hashtags: list[str] = document("[]")
    alt_text: str = filled("")
    caption_metadata: dict[str, Any] = document()
    is_ai_generated: bool = flag(True)
    user_tags: list[dict[str, Any]] = document("[]")
    """Accounts named in the pictures: {username, x, y, position}; x and y from 0 to 1, position from 1."""
    collaborators: list[str] = document("[]")
    location_id: str = filled("")
    """Id of a Facebook Page that has a place."""
    fit: str = filled("crop")
    """What becomes of a picture whose shape Instagram does not take."""
    share_to_feed: bool = flag(True)
    """A reel shows in the feed too."""
    cover_ms: int | None = None
    """Moment of the film that is a reel's cover, in milliseconds."""
    first_comment: str = filled("")
    comment_state: str = filled("")
    comment_id: str | None = None
    comment_reason: str = filled("")
    comment_tried_at: datetime | None = moment(default=None)
    scheduled_at: datetime | None = moment(default=None)
    zone: str = filled("UTC")
    """IANA zone of the slot."""
    wall_time: str = filled("")
    """The slot as planned on the zone's clock, ISO without offset."""
    grace_minutes: int = number(360)
    late_policy: str = filled("")
    """What happens once the grace is over; empty: as the persona says."""
    strategy_name: str = filled("")
    repost_allowed: bool = flag()
    fence: int = bigint(default=0, sa_column_kwargs={"server_default": "0"}, nullable=False)
    lease_until: datetime | None = moment(default=None)
    lease_owner: str = filled("")
    leader_epoch: int = bigint(default=0, sa_column_kwargs={"server_default": "0"}, nullable=False)
    creation_id: str | None = None
    container_created_at: datetime | None = moment(default=None)
    child_creation_ids: list[str] = document("[]")
    """Containers of a carousel's pictures, in order, of the container that is being made."""
    media_id: str | None = None
    permalink: str = filled("")
    published_at: datetime | None = moment(default=None)
    created_at: datetime = created_at()


class PostItem(Table, table=True):
    """A post's picture at its place in the order."""

    __tablename__ = "post_items"
    __table_args__ = (
        exactly_one("one_picture", "photo_id", "image_candidate_id"),
        UniqueConstraint("post_id", "position"),
        *belongs("post_id", "scheduling_posts", ondelete="CASCADE"),
        *belongs("photo_id", "photos"),
        *belongs("image_candidate_id", "image_candidates"),
        CheckConstraint("position BETWEEN 1 AND 10", name="position_range"),
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256_form"),
        Index(
            "uq_post_items_live_picture",
            "account_id",
            "sha256",
            unique=True,
            postgresql_where=text("holds AND account_id IS NOT NULL"),
        ),
        Index("ix_post_items_photo", "photo_id", postgresql_where=text("holds")),
        Index("ix_post_items_image_candidate", "image_candidate_id", postgresql_where=text("holds")),
    )

    id: int = identity()
    post_id: int = bigint()
    persona_id: int = bigint(foreign_key="personas.id")
    position: int = number(1)
    photo_id: int | None = bigint(default=None)
    image_candidate_id: int | None = bigint(default=None)
    sha256: str
    holds: bool = flag()
    """Kept by trigger: the post is alive, so its picture is taken."""
    account_id: int | None = bigint(default=None)
    """Kept by trigger: the post's account, null when a repost is allowed."""


class PostTransition(Table, table=True):
    """A move that a post may make, and the act that makes it."""

    __tablename__ = "post_transitions"

    from_state: str = Field(primary_key=True)
    to_state: str = Field(primary_key=True)
    act: str


class PublishAttempt(Table, table=True):
    """One try to publish a post: the intent is written before the call that may have its effect."""

    __tablename__ = "publish_attempts"
    __table_args__ = (
        UniqueConstraint("post_id", "number"),
        ForeignKeyConstraint(
            ["post_id", "environment"], ["scheduling_posts.id", "scheduling_posts.environment"]
        ),
        Index("uq_publish_attempts_open", "post_id", unique=True, postgresql_where=text("open")),
        one_of("environment", "live", "sandbox"),
    )

    id: int = identity()
    post_id: int = bigint()
    number: int
    environment: str
    open: bool = flag(True)
    fence: int = bigint()
    owner: str
    """Process that made the attempt: 'host:boot id:pid:start time'."""
    creation_id: str | None = None
    media_before: list[str] = document("[]")
    """Media ids that the account listed before `media_publish`."""
    quota_before: int | None = None
    sent_at: datetime | None = moment(default=None)
    outcome: str = filled("")
    started_at: datetime = created_at()
    ended_at: datetime | None = moment(default=None)


class PublishReply(Table, table=True):
    """What a service answered: evidence, appended without a fence and never changed (R15)."""

    __tablename__ = "publish_replies"
    __table_args__ = (Index("ix_publish_replies_attempt", "attempt_id"),)

    id: int = identity()
    attempt_id: int = bigint(foreign_key="publish_attempts.id", ondelete="RESTRICT")
    call: str
    ok: bool
    status: int | None = None
    code: int | None = None
    subcode: int | None = None
    body: dict[str, Any] = document()
    """Ids and the service's cleaned words; never a token or a URL query."""
    received_at: datetime = created_at()


class MediaObject(Table, table=True):
    """A copy of a picture that was put where Instagram can fetch it."""

    __tablename__ = "media_objects"
    __table_args__ = (
        one_of("environment", "live", "sandbox"),
        one_of("host", "first", "second"),
        UniqueConstraint("key"),
        ForeignKeyConstraint(
            ["post_id", "environment"], ["scheduling_posts.id", "scheduling_posts.environment"]
        ),
        Index("ix_media_objects_post", "post_id"),
    )

    id: int = identity()
    post_id: int = bigint()
    position: int = number(1)
    environment: str
    host: str = filled("first")
    """Which of the two media hosts has it."""
    key: str
    sha256: str
    byte_count: int = bigint()
    created_at: datetime = created_at()
    deleted_at: datetime | None = moment(default=None)


class PostInsight(Table, table=True):
    """One figure of a published post at one reading."""

    __tablename__ = "post_insights"
    __table_args__ = (UniqueConstraint("post_id", "metric", "read_at"),)

    id: int = identity()
    post_id: int = bigint(foreign_key="scheduling_posts.id", ondelete="CASCADE")
    metric: str
    value: float
    read_at: datetime = created_at()


class CaptionDraft(Table, table=True):
    """A caption that was proposed for a post."""

    __tablename__ = "caption_drafts"
    __table_args__ = (
        *belongs("post_id", "scheduling_posts", optional=True, ondelete="CASCADE"),
        Index("ix_caption_drafts_recent", "persona_id", "created_at"),
    )

    id: int = identity()
    persona_id: int = bigint(foreign_key="personas.id", ondelete="CASCADE")
    post_id: int | None = bigint(default=None)
    caption: str
    hashtags: list[str] = document("[]")
    alt_text: str = filled("")
    written_by: str
    """Model that wrote it, `template` or `operator`."""
    chosen: bool = flag()
    created_at: datetime = created_at()
