"""`persona-tui post` and `persona-tui caption`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from persona_tui.cli import post_plan
from persona_tui.cli.frame import (
    AsJson,
    PersonaName,
    group,
    note,
    persona_of,
    resources,
    session,
    show,
    table,
)

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.resources import Resources
    from persona_tui.services.publishing.post_views import PostView
    from persona_tui.services.publishing.slots import Slot

commands = group("Posts: from draft to published.")
post_plan.register(commands)

PostId = Annotated[int, typer.Argument(metavar="POST", help="The post's number.")]


@commands.command("list")
def list_(
    persona: Annotated[str | None, typer.Option(help="Of this persona alone.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only in this state; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Posts by their time."""
    from persona_tui.services.publishing.post_views import list_posts, require_states

    require_states(state or ())
    with session() as opened:
        persona_id = persona_of(opened, persona).id if persona else None
        posts = list_posts(opened, persona_id, state)
    show(
        posts,
        as_json,
        lambda: table(
            ["post", "persona", "kind", "state", "when", "zone", "caption", "why"],
            (
                [p.id, p.persona, p.kind, p.state, p.wall_time or None, p.zone, p.caption, p.reason]
                for p in posts
            ),
        ),
    )


@commands.command("show")
def show_(post: PostId, as_json: AsJson = False) -> None:
    """A post with its words, its attempts and what can be done now."""
    from persona_tui.cli.post_format import extras
    from persona_tui.services.publishing.post_views import post_detail

    with session() as opened:
        found = post_detail(opened, post)
    show(
        found,
        as_json,
        lambda: [
            f"post {found.post.id} of {found.post.persona}: {found.post.state} {found.post.reason}",
            f"when: {found.post.wall_time or '–'} ({found.post.zone})",
            found.post.full_caption,
            f"alt text: {found.post.alt_text or '–'}",
            *extras(found.post),
            f"media id: {found.post.media_id or '–'} {found.post.permalink}",
            *(f"⚠️  {warning}" for warning in found.post.warnings),
            "next: " + ", ".join(f"{act.act} → {act.to_state}" for act in found.acts),
        ],
    )


@commands.command("draft")
def draft(
    candidate: Annotated[int | None, typer.Option(help="A generated picture.")] = None,
    photo: Annotated[int | None, typer.Option(help="An imported photo.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draft a post of one picture."""
    from persona_tui.services.publishing.winners import draft_for_winner

    with session() as opened:
        made = draft_for_winner(opened, candidate, photo_id=photo)
    show(made, as_json, lambda: [f"✅ Post {made.id}. Next: persona-tui caption {made.persona!r} {made.id}"])


Photos = Annotated[list[int] | None, typer.Option(help="An imported photo or film; may be repeated.")]
Candidates = Annotated[list[int] | None, typer.Option(help="A generated picture; may be repeated.")]
Ordered = Annotated[
    list[str] | None,
    typer.Option(help='"photo 12" or "candidate 5", where the order mixes them; may be repeated.'),
]
Tags = Annotated[
    list[str] | None,
    typer.Option(help="@name:x,y of an account in the picture, x and y from 0 to 1; :2 for the second."),
]
Collaborators = Annotated[
    list[str] | None, typer.Option(help="An account invited to share the post, at most three.")
]
Place = Annotated[str | None, typer.Option(help="Id of a Facebook Page that has a place.")]
FirstComment = Annotated[str | None, typer.Option(help="Written below the post as soon as it is out.")]
Cover = Annotated[float | None, typer.Option(help="Second of a reel that is its cover.")]
Shape = Annotated[
    Literal["crop", "pad"] | None,
    typer.Option("--fit", help="A picture of another shape than Instagram takes is cropped, or padded."),
]
Feed = Annotated[bool | None, typer.Option("--feed/--no-feed", help="A reel shows in the feed too.")]


@commands.command("create")
def create(
    persona: PersonaName,
    kind: Annotated[str, typer.Option(help="single, carousel, story or reel.")] = "single",
    picture: Ordered = None,
    photo: Photos = None,
    candidate: Candidates = None,
    edited: Annotated[bool, typer.Option(help="A model changed the photos or the film.")] = False,
    tag: Tags = None,
    place: Place = None,
    collaborator: Collaborators = None,
    first_comment: FirstComment = None,
    cover: Cover = None,
    feed: Feed = None,
    fit: Shape = None,
    as_json: AsJson = False,
) -> None:
    """Draft a post of one or several pictures, or of a film; the order given is the post's.

    Pictures named with --picture come first, then --photo, then --candidate.
    """
    from persona_tui.cli.post_format import changed, kind_of, pictures_of
    from persona_tui.services.publishing.formats import Format, set_format
    from persona_tui.services.publishing.winners import draft_post

    chosen = kind_of(kind)
    refs = pictures_of(picture or (), photo or (), candidate or ())
    with resources() as opened, opened.database.session_scope() as opened_session:
        owner = persona_of(opened_session, persona).id
        format = changed(Format(chosen), tag, place, collaborator, first_comment, cover, feed, fit)
        made = draft_post(opened_session, refs, chosen, edited=edited, persona_id=owner)
        most = opened.settings.instagram.max_hashtags
        made = set_format(opened_session, made.id, format, max_hashtags=most)
    then = "post schedule" if made.kind == "story" else f"caption {made.persona!r}"
    show(made, as_json, lambda: [f"✅ Post {made.id}, a {made.kind}. Next: persona-tui {then} {made.id}"])


@commands.command("format")
def format_(
    post: PostId,
    tag: Tags = None,
    place: Place = None,
    collaborator: Collaborators = None,
    first_comment: FirstComment = None,
    cover: Cover = None,
    feed: Feed = None,
    fit: Shape = None,
    as_json: AsJson = False,
) -> None:
    """Change a post's tags, place, collaborators, first comment or cover; what is not named stays.

    An empty text takes away: --tag "" --place "" --collaborator "" --first-comment "".
    """
    from persona_tui.cli.post_format import changed
    from persona_tui.services.publishing.formats import format_of, set_format
    from persona_tui.services.publishing.transitions import locked_post

    with resources() as opened, opened.database.session_scope() as opened_session:
        current = format_of(locked_post(opened_session, post))
        format = changed(current, tag, place, collaborator, first_comment, cover, feed, fit)
        most = opened.settings.instagram.max_hashtags
        made = set_format(opened_session, post, format, max_hashtags=most)
    show(made, as_json, lambda: [f"✅ Post {post} is changed; it is {made.state}."])


@commands.command("comment")
def comment(
    post: PostId,
    text: Annotated[
        str | None, typer.Option(help="The words; empty: take away what is not there yet.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the first comment of a post that is out, or without --text try one again that failed."""
    from persona_tui.services.publishing.comment_cases import retry_comment, write_comment

    with resources() as opened, opened.database.session_scope() as opened_session:
        if text is None:
            made = retry_comment(opened_session, post)
        else:
            most = opened.settings.instagram.max_hashtags
            made = write_comment(opened_session, post, text, max_hashtags=most)
    words = f"is {made.comment_state}" if made.comment_state else "is taken away"
    show(made, as_json, lambda: [f"✅ The first comment of post {post} {words}."])


def caption(
    persona: PersonaName,
    post: PostId,
    text: Annotated[str | None, typer.Option(help="Your own words instead of the language model's.")] = None,
    alt_text: Annotated[str, typer.Option(help="What is in the picture, for blind readers.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="A hashtag; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a post's caption: by the language model, or your own words."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.publishing.post_views import get_post
    from persona_tui.services.publishing.posts import write_caption

    with resources() as opened:
        most = opened.settings.instagram.max_hashtags
        with opened.database.session_scope() as opened_session:
            if get_post(opened_session, post).persona_id != persona_of(opened_session, persona).id:
                raise InvalidRequest(f"Post {post} is not {persona}'s.", hint="See `persona-tui post list`.")
        if text is None:
            written = _by_model(opened, post, most)
        else:
            with opened.database.session_scope() as opened_session:
                written = write_caption(opened_session, post, text, tag or (), alt_text, max_hashtags=most)
    show(written, as_json, lambda: [written.full_caption, f"alt text: {written.alt_text}"])


def _by_model(opened: Resources, post: int, most: int) -> PostView:
    from persona_tui.services.planning.captions import propose_caption, write_proposal

    scope = opened.database.session_scope
    proposal = asyncio.run(propose_caption(scope, opened.writers, opened.media, post, max_hashtags=most))
    if proposal.written_by == "template":
        note("⚠️  No language model answered: this is a template. `persona-tui doctor` says why.")
    with scope() as opened_session:
        return write_proposal(opened_session, post, proposal, max_hashtags=most)


@commands.command("schedule")
def schedule(
    post: PostId,
    at: Annotated[str | None, typer.Option(help="2026-11-24T18:00 on the persona's clock, or `now`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Let a post go out at a time, or at the next free slot."""
    from persona_tui.services.publishing import posts

    with resources() as opened, opened.database.session_scope() as opened_session:
        slot = _slot(opened, opened_session, post, at)
        planned = posts.schedule(opened_session, post, slot.at, slot.zone)
    show(planned, as_json, lambda: _planned(planned, slot))


@commands.command("reschedule")
def reschedule(
    post: PostId,
    at: Annotated[str, typer.Option(help="2026-11-24T18:00 on the persona's clock, or `now`.")],
    as_json: AsJson = False,
) -> None:
    """Move a post to another time."""
    from persona_tui.services.publishing import posts

    with resources() as opened, opened.database.session_scope() as opened_session:
        slot = _slot(opened, opened_session, post, at)
        planned = posts.reschedule(opened_session, post, slot.at, slot.zone)
    show(planned, as_json, lambda: _planned(planned, slot))


def _planned(post: PostView, slot: Slot) -> list[str]:
    notes = [f"ℹ️  {slot.note}"] if slot.note else []
    notes += [f"⚠️  {warning}" for warning in post.warnings]
    return [f"✅ Post {post.id} goes out {post.wall_time} ({post.zone}).", *notes]


def _slot(opened: Resources, opened_session: Session, post: int, at: str | None) -> Slot:
    from datetime import timedelta

    from persona_tui.services.planning.personas import get_persona
    from persona_tui.services.planning.slots import next_slot, parse_when
    from persona_tui.services.publishing.post_views import get_post

    persona = get_persona(opened_session, get_post(opened_session, post).persona_id)
    now = opened.now()
    if at is not None:
        return parse_when(at, persona.zone, now)
    gap = timedelta(minutes=opened.settings.instagram.min_gap_minutes)
    return next_slot(opened_session, persona.id, now, min_gap=gap)


def _act(post: int, act: Callable[[Session, int], PostView], words: str, as_json: bool) -> None:
    with session() as opened:
        done = act(opened, post)
    state = done.state.replace("_", " ")
    then = "" if words.endswith(state) else f"; it is {state}"
    warnings = [f"⚠️  {warning}" for warning in done.warnings] if done.state == "scheduled" else []
    show(done, as_json, lambda: [f"✅ Post {post} {words}{then}.", *warnings])


@commands.command("publish")
def publish(post: PostId, as_json: AsJson = False) -> None:
    """Let a post go out at the next round of the process that leads."""
    from persona_tui.services.publishing.posts import publish_now

    _act(post, publish_now, "goes out now", as_json)


@commands.command("cancel")
def cancel(post: PostId, as_json: AsJson = False) -> None:
    """Cancel a post; its pictures are free again."""
    from persona_tui.services.publishing import posts

    _act(post, posts.cancel, "is cancelled", as_json)


@commands.command("retry")
def retry(post: PostId, as_json: AsJson = False) -> None:
    """Try a post again that failed, was missed or was fixed."""
    from persona_tui.services.publishing import posts

    _act(post, posts.retry, "is tried again", as_json)


@commands.command("unschedule")
def unschedule(post: PostId, as_json: AsJson = False) -> None:
    """Take a post off the calendar and keep it ready."""
    from persona_tui.services.publishing import posts

    _act(post, posts.unschedule, "is off the calendar", as_json)


@commands.command("reopen")
def reopen(post: PostId, as_json: AsJson = False) -> None:
    """Make a draft of a cancelled post."""
    from persona_tui.services.publishing import posts

    _act(post, posts.reopen, "is open again", as_json)


@commands.command("adopt")
def adopt(
    post: PostId,
    media_id: Annotated[str, typer.Argument(help="The id of the media that is this post.")],
    as_json: AsJson = False,
) -> None:
    """Say which published media a post is that nobody could match."""
    from persona_tui.services.publishing import settle

    _act(post, lambda opened, number: settle.adopt(opened, number, media_id), "is adopted", as_json)


@commands.command("reconcile")
def reconcile(post: PostId, as_json: AsJson = False) -> None:
    """Look at the account's listing for a post whose outcome is unknown; changes nothing at Instagram."""
    from persona_tui.cli.reconcile import lines, look

    with resources() as opened:
        seen = asyncio.run(look(opened, post))
    show(seen, as_json, lambda: lines(seen))


@commands.command("mark-not-published")
def mark_not_published(post: PostId, as_json: AsJson = False) -> None:
    """Say that a post did not go out, after `post reconcile` has shown the account's listing."""
    from persona_tui.services.publishing import settle

    _act(post, settle.mark_not_published, "did not go out", as_json)
