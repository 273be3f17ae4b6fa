"""Item 12: one holder per card, proved by lock, process and driver; ComfyUI rests meanwhile."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.database.engine import Database
from persona_tui.errors import NotAllowedNow
from persona_tui.gpu.nvml import Card, CardProcess
from persona_tui.services import lease
from persona_tui.services.training.draining import drain, free_memory
from persona_tui.setting_sections import MediaSettings
from tests.database.growing import add_run
from tests.faults.engine_child import FAST, World, ledger
from tests.support.comfyui import new_id, passed, small_graph
from tests.support.sandbox import SandboxProcess

GIB = 1 << 30
CARD = Card(0, "NVIDIA GeForce RTX 4090", 24 * GIB, 2 * GIB, 0, 40, "575", "GPU-0")
PLACE = lease.places([CARD])[0]

_HOLD = """
import fcntl, os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(descriptor, fcntl.LOCK_EX)
os.set_inheritable(descriptor, True)
if len(sys.argv) > 2 and os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "locks"


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for one in started:
        one.kill()
        one.wait()
        assert one.stdout is not None
        one.stdout.close()


def holding(children: list[subprocess.Popen[str]], path: Path, *more: str) -> int:
    """A process that holds the lock; its pid. With a further word it is an orphan of the one that took it."""
    path.parent.mkdir(exist_ok=True)
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path), *more], stdout=subprocess.PIPE, text=True
    )
    children.append(child)
    assert child.stdout is not None
    return int(child.stdout.readline())


def take(db: Database, locks: Path, cards: tuple[Card, ...] = (CARD,)) -> lease.Lease:
    with db.session_scope() as session:
        return lease.take(session, PLACE, "training", locks, cards=lambda: cards)


def test_training_12_a_card_has_one_holder_until_lock_process_and_driver_agree(
    db: Database, locks: Path, children: list[subprocess.Popen[str]]
) -> None:
    first = take(db, locks)
    with pytest.raises(NotAllowedNow, match=r"RTX 4090 \(card 0\) is in use by training since"):
        take(db, locks)
    pid = holding(children, lease.lock_file(locks, first.card))
    with db.session_scope() as session:
        lease.hand_over(session, first, pid)
        assert lease.sweep(session, locks, lambda: (CARD,)) == ()
    with pytest.raises(NotAllowedNow, match="holds the card's lock"):
        take(db, locks)
    children[0].kill()
    children[0].wait()
    # Its process and lock are gone, but the driver still shows a trainer on the card.
    ghost = subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)", "persona_tui.gpu.training"],
        stdout=subprocess.PIPE,
        text=True,
    )
    children.append(ghost)
    assert ghost.stdout is not None
    ghost.stdout.readline()  # its command line is there a moment after it was started
    busy = replace(CARD, processes=(CardProcess(ghost.pid, GIB), CardProcess(1, None)))
    with pytest.raises(NotAllowedNow, match="still computes on the card"):
        take(db, locks, (busy,))
    second = take(db, locks)
    assert second.fence == first.fence + 1
    with db.session_scope() as session:
        # The one that was fenced out changes nothing any more.
        lease.release(session, first)
        lease.hand_over(session, first, os.getpid())
        assert [one.id for one in lease.held_here(session)] == [second.id]
        lease.release(session, second)
        assert lease.held_here(session) == ()


def test_training_12_a_child_that_outlived_its_parent_keeps_the_card(
    db: Database, locks: Path, children: list[subprocess.Popen[str]]
) -> None:
    held = take(db, locks)
    orphan = holding(children, lease.lock_file(locks, held.card), "orphan")
    children[0].wait()
    with db.session_scope() as session:
        lease.hand_over(session, held, children[0].pid)
    assert lease.living(lease.process_id(children[0].pid)) is None
    with pytest.raises(NotAllowedNow, match="holds the card's lock"):
        take(db, locks)
    os.kill(orphan, 9)
    while lease.is_locked(lease.lock_file(locks, held.card)):
        time.sleep(0.01)
    with db.session_scope() as session:
        assert [one.id for one in lease.sweep(session, locks, lambda: (CARD,))] == [held.id]


def test_training_12_whoever_only_looks_at_a_lock_is_no_holder(locks: Path) -> None:
    locks.mkdir()
    path, stop, found = locks / "card.lock", threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            found.append(lease.is_locked(path))

    other = threading.Thread(target=look)
    other.start()
    found += [lease.is_locked(path) for _ in range(3000)]
    stop.set()
    other.join(30)
    assert not any(found)


def test_training_12_a_pid_of_another_process_is_no_sign_of_life(db: Database, locks: Path) -> None:
    held = take(db, locks)
    me = lease.process_id(os.getpid())
    for holder in (me[:-1] + "0x", me.replace(":", ":other", 1), f"elsewhere{me}"):
        with db.session_scope() as session:
            session.execute(text("UPDATE gpu_leases SET holder = :holder"), {"holder": holder})
            changed = lease.held_here(session)[0]
        assert lease.signs_of_life(changed, locks, lambda: ()) == ()
    assert lease.signs_of_life(held, locks, lambda: ()) != ()


def test_training_12_of_two_that_take_a_card_at_once_one_gets_it(db: Database, locks: Path) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(2)

    def race() -> None:
        barrier.wait(10)
        try:
            take(db, locks)
            outcomes.append("taken")
        except NotAllowedNow:
            outcomes.append("refused")

    racers = [threading.Thread(target=race) for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(30)
    assert sorted(outcomes) == ["refused", "taken"]


def test_training_12_several_cards_are_held_all_or_none(db: Database, locks: Path) -> None:
    cards = tuple(replace(CARD, index=number, uuid=f"GPU-{number}") for number in range(3))
    first, second, third = lease.places(cards)

    def take_all(*wanted: lease.Place) -> tuple[lease.Lease, ...]:
        with db.session_scope() as session:
            return lease.take_all(session, wanted, "training", locks, cards=lambda: cards)

    def held() -> set[str]:
        with db.session_scope() as session:
            return {one.card for one in lease.held_here(session)}

    (other,) = take_all(second)
    with pytest.raises(NotAllowedNow, match=r"RTX 4090 \(card 1\) is in use"):
        take_all(first, second)
    assert held() == {second.name}
    both = take_all(third, first)
    assert held() == {first.name, second.name, third.name}
    with db.session_scope() as session:
        for one in (*both, other):
            lease.release(session, one)
    # Processes that share a place hold it once.
    assert [one.card for one in take_all(first, first)] == [first.name]


def test_training_12_of_two_that_want_the_same_cards_one_gets_both(db: Database, locks: Path) -> None:
    cards = (CARD, replace(CARD, index=1, uuid="GPU-1"))
    here, outcomes, barrier = lease.places(cards), [], threading.Barrier(2)

    def race(wanted: tuple[lease.Place, ...]) -> None:
        barrier.wait(10)
        try:
            with db.session_scope() as session:
                lease.take_all(session, wanted, "training", locks, cards=lambda: cards)
            outcomes.append("taken")
        except NotAllowedNow:
            outcomes.append("refused")

    racers = [threading.Thread(target=race, args=(wanted,)) for wanted in (here, here[::-1])]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(30)
    assert sorted(outcomes) == ["refused", "taken"]
    with db.session_scope() as session:
        assert len(lease.held_here(session)) == 2


def test_training_12_only_servers_of_this_machine_rest(db: Database, locks: Path) -> None:
    take(db, locks)
    with db.session_scope() as session:
        assert "held by training" in (lease.kept_out(session, "http://127.0.0.1:8188") or "")
        assert lease.kept_out(session, f"http://{socket.gethostname()}:8188") is not None
        assert lease.kept_out(session, "http://192.0.2.7:8188") is None
        session.execute(text("UPDATE gpu_leases SET card = :cpu"), {"cpu": lease.places([])[0].name})
        assert lease.kept_out(session, "http://127.0.0.1:8188") is None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    process = SandboxProcess(
        tmp_path_factory.mktemp("sandbox"), arguments=("--latency", "0.2", "--image-size", "64x80")
    )
    yield process
    process.stop()


async def test_training_12_the_engine_drains_comfyui_is_freed_and_pictures_go_on_after_it(
    db: Database, server: SandboxProcess, locks: Path, tmp_path: Path
) -> None:
    settings = db.settings.model_copy(update={"media": MediaSettings(url=f"file:{tmp_path}/originals")})
    world = World(db, server, settings, len(ledger(server, "saved")))
    with db.session_scope() as session:
        add_run(session, steps={1: {"children_per_parent": 6}})
    engine, stop = world.engine(FAST), asyncio.Event()
    running = asyncio.create_task(engine.run(stop))
    while not ledger(server, "queued"):
        await asyncio.sleep(0.02)
    held = await asyncio.to_thread(take, db, locks)
    said: list[str] = []
    clients = {
        server.comfyui: ComfyUIClient(server.comfyui, server.token),
        "http://127.0.0.1:9": ComfyUIClient("http://127.0.0.1:9"),
    }
    await drain(clients, said.append)
    assert "still draws" in said[0]
    assert 0 < len(ledger(server, "queued")) < 6
    assert world.server_queue() == []
    assert ledger(server, "free")[-1]["unload_models"] is True
    assert "pictures wait" in engine.status().endpoints[0].sentence
    with db.session_scope() as session:
        lease.release(session, held)
    while len(world.saved()) < 6:
        await asyncio.sleep(0.02)
    stop.set()
    await running
    for client in clients.values():
        await client.aclose()


async def test_training_12_a_server_that_never_ends_is_waited_for_no_longer_than_told(
    server: SandboxProcess,
) -> None:
    async with ComfyUIClient(server.comfyui, server.token) as client:
        server.plan("comfyui", "execute", "slow", seconds=5, times=1)
        prompt = new_id()
        await client.submit(passed(small_graph()), prompt_id=prompt, client_id=new_id())
        with pytest.raises(NotAllowedNow, match="still has 1 prompt to draw"):
            await drain({server.comfyui: client}, lambda _: None, patience=0.1)
        await client.interrupt(prompt)


async def test_training_12_memory_comes_free_a_moment_after_it_was_asked_for() -> None:
    used = iter([20 * GIB, 20 * GIB, 2 * GIB])
    free = await free_memory(PLACE, lambda: (replace(CARD, memory_used=next(used)),), 20 * GIB)
    assert free == 22 * GIB
