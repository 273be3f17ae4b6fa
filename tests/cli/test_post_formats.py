"""Posts of several pictures, with tags, place and first comment, by commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cli.conftest import Shell
from tests.cli.test_commands import told
from tests.support.library import add_photo, photograph
from tests.support.world import insert, make_account


def test_publishing_1_acts_on_a_post_in_the_wrong_state_say_what_is_possible(
    peopled: Shell, inside: Callable[[], Any]
) -> None:
    with inside() as opened, opened.database.session_scope() as session:
        photo = str(add_photo(session, opened.media, 1, photograph("clock")).photo_id)
        make_account(session, 1)
    post = str(peopled("post", "draft", "--photo", photo, "--json").json["id"])
    assert "is not on the calendar" in told(peopled, 1, "post", "unschedule", post)
    assert peopled("post", "show", post, "--json").json["post"]["state"] == "draft"
    planned = peopled("post", "schedule", post, "--at", "2090-11-24T18:00").out
    assert "goes out 2090-11-24T18:00" in planned and "⚠️  It has no caption." in planned
    again = peopled("post", "schedule", post)
    assert again.code == 1 and "scheduled already" in again.err and "post reschedule" in again.err
    peopled("post", "pause-all")
    assert "⚠️  You have paused all publishing." in peopled("post", "publish", post).out
    peopled("post", "resume-all")
    assert "Possible now: cancel, unschedule." in peopled("post", "retry", post).err
    assert peopled("post", "cancel", post).out == f"✅ Post {post} is cancelled.\n"


def test_publishing_6_a_carousel_is_made_and_changed_by_commands(
    peopled: Shell, inside: Callable[[], Any]
) -> None:
    with inside() as opened, opened.database.session_scope() as session:
        photos = [
            str(add_photo(session, opened.media, 1, photograph(name)).photo_id)
            for name in ("astronaut", "coffee", "rocket")
        ]
        other = insert(session, "personas", name="Else", age=30, zone="UTC")
        foreign = str(add_photo(session, opened.media, other, photograph("cat")).photo_id)
    several = ("post", "create", "Mira", "--kind", "carousel", "--picture", f"photo {photos[2]}")
    several += ("--photo", photos[0], "--photo", photos[1])
    made = peopled(
        *several, "--tag", "@anna:0.5,0.25:2", "--place", "7640348500", "--collaborator", "@bea",
        "--first-comment", "By @bea", "--json",
    ).json  # fmt: skip
    assert [one["photo_id"] for one in made["pictures"]] == [int(photos[n]) for n in (2, 0, 1)]
    assert (made["kind"], made["collaborators"], made["comment_state"]) == ("carousel", ["bea"], "waiting")
    post = str(made["id"])
    changed = peopled("post", "format", post, "--tag", "", "--first-comment", "", "--json").json
    assert (changed["user_tags"], changed["first_comment"], changed["comment_state"]) == ([], "", "")
    assert changed["location_id"] == "7640348500"
    shown = peopled("post", "show", post).out
    assert "kind: carousel, 3 pictures" in shown and "collaborators: @bea" in shown

    assert "no picture 4" in told(peopled, 2, "post", "format", post, "--tag", "@anna:0.5,0.5:4")
    assert "is no tag" in told(peopled, 2, "post", "format", post, "--tag", "@anna:left")
    assert "no kind of post" in told(peopled, 2, "post", "create", "Mira", "--kind", "album")
    assert "2 to 10 pictures" in told(peopled, 2, *several[:5], "--photo", photos[0])
    assert "another persona's" in told(peopled, 2, "post", "create", "Mira", "--photo", foreign)
    assert "made of a film" in told(
        peopled, 2, "post", "create", "Mira", "--kind", "reel", "--photo", photos[0]
    )
    assert "not out yet" in told(peopled, 1, "post", "comment", post, "--text", "Hello")
