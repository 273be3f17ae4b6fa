"""Who may use a card: one holder each. What holds it proves so by lock, process and driver (R32).

The row in `gpu_leases` tells every process; the lock is held by the trainer itself, so that a killed one lets
go of it and a living one can't be overlooked. A lease is free only when nothing of the three speaks for it.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import NotAllowedNow, StorageError
from persona_tui.gpu.nvml import Card, read_cards
from persona_tui.gpu.training.pulse import started_at
from persona_tui.services import events
from persona_tui.services.leadership import this_process
from persona_tui.text import slug

CPU = "cpu"
_SECONDS = 120
"""For which a lease is good without being renewed; it only tells how fresh the news is."""


class CardTaken(NotAllowedNow):
    """Somebody holds the card."""

    title = "Card is taken"


ReadCards = Callable[[], tuple[Card, ...]]


@dataclass(frozen=True)
class Place:
    """Where a training can run: a card of this machine, or its CPU.

    Attributes:
        name: 'host:GPU uuid', or 'host:cpu'; what leases are for.
        card: as the driver tells it now; None for the CPU.
    """

    name: str
    card: Card | None

    @property
    def title(self) -> str:
        """For people."""
        return "this machine's CPU" if self.card is None else f"{self.card.name} (card {self.card.index})"


@dataclass(frozen=True)
class Lease:
    """A card that somebody holds."""

    id: int
    card: str
    holder: str
    purpose: str
    training_run_id: int | None
    fence: int
    taken_at: datetime


def places(cards: Sequence[Card]) -> tuple[Place, ...]:
    """All cards of this machine; without one, its CPU."""
    host = socket.gethostname()
    found = tuple(Place(f"{host}:{card.uuid or f'card {card.index}'}", card) for card in cards)
    return found or (Place(f"{host}:{CPU}", None),)


def lock_file(folder: Path, card: str) -> Path:
    """The file that the holder of a card has locked."""
    return folder / f"{slug(card, 'card')}.lock"


def take(
    session: Session,
    place: Place,
    purpose: str,
    locks: Path,
    *,
    run_id: int | None = None,
    cards: ReadCards = read_cards,
) -> Lease:
    """Hold a card; this process is the holder until it hands over.

    A lease whose holder is gone by lock, process and driver is taken over, and the fence raised.

    Raises:
        CardTaken: somebody holds it.
        StorageError: the locks' folder can't be written.
    """
    rows_of(session, _SERIALISE, {"card": place.name})
    for held in _held(session, place.name):
        signs = signs_of_life(held, locks, cards)
        if signs:
            raise CardTaken(
                f"{place.title[0].upper()}{place.title[1:]} is in use by {_words(held)}: {signs[0]}",
                hint=_what_to_do(held, run_id),
            )
        _release(session, held.id)
    values = {
        "card": place.name,
        "holder": process_id(os.getpid()),
        "purpose": purpose,
        "run": run_id,
        "seconds": _SECONDS,
    }
    lease = Lease(*rows_of(session, _TAKE, values)[0])
    events.emit(session, "training", run_id or 0)
    return lease


def take_all(
    session: Session,
    wanted: Sequence[Place],
    purpose: str,
    locks: Path,
    *,
    run_id: int | None = None,
    cards: ReadCards = read_cards,
) -> tuple[Lease, ...]:
    """Hold all of these cards, or none: what was taken before one was refused goes with the transaction.

    A place that several processes share is held once.

    Raises:
        CardTaken: somebody holds one of them.
        StorageError: the locks' folder can't be written.
    """
    # In one order, so that two that want the same cards don't wait for each other.
    ordered = sorted({place.name: place for place in wanted}.items())
    return tuple(take(session, place, purpose, locks, run_id=run_id, cards=cards) for _, place in ordered)


def hand_over(session: Session, lease: Lease, pid: int) -> None:
    """Another process of this machine holds the card from now on."""
    rows_of(session, _HAND_OVER, {"id": lease.id, "holder": process_id(pid), "seconds": _SECONDS})


def renew(session: Session, lease: Lease) -> None:
    """Say that its holder was seen alive."""
    rows_of(session, _RENEW, {"id": lease.id, "seconds": _SECONDS})


def release(session: Session, lease: Lease) -> None:
    """Let go of a card."""
    _release(session, lease.id)
    events.emit(session, "training", lease.training_run_id or 0)


def held_here(session: Session) -> tuple[Lease, ...]:
    """The leases of this machine's cards that nobody has let go of."""
    host = socket.gethostname()
    return tuple(one for one in _held(session, None) if one.card.startswith(f"{host}:"))


def of_run(session: Session, run_id: int) -> tuple[Lease, ...]:
    """The leases that a training holds, one for each of its cards."""
    return tuple(one for one in _held(session, None) if one.training_run_id == run_id)


def sweep(session: Session, locks: Path, cards: ReadCards = read_cards) -> tuple[Lease, ...]:
    """Let go of leases of this machine whose holders are gone, so that nothing waits for them."""
    gone = tuple(one for one in held_here(session) if not signs_of_life(one, locks, cards))
    for lease in gone:
        release(session, lease)
    return gone


def kept_out(session: Session, url: str) -> str | None:
    """Why the ComfyUI at this address is to rest, in a sentence; None where it may work.

    A training on a card of this machine has all servers of this machine rest: which card a server uses, it
    does not tell.
    """
    if not is_here(url):
        return None
    held = next((one for one in held_here(session) if not one.card.endswith(f":{CPU}")), None)
    return None if held is None else f"This machine's card is held by {_words(held)}; pictures wait."


@cache
def is_here(url: str) -> bool:
    """Whether an address is this machine's own."""
    host = urlsplit(url).hostname or ""
    if host in ("localhost", socket.gethostname()):
        return True
    with suppress(ValueError):
        if ip_address(host).is_loopback:
            return True
    own = {entry.address for entries in psutil.net_if_addrs().values() for entry in entries}
    return host in own


def signs_of_life(lease: Lease, locks: Path, cards: ReadCards = read_cards) -> tuple[str, ...]:
    """What speaks for a lease of this machine still being held, in sentences; empty when it is free.

    Raises:
        StorageError: the locks' folder can't be written.
    """
    found = []
    if is_locked(lock_file(locks, lease.card)):
        found.append("its process holds the card's lock.")
    pid = living(lease.holder)
    if pid is not None:
        found.append(f"its process {pid} is alive.")
    if not found and any(map(_is_trainer, _processes_on(lease.card, cards))):
        found.append("a training process still computes on the card.")
    return tuple(found)


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold a card's lock; gives its descriptor, which children inherit to keep it while they live.

    Raises:
        NotAllowedNow: another process holds it.
        StorageError: the file can't be opened.
    """
    descriptor = _opened(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise NotAllowedNow("Another process holds the card.", hint="Try again in a moment.") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock.

    Raises:
        StorageError: the file can't be opened.
    """
    descriptor = _opened(path)
    try:
        # Shared, so that two that look at once don't take each other for a holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise StorageError(f"{path} can't be opened: {problem.strerror}.") from None


def process_id(pid: int) -> str:
    """'host:boot id:pid:start': one process for good, its start told by no clock that can be set."""
    me = this_process()
    return f"{me.host}:{me.boot_id}:{pid}:{started_at(pid)}"


def living(holder: str) -> int | None:
    """The pid of that very process, if it lives on this machine."""
    pid = holder.split(":")[2] if holder.count(":") == 3 else ""
    if not pid.isdecimal() or process_id(int(pid)) != holder:
        return None
    with suppress(psutil.Error):
        if psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE:
            return int(pid)
    return None


def _processes_on(card: str, cards: ReadCards) -> tuple[int, ...]:
    found = (place.card for place in places(cards()) if place.name == card)
    return tuple(process.pid for one in found if one is not None for process in one.processes)


def _is_trainer(pid: int) -> bool:
    with suppress(psutil.Error):
        return "persona_tui.gpu.training" in " ".join(psutil.Process(pid).cmdline())
    return False


def _words(lease: Lease) -> str:
    run = "" if lease.training_run_id is None else f" {lease.training_run_id}"
    return f"{lease.purpose}{run} since {lease.taken_at:%H:%M} UTC"


def _what_to_do(held: Lease, run_id: int | None) -> str:
    """For who wants a card that another one holds."""
    pause = f"`persona-tui train pause {'ID' if held.training_run_id is None else held.training_run_id}`"
    if run_id is None:
        return f"Wait for it, or pause it: {pause}."
    return f"`persona-tui train queue {run_id}` starts it when the card is free; {pause} frees it now."


def _held(session: Session, card: str | None) -> tuple[Lease, ...]:
    return tuple(Lease(*row) for row in rows_of(session, _HELD, {"card": card}))


def _release(session: Session, lease_id: int) -> None:
    rows_of(session, _RELEASE, {"id": lease_id})


_SERIALISE = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' card ' || :card, 0))"
_FIELDS = "id, card, holder, purpose, training_run_id, fence, taken_at"
_HELD = f"""
SELECT {_FIELDS} FROM gpu_leases
WHERE released_at IS NULL AND (CAST(:card AS text) IS NULL OR card = :card) ORDER BY id
"""
_TAKE = f"""
INSERT INTO gpu_leases (card, holder, purpose, training_run_id, fence, lease_until)
SELECT CAST(:card AS varchar), :holder, :purpose, :run, coalesce(max(fence), 0) + 1,
       persona_now() + make_interval(secs => :seconds)
FROM gpu_leases WHERE card = CAST(:card AS varchar)
RETURNING {_FIELDS}
"""
_HAND_OVER = """
UPDATE gpu_leases SET holder = :holder, lease_until = persona_now() + make_interval(secs => :seconds)
WHERE id = :id AND released_at IS NULL RETURNING id
"""
_RENEW = """
UPDATE gpu_leases SET lease_until = persona_now() + make_interval(secs => :seconds)
WHERE id = :id AND released_at IS NULL RETURNING id
"""
_RELEASE = """
UPDATE gpu_leases SET released_at = persona_now() WHERE id = :id AND released_at IS NULL RETURNING id
"""
