"""Posts as they are shown: frozen values read in a few statements, however many posts there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.models.post import POST_STATES
from persona_tui.services.publishing.slots import clock_note
from persona_tui.services.publishing.transitions import Transition, maybe_published, next_acts
from persona_tui.services.publishing.wording import full_caption


@dataclass(frozen=True)
class PostPicture:
    """A post's picture at its place.

    Attributes:
        media_key, sha256: of the original, in the media store; of a film its middle frame's.
        is_film: it is a film.
        loras: that made it, as `name@version (weight)`; old content stays with its LoRA's version.
        non_commercial: those of them whose base model's licence forbids commercial use.
    """

    position: int
    media_key: str
    sha256: str
    photo_id: int | None
    image_candidate_id: int | None
    is_film: bool = False
    loras: tuple[str, ...] = ()
    non_commercial: tuple[str, ...] = ()


@dataclass(frozen=True)
class PostView:
    """A post as it is shown.

    Attributes:
        reason: why it is in this state, for the operator.
        caption: without the hashtags; `full_caption` is what is sent.
        hashtags: without #.
        scheduled_at: UTC; `wall_time` is the same on the clock of `zone`.
        user_tags: {username, x, y, position} of each account named in the pictures.
        comment_state: of the first comment: waiting, sending, unknown, posted or failed; '' without one.
        warnings: what is worth a look before it goes out, one sentence each.
    """

    id: int
    persona_id: int
    persona: str
    environment: str
    account_id: int | None
    username: str
    cluster_id: int | None
    cluster: str
    pillar_id: int | None
    pillar: str
    content_suggestion_id: int | None
    run_id: int | None
    kind: str
    state: str
    reason: str
    caption: str
    hashtags: tuple[str, ...]
    alt_text: str
    caption_metadata: Mapping[str, Any]
    is_ai_generated: bool
    scheduled_at: datetime | None
    zone: str
    wall_time: str
    grace_minutes: int
    strategy_name: str
    repost_allowed: bool
    creation_id: str | None
    media_id: str | None
    permalink: str
    published_at: datetime | None
    created_at: datetime
    user_tags: tuple[Mapping[str, Any], ...]
    collaborators: tuple[str, ...]
    location_id: str
    share_to_feed: bool
    fit: str
    cover_ms: int | None
    first_comment: str
    comment_state: str
    comment_id: str | None
    comment_reason: str
    pictures: tuple[PostPicture, ...]
    warnings: tuple[str, ...]

    @property
    def full_caption(self) -> str:
        """The caption with its hashtags, as it is sent."""
        return full_caption(self.caption, self.hashtags)


@dataclass(frozen=True)
class ReplyView:
    """What a service answered."""

    at: datetime
    call: str
    ok: bool
    status: int | None
    code: int | None
    subcode: int | None
    body: Mapping[str, Any]


@dataclass(frozen=True)
class AttemptView:
    """One try to publish."""

    number: int
    open: bool
    creation_id: str | None
    sent_at: datetime | None
    outcome: str
    started_at: datetime
    ended_at: datetime | None
    replies: tuple[ReplyView, ...]


@dataclass(frozen=True)
class PostDetail:
    """A post with its history and what the operator can do now."""

    post: PostView
    attempts: tuple[AttemptView, ...]
    acts: tuple[Transition, ...]


_COLUMNS = (
    "SELECT p.id, p.persona_id, n.name AS persona, p.environment, p.account_id,"
    " coalesce(a.username, '') AS username, p.cluster_id, coalesce(c.name, '') AS cluster, p.pillar_id,"
    " coalesce(l.name, '') AS pillar, p.content_suggestion_id, p.run_id, p.kind, p.state, p.reason,"
    " p.caption, p.hashtags, p.alt_text, p.caption_metadata, p.is_ai_generated, p.scheduled_at,"
    " p.zone, p.wall_time,"
    " p.grace_minutes, p.strategy_name, p.repost_allowed, p.creation_id, p.media_id, p.permalink,"
    " p.published_at, p.created_at, p.user_tags, p.collaborators, p.location_id, p.share_to_feed, p.fit,"
    " p.cover_ms, p.first_comment, p.comment_state, p.comment_id, p.comment_reason,"
    " a.scopes AS account_scopes, a.status AS account_status, a.status_reason AS account_reason,"
    " coalesce(a.quiet_until > persona_now(), false) AS resting,"
    " (SELECT publishing_held FROM installation) AS held,"
    " (SELECT publishing_paused FROM installation) AS paused"
    " FROM scheduling_posts p JOIN personas n ON n.id = p.persona_id"
    " LEFT JOIN instagram_accounts a ON a.id = p.account_id"
    " LEFT JOIN clusters c ON c.id = p.cluster_id"
    " LEFT JOIN content_pillars l ON l.id = p.pillar_id"
)
_PICTURES = text(
    "SELECT i.post_id, i.position, coalesce(f.poster_key, f.media_key, c.media_key) AS media_key,"
    " coalesce(f.poster_sha256, i.sha256) AS sha256, i.photo_id,"
    " i.image_candidate_id, coalesce(f.kind = 'video', false) AS is_film,"
    " (SELECT array_agg(format('%s@%s (%s)', l.name, l.version, u.weight) ORDER BY u.position)"
    "  FROM run_loras u JOIN lora_models l ON l.id = u.lora_model_id WHERE u.run_id = c.run_id) AS loras,"
    " (SELECT array_agg(l.name || '@' || l.version ORDER BY u.position)"
    "  FROM run_loras u JOIN lora_models l ON l.id = u.lora_model_id"
    "  WHERE u.run_id = c.run_id AND u.weight > 0 AND l.details ->> 'non_commercial' = 'true')"
    "  AS non_commercial"
    " FROM post_items i"
    " LEFT JOIN photos f ON f.id = i.photo_id"
    " LEFT JOIN image_candidates c ON c.id = i.image_candidate_id"
    " WHERE i.post_id = ANY(:posts) ORDER BY i.post_id, i.position"
)

_OVER = frozenset({"published", "cancelled", "failed"})


def get_post(session: Session, post_id: int) -> PostView:
    """One post.

    Raises:
        UnknownName: there is none of that id.
    """
    found = _views(session, f"{_COLUMNS} WHERE p.id = :id", {"id": post_id})
    if not found:
        raise UnknownName(f"There is no post {post_id}.", hint="`persona-tui post list` shows them.")
    return found[0]


def require_states(states: Sequence[str]) -> None:
    """Refuse a state that no post can be in.

    Raises:
        InvalidRequest: lists those there are.
    """
    for state in states:
        if state not in POST_STATES:
            raise InvalidRequest(f"No post can be {state!r}.", hint=f"States: {', '.join(POST_STATES)}.")


def list_posts(
    session: Session,
    persona_id: int | None = None,
    states: Sequence[str] | None = None,
    *,
    since: datetime | None = None,
    limit: int = 200,
    offset: int = 0,
) -> tuple[PostView, ...]:
    """Posts: those with a time by that time, then the others, newest first.

    Args:
        persona_id: only this persona's.
        states: only posts in one of these.
        since: leave out what was published, cancelled or given up for a time before this.
    """
    where = "(CAST(:persona AS bigint) IS NULL OR p.persona_id = :persona)"
    values: dict[str, Any] = {"persona": persona_id, "limit": limit, "offset": offset}
    if states is not None:
        where += " AND p.state = ANY(:states)"
        values["states"] = list(states)
    if since is not None:
        where += " AND (p.scheduled_at IS NULL OR p.scheduled_at >= :since OR p.state <> ALL(:over))"
        values |= {"since": since, "over": sorted(_OVER)}
    order = "ORDER BY p.scheduled_at NULLS LAST, p.id DESC LIMIT :limit OFFSET :offset"
    return _views(session, f"{_COLUMNS} WHERE {where} {order}", values)


def post_detail(session: Session, post_id: int) -> PostDetail:
    """A post with its attempts, what was answered, and what the operator can do now.

    Raises:
        UnknownName: there is none of that id.
    """
    post = get_post(session, post_id)
    unsettled = maybe_published(session, post_id)
    return PostDetail(
        post, _attempts(session, post_id), next_acts(session, post.state, maybe_published=unsettled)
    )


def _views(session: Session, statement: str, values: Mapping[str, Any]) -> tuple[PostView, ...]:
    rows = session.execute(text(statement), values).mappings().all()
    pictures = _pictures(session, [row["id"] for row in rows])
    return tuple(_view(row, tuple(pictures.get(row["id"], ()))) for row in rows)


def _pictures(session: Session, posts: list[int]) -> dict[int, list[PostPicture]]:
    found: dict[int, list[PostPicture]] = {}
    for row in session.execute(_PICTURES, {"posts": posts}) if posts else ():
        facts = {**row._mapping}
        post_id = facts.pop("post_id")
        facts |= {name: tuple(facts[name] or ()) for name in ("loras", "non_commercial")}
        found.setdefault(post_id, []).append(PostPicture(**facts))
    return found


def _view(row: RowMapping, pictures: tuple[PostPicture, ...]) -> PostView:
    facts = dict(row)
    warnings = tuple(_warnings(row, pictures)) if row["state"] not in _OVER else ()
    for name in ("account_scopes", "account_status", "account_reason", "resting", "held", "paused"):
        del facts[name]
    for name in ("hashtags", "user_tags", "collaborators"):
        facts[name] = tuple(row[name])
    return PostView(**facts, pictures=pictures, warnings=warnings)


def _warnings(row: RowMapping, pictures: tuple[PostPicture, ...]) -> Iterable[str]:
    if not pictures:
        yield "It has no picture yet."
    if not row["caption"] and row["kind"] != "story":
        yield "It has no caption."
    if not row["alt_text"] and row["kind"] in {"single", "carousel"}:
        yield "It has no alternative text, which blind readers need and lost answers are cleared up by."
    barred = dict.fromkeys(lora for picture in pictures for lora in picture.non_commercial)
    if barred:
        yield f"Made with {', '.join(barred)}, whose base model's licence forbids commercial use."
    if row["account_status"] not in {None, "active"}:
        yield f"Its account is {row['account_status']}: {row['account_reason']}"
    if row["comment_state"] == "waiting" and _lacks_comments(row["account_scopes"]):
        yield "Its account's token does not have the permission to write the first comment."
    if row["resting"]:
        yield "Its account rests for a while: Instagram asks for fewer calls."
    if row["paused"]:
        yield "You have paused all publishing."
    if row["wall_time"] and row["state"] in {"scheduled", "deferred"}:
        note = clock_note(datetime.fromisoformat(row["wall_time"]), row["zone"])
        if note:
            yield note
    if row["held"]:
        yield "Publishing is held after a restore or a copy; confirm it first."


def _lacks_comments(scopes: list[str] | None) -> bool:
    """Whether the permissions of a token are known and none is for comments."""
    return bool(scopes) and not any(scope.endswith("manage_comments") for scope in scopes or ())


def _attempts(session: Session, post_id: int) -> tuple[AttemptView, ...]:
    replies: dict[int, list[ReplyView]] = {}
    for attempt_id, *facts in session.execute(
        text(
            "SELECT r.attempt_id, r.received_at, r.call, r.ok, r.status, r.code, r.subcode, r.body"
            " FROM publish_replies r JOIN publish_attempts t ON t.id = r.attempt_id"
            " WHERE t.post_id = :post ORDER BY r.id"
        ),
        {"post": post_id},
    ):
        replies.setdefault(attempt_id, []).append(ReplyView(*facts))
    rows = session.execute(
        text(
            "SELECT id, number, open, creation_id, sent_at, outcome, started_at, ended_at"
            " FROM publish_attempts WHERE post_id = :post ORDER BY number"
        ),
        {"post": post_id},
    )
    return tuple(
        AttemptView(
            row.number,
            row.open,
            row.creation_id,
            row.sent_at,
            row.outcome,
            row.started_at,
            row.ended_at,
            tuple(replies.get(row.id, ())),
        )
        for row in rows
    )


__all__ = [
    "AttemptView",
    "PostDetail",
    "PostPicture",
    "PostView",
    "ReplyView",
    "get_post",
    "list_posts",
    "post_detail",
]
