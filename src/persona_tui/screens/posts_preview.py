"""The very files that go out for a post, as large as the terminal, and what was done to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.viewer import ViewedPicture, ViewerDialog

if TYPE_CHECKING:
    from persona_tui.services.publishing.post_views import PostView
    from persona_tui.services.publishing.preview import PreviewedFile


class PreparedFiles:
    """Files as the viewer takes pictures of the media store: each is its own thumbnail."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files

    def thumbnail(self, media_key: str, sha256: str) -> Path:
        """The file itself, at full size: what is looked at is what goes out."""
        return self._files[sha256]

    def path(self, media_key: str) -> Path | None:
        """Where the file lies."""
        return Path(media_key)

    def get(self, media_key: str) -> bytes:
        """What is in it."""
        return Path(media_key).read_bytes()


async def show_preview(screen: PersonaScreen, post: PostView) -> None:
    """Make the post's files and show them."""
    if not post.pictures:
        screen.flash("The post has no picture yet.", "info")
        return
    screen.flash("Preparing the files…", "busy", seconds=30)
    made = await screen.shell.core.preview(post.id)
    if not made:
        screen.flash("A film goes out as it is, without its metadata; there is nothing to preview.", "info")
        return
    screen.flash(f"Post {post.id}: {len(made)} prepared.")
    store = PreparedFiles({one.sha256: one.path for one in made})
    pictures = [ViewedPicture(str(one.path), one.sha256, described(one)) for one in made]
    await screen.ask(ViewerDialog(store, pictures))


def described(one: PreviewedFile) -> str:
    """Size, weight, what the file says of its making, and what was done to the original."""
    size = f"{one.width} × {one.height}, {one.byte_count / 1000:,.0f} kB, quality {one.quality}"
    return " · ".join([size, one.source_type, *one.notes])
