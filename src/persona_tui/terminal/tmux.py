"""What tmux lets through to the terminal outside, and the wrapping that it asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

PASSTHROUGH_LINE = "set -g allow-passthrough on"
"""For tmux.conf; since tmux 3.3 nothing passes without it."""
SECONDS = 2.0
_FIELDS = (
    "client_termtype",
    "client_termfeatures",
    "client_cell_width",
    "client_cell_height",
    "allow-passthrough",
    "client_tty",
    "session_last_attached",
    "window_active",
)
_OFF = {"0", "off"}  # before 3.3 there was no such option, and all passed
_KITTY = re.compile(r"kitty\((\d+)\.(\d+)")
_PLACEHOLDERS_SINCE = (0, 28)


@dataclass(frozen=True)
class Tmux:
    """What tmux says of itself and of the terminal that shows it.

    Attributes:
        outside: what that terminal calls itself, with version; empty when it does not, or none is attached.
        features: what tmux takes it to be able to do.
        cell_width, cell_height: of a cell there, in pixels; None when tmux does not know.
        passthrough: commands for that terminal reach it.
        showing: names the terminal and the time at which it was attached.
        visible: this window is the one that is shown.
    """

    outside: str = ""
    features: frozenset[str] = frozenset()
    cell_width: int | None = None
    cell_height: int | None = None
    passthrough: bool = False
    showing: tuple[str, ...] = ()
    visible: bool = True

    @property
    def placeholders(self) -> bool:
        """The terminal outside draws Unicode placeholders (kitty since 0.28, Ghostty)."""
        if version := _KITTY.match(self.outside):
            return (int(version[1]), int(version[2])) >= _PLACEHOLDERS_SINCE
        return self.outside.lower().startswith("ghostty")

    @property
    def sixel(self) -> bool:
        """The terminal outside draws sixel pictures."""
        return "sixel" in self.features


def command(environ: Mapping[str, str]) -> list[str]:
    """What asks tmux."""
    pane = ["-t", environ["TMUX_PANE"]] if "TMUX_PANE" in environ else []
    return ["tmux", "display-message", "-p", *pane, "\t".join(f"#{{{name}}}" for name in _FIELDS)]


def ask(environ: Mapping[str, str]) -> Tmux | None:
    """Ask the tmux that this process runs in; None where it can't be reached, as from another machine."""
    if "TMUX" not in environ:
        return None
    import subprocess

    try:
        answer = subprocess.run(
            command(environ), env=dict(environ), capture_output=True, timeout=SECONDS, check=True, text=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return read(answer.stdout)


def read(answer: str) -> Tmux | None:
    """What tmux printed; None where that is something else."""
    fields = answer.rstrip("\n").split("\t")
    if len(fields) != len(_FIELDS):
        return None
    outside, features, width, height, passthrough, *showing, visible = fields
    return Tmux(
        outside=outside,
        features=frozenset(features.split(",")),
        cell_width=int(width) if width.isdigit() and int(width) else None,
        cell_height=int(height) if height.isdigit() and int(height) else None,
        passthrough=passthrough not in _OFF,
        showing=tuple(showing),
        visible=visible == "1",
    )


def wrapped(commands: str) -> str:
    """Commands for the terminal outside, as tmux passes them on; at most a megabyte."""
    return "\x1bPtmux;{}\x1b\\".format(commands.replace("\x1b", "\x1b\x1b")) if commands else ""
