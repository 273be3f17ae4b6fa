"""How much memory of the host can still be taken: the machine's, or less where a container is limited."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "Cannot allocate memory",
    "failed to map segment from shared object",
)


@dataclass(frozen=True)
class HostMemory:
    """Memory at one moment.

    Attributes:
        available: bytes that can be taken now without swapping.
        limited_by: the control group that allows no more, such as "/docker/4f2a"; empty where the machine
            itself has no more.
    """

    available: int
    limited_by: str = ""


ReadMemory = Callable[[], HostMemory]


def host_memory(root: Path = Path("/")) -> HostMemory:
    """What this process may still take: by the machine, and by the limits of its control groups.

    A group's limit holds for all processes of it and of those below. What it holds of files counts as
    available, as in the kernel's own MemAvailable: it is given back before anything else.

    Args:
        root: folder that holds `proc` and `sys`.
    """
    return min((_machine(root), *_limits(root)), key=lambda one: one.available)


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an exception, or one that it came of, says that this process got no more of the host's memory.

    Python has a class for it, PyTorch and the dynamic linker say it in words.
    """
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, MemoryError) or any(words in str(cause) for words in _NO_MEMORY):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _machine(root: Path) -> HostMemory:
    told = _told(root / "proc/meminfo")
    found = told.get("MemAvailable:")
    return HostMemory(int(psutil.virtual_memory().available) if found is None else found * 1024)


def _limits(root: Path) -> Iterator[HostMemory]:
    """What each limited group, from this process's up to the mount's, still allows."""
    for folder, mount in _groups(root):
        for group in (folder, *folder.parents):
            # Version 1 and 2 call the same by other names (kernel's cgroup-v1/memory.rst, cgroup-v2.rst).
            used = _number(group / "memory.current", group / "memory.usage_in_bytes")
            limits = [
                limit
                for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
                if (limit := _number(group / name)) is not None
            ]
            if used is not None and limits:
                free = min(limits) - used + _reclaimable(group)
                yield HostMemory(max(0, free), f"/{'' if group == mount else group.relative_to(mount)}")
            if group == mount:
                break


def _reclaimable(group: Path) -> int:
    """Bytes of files that a group holds; version 1 counts those of the groups below apart, as total."""
    told = _told(group / "memory.stat")
    names = ("inactive_file", "active_file")
    return sum(told.get(f"total_{name}", told.get(name, 0)) for name in names)


def _groups(root: Path) -> Iterator[tuple[Path, Path]]:
    """This process's groups that may limit memory: a group's folder, and where its tree is mounted."""
    paths = dict(_own_groups(root))
    for line in _lines(root / "proc/self/mountinfo"):
        # proc(5): id, parent, device, root, mount point, options, optional fields, "-", type, source, options
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            path = paths.get("")
        else:
            path = paths.get("memory") if kind[0] == "cgroup" and "memory" in kind[2].split(",") else None
        if path is None:
            continue
        mount = root / _plain(fields[4]).lstrip("/")
        below = _below(path, _plain(fields[3]))
        # A container is shown its own group as the mount, whatever the path says.
        folder = mount / below
        yield (folder if folder.is_dir() else mount), mount


def _own_groups(root: Path) -> Iterator[tuple[str, str]]:
    """Controller → path; the empty one is version 2's, which has one tree for all."""
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            yield "", path
        elif "memory" in controllers.split(","):
            yield "memory", path


def _below(path: str, mounted: str) -> str:
    """A group's path below the one that is mounted; empty where it lies outside."""
    if ".." in path.split("/"):
        return ""
    if mounted == "/":
        return path.lstrip("/")
    inside = path == mounted or path.startswith(f"{mounted}/")
    return path[len(mounted) :].lstrip("/") if inside else ""


def _plain(field: str) -> str:
    """A field of mountinfo, in which blanks are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _number(*paths: Path) -> int | None:
    """What the first of these files says, in bytes; None where none is there, or there is no limit."""
    for path in paths:
        with suppress(OSError, ValueError):
            return int(path.read_text("ascii"))
    return None


def _told(path: Path) -> dict[str, int]:
    """Name → number of a file with one pair in each line."""
    found = {}
    for line in _lines(path):
        name, *rest = line.split()
        if rest and rest[0].isdecimal():
            found[name] = int(rest[0])
    return found


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return [line for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]
    return []
