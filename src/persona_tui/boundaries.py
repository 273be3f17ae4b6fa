"""Numbered places at which the world can end: before and after each commit and each HTTP request.

A fault test sets an observer and kills the process at the n-th boundary; in production there is none.
"""

from __future__ import annotations

from collections.abc import Callable

Observer = Callable[[str], None]

_observer: Observer | None = None


def observe(observer: Observer | None) -> None:
    """Set, or with None remove, the one observer of this process."""
    global _observer
    _observer = observer


def reached(boundary: str) -> None:
    """Tell the observer, if any, that this boundary has been reached."""
    if _observer is not None:
        _observer(boundary)
