"""Acting as somebody else, or under a limit, in a forked child."""

from __future__ import annotations

import os
from collections.abc import Callable

NOBODY = 65534


def in_child(act: Callable[[], str], *, uid: int | None = None) -> str:
    """What the act returns, or the error it raises, in a forked child that became that user.

    A fork, since the interpreter itself may lie where that user can't start it.

    Args:
        uid: None stays the user.
    """
    reading, writing = os.pipe()
    forked = os.fork()
    if forked == 0:
        try:
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            said = act()
        except BaseException as problem:
            said = f"{type(problem).__name__}: {problem} {getattr(problem, 'hint', '')}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        said = file.read()
    os.waitpid(forked, 0)
    return said
