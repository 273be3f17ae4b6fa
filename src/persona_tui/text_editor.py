"""The operator's own text editor, opened on a file of ours."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from persona_tui.errors import NotAllowedNow

_USUAL = ("sensible-editor", "nano", "vim", "vi")


def editor_command(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The command of `VISUAL` or `EDITOR`, else the first usual editor that is there.

    Raises:
        NotAllowedNow: there is none, or the command can't be read or found.
    """
    for variable in ("VISUAL", "EDITOR"):
        words = environ.get(variable, "").strip()
        if words:
            return _split(variable, words)
    found = next((name for name in _USUAL if shutil.which(name)), None)
    if found is None:
        raise NotAllowedNow("There is no text editor.", hint="Set EDITOR to one, for example EDITOR=nano.")
    return [found]


def new_draft(text: str, *, stem: str) -> Path:
    """A file of the operator's alone with a text in it; it is the caller's to remove.

    Raises:
        NotAllowedNow: it can't be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f"persona-tui-{stem}-", suffix=".json")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as problem:
        raise NotAllowedNow(
            f"No file could be written for the editor: {problem.strerror}.", hint="Free some space."
        ) from None
    return Path(name)


def edit_file(path: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Open the editor and wait for it.

    Returns:
        What the file holds afterwards.

    Raises:
        NotAllowedNow: there is no editor, or it ended with an error.
    """
    command = editor_command(environ)
    try:
        ended = subprocess.run([*command, str(path)], env=dict(environ), check=False).returncode
    except OSError as problem:
        raise NotAllowedNow(
            f"The editor {command[0]} could not be started: {problem.strerror}.",
            hint="Set another EDITOR.",
        ) from None
    if ended != 0:
        raise NotAllowedNow(
            f"The editor {command[0]} ended with error {ended}; nothing was changed.",
            hint=f"What you wrote is in {path}.",
        )
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise NotAllowedNow(f"{path} can't be read any more: {problem}.", hint="Edit it again.") from None


def _split(variable: str, words: str) -> list[str]:
    try:
        command = shlex.split(words)
    except ValueError:
        raise NotAllowedNow(f"{variable} can't be read: {words}.", hint="Check its quotes.") from None
    if shutil.which(command[0]) is None:
        raise NotAllowedNow(
            f"There is no editor {command[0]}, which {variable} names.",
            hint=f"Set another {variable}.",
        )
    return command
