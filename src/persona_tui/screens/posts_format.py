"""Posts of every kind made from the library's pictures, and what is said beyond their words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.posts_preview import show_preview
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.fields import CheckField, ChoiceField, Field, LongTextField, NumberField, TextField
from persona_tui.widgets.form import FormDialog

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.library.pictures import LibraryPicture, PictureRef
    from persona_tui.services.publishing.formats import Format, Kind
    from persona_tui.services.publishing.post_views import PostView

OFFERED = 500
"""The newest pictures to choose from; older ones are marked in Clusters & photos."""
_KINDS = (
    ("carousel", "Carousel", "2 to 10 pictures in one shape"),
    ("story", "Story", "one picture or film, 9:16"),
    ("reel", "Reel", "one film"),
    ("single", "Single picture", "one picture"),
)


class FormatKeys(PersonaScreen):
    """The keys for kinds of posts, and for what is said beyond the words."""

    def _with_post(self, act: Callable[[PersonaScreen, PostView], Awaitable[object]]) -> None:
        """Do something with the post under the cursor."""
        raise NotImplementedError

    def action_new(self) -> None:
        self.spawn(self._make_post, group="ask")

    def action_format(self) -> None:
        self._with_post(edit_format)

    def action_preview(self) -> None:
        self._with_post(show_preview)

    async def _make_post(self) -> None:
        if self.shell.persona_id is None:
            return
        choices = [Choice(kind, label, note) for kind, label, note in _KINDS]
        chosen = await self.ask(ChoiceDialog("What kind of post?", choices))
        if chosen is None:
            return
        refs = await choose_pictures(self, self.shell.persona_id, chosen.value)
        if refs:
            await make_post(self, refs, chosen.value)
            self.request_reload()


async def choose_pictures(screen: PersonaScreen, persona_id: int, kind: Kind) -> list[PictureRef]:
    """Have pictures chosen for a post of this kind, one after the other in the post's order."""
    from persona_tui.services.publishing.formats import MOST_PICTURES

    offered = await screen.read(_offered, persona_id, kind)
    most = MOST_PICTURES if kind == "carousel" else 1
    chosen: list[PictureRef] = []
    while len(chosen) < most:
        left = [
            Choice(picture.ref, picture.label, _about(picture))
            for picture in offered
            if picture.ref not in chosen
        ]
        done = [Choice(None, "That is all", f"a {kind} of {len(chosen)} pictures")] if len(chosen) > 1 else []
        title = f"Picture {len(chosen) + 1} of up to {most}" if most > 1 else "Which one?"
        empty = "no film in the library" if kind == "reel" else "no picture in the library"
        picked = await screen.ask(ChoiceDialog(title, done + left, empty=empty))
        if picked is None:
            return []
        if picked.value is None:
            break
        chosen.append(picked.value)
    return chosen


def _offered(session: Session, persona_id: int, kind: Kind) -> list[LibraryPicture]:
    from persona_tui.services.library.picture_filters import PictureFilters
    from persona_tui.services.library.pictures import list_pictures

    filters = PictureFilters(kind="video" if kind == "reel" else None)
    page = list_pictures(session, persona_id, filters, limit=OFFERED)
    films = kind in {"reel", "story"}
    return [picture for picture in page.pictures if films or picture.kind != "video"]


def _about(picture: LibraryPicture) -> str:
    posted = "posted already" if picture.posted else ""
    return " · ".join(filter(None, (str(picture.ref), picture.caption[:40], posted)))


async def make_post(screen: PersonaScreen, refs: Sequence[PictureRef], kind: Kind) -> int:
    """Draft it, and ask for what is said beyond its words; the post's id."""
    from persona_tui.services.publishing.winners import draft_post

    post = await screen.act(draft_post, refs, kind)
    label = screen.shell.registry.label
    key = label("posts.schedule") if kind == "story" else label("posts.caption")
    words = "schedules it" if kind == "story" else "writes its caption"
    screen.flash(f"Post {post.id} is a {kind}: {key} {words}, {label('posts.format')} names accounts.")
    return post.id


async def edit_format(screen: PersonaScreen, post: PostView) -> None:
    """Tags, place, collaborators, cover and first comment in a form; of a post that is out the comment."""
    if post.state == "published":
        await _edit_comment(screen, post)
        return
    from persona_tui.services.publishing.formats import format_of, set_format

    most = screen.shell.settings.instagram.max_hashtags
    current = format_of(post)

    async def submit(values: Mapping[str, Any]) -> None:
        await screen.act(set_format, post.id, _with_values(current, values), max_hashtags=most)

    form = FormDialog(f"Post {post.id}, a {post.kind}", _fields(current), submit=submit)
    if await screen.ask(form):
        screen.flash(f"Post {post.id} is changed.")


def _fields(format: Format) -> list[Field]:
    from persona_tui.services.publishing.formats import written_tag

    place = (
        "@name" if format.kind == "reel" else "@name:x,y with x and y from 0 to 1; :2 for the second picture"
    )
    fields: list[Field] = [
        TextField(
            name="tags",
            label="Accounts in it",
            value=" ".join(written_tag(tag) for tag in format.user_tags),
            longest=2000,
            hint=f"{place}, separated by spaces.",
        )
    ]
    if format.kind != "reel":
        fits = (("crop", "crop it"), ("pad", "pad it"))
        hint = "What becomes of a shape that Instagram does not take."
        fields.append(ChoiceField(name="fit", label="Shape", value=format.fit, choices=fits, hint=hint))
    if format.kind == "story":
        return fields
    fields += [
        TextField(
            name="collaborators",
            label="Collaborators",
            value=" ".join(f"@{name}" for name in format.collaborators),
            hint="Accounts invited to share the post, at most three.",
        ),
        TextField(
            name="place",
            label="Place",
            value=format.location_id,
            hint="Id of a Facebook Page that has a place.",
        ),
        LongTextField(
            name="first_comment",
            label="First comment",
            value=format.first_comment,
            longest=2200,
            rows=2,
            hint="Written below the post as soon as it is out.",
        ),
    ]
    if format.kind == "reel":
        second = Decimal(format.cover_ms) / 1000 if format.cover_ms is not None else None
        fields += [
            NumberField(name="cover", label="Cover", value=second, minimum=0, hint="Second of the film."),
            CheckField(name="feed", label="In the feed too", value=format.share_to_feed),
        ]
    return fields


def _with_values(format: Format, values: Mapping[str, Any]) -> Format:
    from persona_tui.services.publishing.formats import parse_tag

    changes: dict[str, Any] = {"user_tags": tuple(parse_tag(typed) for typed in values["tags"].split())}
    if format.kind != "story":
        names = values["collaborators"].replace(",", " ").split()
        changes["collaborators"] = tuple(name.removeprefix("@") for name in names)
        changes |= {"location_id": values["place"], "first_comment": values["first_comment"]}
    if format.kind != "reel":
        changes["fit"] = values["fit"]
    if format.kind == "reel":
        second = values["cover"]
        changes["cover_ms"] = None if second is None else round(second * 1000)
        changes["share_to_feed"] = values["feed"]
    return replace(format, **changes)


async def _edit_comment(screen: PersonaScreen, post: PostView) -> None:
    from persona_tui.services.publishing.comment_cases import write_comment

    if post.kind == "story" or post.comment_state not in {"", "waiting", "failed"}:
        why = "A story has no comments." if post.kind == "story" else f"Its comment is {post.comment_state}."
        screen.flash(f"Post {post.id} is out. {why}", "info")
        return
    most = screen.shell.settings.instagram.max_hashtags

    async def submit(values: Mapping[str, Any]) -> None:
        await screen.act(write_comment, post.id, values["first_comment"], max_hashtags=most)

    field = LongTextField(
        name="first_comment", label="First comment", value=post.first_comment, longest=2200, rows=3
    )
    about = f"It failed: {post.comment_reason}" if post.comment_state == "failed" else ""
    if await screen.ask(FormDialog(f"Comment below post {post.id}", [field], about=about, submit=submit)):
        screen.flash(f"The first comment of post {post.id} is written at the next round.")
