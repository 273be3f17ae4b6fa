"""The seal without which no `Passed` value can be made; services/safety takes it once, nobody else may."""

from __future__ import annotations


class Seal:
    """A token of which exactly one exists in a process."""

    __slots__ = ()


_THE_SEAL = Seal()
_taken = False


def take_seal() -> Seal:
    """Hand out the process's one seal.

    Raises:
        RuntimeError: it has been handed out already.
    """
    global _taken
    if _taken:
        raise RuntimeError("the seal has been taken: only services/safety may make Passed values")
    _taken = True
    return _THE_SEAL


def is_the_seal(candidate: object) -> bool:
    """Tell whether this is the process's one seal."""
    return candidate is _THE_SEAL
