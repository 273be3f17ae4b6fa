"""Takes a terminal's late replies out of the keyboard's input.

A reply that comes after the probe has given up would reach the app as key presses: on a voting screen,
as votes.
"""

from __future__ import annotations

import re

# APC of the graphics protocol, XTVERSION, DA1 and XTSMGRAPHICS, and the size reports 4, 5, 6 and 8. Cursor
# position and mode reports pass: the app asks for those itself.
_REPLY = re.compile(
    r"\x1b_G[^\x1b]*\x1b\\"
    r"|\x1bP>\|[^\x1b]*\x1b\\"
    r"|\x1b\[\?[\d;]*[cS]"
    r"|\x1b\[[4568];\d+;\d+t"
)
_BEGUN = re.compile(
    r"\x1b(?:"
    r"_(?:G[^\x1b]*\x1b?)?"
    r"|P(?:>(?:\|[^\x1b]*\x1b?)?)?"
    r"|\[(?:\?[\d;]*|[4568](?:;\d*){0,2})?"
    r")?\Z"
)
_LONGEST_REPLY = 1024


class ReplyFilter:
    """Feed it what the terminal sends, in pieces of any size; it gives back what the person typed.

    An unfinished sequence at the end of a piece is held until the next one; when none has come for a
    quarter of a second the caller takes it back with `release()`: it was an Escape key, not a reply.

    Attributes:
        taken: the replies of the last piece that was fed.
        hold_escape: also hold a lone Escape at a piece's end. That delays the Escape key, so it should
            be on only while replies may come.
    """

    def __init__(self, *, hold_escape: bool = True) -> None:
        self.hold_escape = hold_escape
        self.taken: list[str] = []
        self._held = ""

    @property
    def held(self) -> str:
        """What is waiting for its other half."""
        return self._held

    def feed(self, data: str) -> str:
        """Take a piece of input; returns what is no reply."""
        self.taken = _REPLY.findall(self._held + data)
        text = _REPLY.sub("", self._held + data)
        self._held = ""
        begun = _BEGUN.search(text)
        if begun is None or len(begun.group()) > _LONGEST_REPLY:
            return text
        if begun.group() == "\x1b" and not self.hold_escape:
            return text
        self._held = begun.group()
        return text[: begun.start()]

    def release(self) -> str:
        """Give back what is held."""
        held, self._held = self._held, ""
        return held
