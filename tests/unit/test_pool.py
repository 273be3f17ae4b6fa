"""The work pool against real children that are really killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import pytest_asyncio

from persona_tui.errors import ServiceRefused
from persona_tui.pool import WorkerDied, WorkPool, WorkTimeout


def add(first: int, second: int) -> int:
    return first + second


def double(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same array changed in place, and a short one."""
    numbers *= 2
    return numbers, numbers[:3, 0]


def facts() -> tuple[int, int, int, bool, bool]:
    """pid, nice value, OOM score, whether SIGINT is ignored, whether any standard stream is a terminal."""
    score = int(Path("/proc/self/oom_score_adj").read_text())
    blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    ignored = blocked and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return os.getpid(), os.nice(0), score, ignored, any(os.isatty(number) for number in range(3))


def sleep_for(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def die_once(marker: str) -> str:
    """Kill this process, unless it has been done before."""
    path = Path(marker)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "second time lucky"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def note_start_and_sleep(marker: str, seconds: float) -> None:
    Path(marker).touch()
    time.sleep(seconds)


def refuse() -> None:
    raise ServiceRefused("It said no.", status=400, code=9)


def open_missing_file() -> None:
    Path("/no/such/file").read_text()


class Awkward(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def raise_awkward() -> None:
    raise Awkward("this", "that")


def give_back_a_lock() -> object:
    import threading

    return threading.Lock()


def chatter() -> None:
    print("python speaks")
    os.system("echo a program speaks >&2")


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[WorkPool]:
    pool = WorkPool()
    yield pool
    await pool.aclose()


async def test_calls_share_one_child_that_is_kept_alive(pool: WorkPool) -> None:
    assert await pool.run(add, 2, 3) == 5
    pids = {(await pool.run(facts))[0] for _ in range(3)}
    assert len(pids) == 1
    assert os.getpid() not in pids


async def test_long_arrays_go_beside_the_message_and_can_be_written_on(pool: WorkPool) -> None:
    sent = np.asfortranarray(np.arange(90_000.0).reshape(300, 300))
    for _ in range(2):
        whole, short = await pool.run(double, sent)
        assert np.array_equal(whole, 2 * sent) and np.array_equal(short, 2 * sent[:3, 0])
        whole[0, 0] = 1.0


async def test_the_child_is_nice_expendable_deaf_to_ctrl_c_and_off_the_terminal(pool: WorkPool) -> None:
    own_niceness = os.nice(0)
    _pid, niceness, score, ignores_interrupt, on_terminal = await pool.run(facts)
    assert niceness == min(own_niceness + 10, 19)
    assert score == 500
    assert ignores_interrupt
    assert not on_terminal


async def test_two_workers_are_two_children_and_a_third_call_waits() -> None:
    pool = WorkPool(workers=2)
    try:
        pids = await asyncio.gather(*(pool.run(sleep_for, 0.2) for _ in range(3)))
        assert len(set(pids)) == 2
    finally:
        await pool.aclose()


async def test_a_call_whose_child_dies_is_made_again_in_a_new_child(pool: WorkPool, tmp_path: Path) -> None:
    assert await pool.run(die_once, str(tmp_path / "died")) == "second time lucky"


@pytest.mark.long
async def test_a_child_killed_while_idle_is_replaced(pool: WorkPool) -> None:
    pid = (await pool.run(facts))[0]
    os.kill(pid, signal.SIGKILL)
    assert await pool.run(add, 1, 1) == 2


async def test_a_call_that_kills_its_child_twice_fails_and_the_pool_goes_on(pool: WorkPool) -> None:
    with pytest.raises(WorkerDied, match="die died 2 times"):
        await pool.run(die)
    assert await pool.run(add, 1, 1) == 2


async def test_an_exception_comes_back_whole_with_the_childs_traceback(pool: WorkPool) -> None:
    with pytest.raises(ServiceRefused, match="It said no") as caught:
        await pool.run(refuse)
    assert (caught.value.status, caught.value.code) == (400, 9)
    assert "in refuse" in caught.value.__notes__[0]


@pytest.mark.long
async def test_an_os_error_of_the_function_is_not_taken_for_a_dead_child(pool: WorkPool) -> None:
    with pytest.raises(FileNotFoundError):
        await pool.run(open_missing_file)


@pytest.mark.long
async def test_what_can_not_be_pickled_is_told_and_harms_nothing(pool: WorkPool) -> None:
    pid = (await pool.run(facts))[0]
    with pytest.raises(RuntimeError, match="Awkward: this and that"):
        await pool.run(raise_awkward)
    with pytest.raises(RuntimeError, match="can't be pickled"):
        await pool.run(give_back_a_lock)
    with pytest.raises(Exception, match="lambda"):
        await pool.run(lambda: 1)
    assert (await pool.run(facts))[0] == pid


async def test_a_timeout_kills_the_child_and_the_next_call_gets_a_new_one(pool: WorkPool) -> None:
    pid = (await pool.run(facts))[0]
    with pytest.raises(WorkTimeout):
        await pool.run(sleep_for, 60, timeout=0.1)
    assert not psutil.pid_exists(pid)
    assert await pool.run(add, 1, 1) == 2


@pytest.mark.long
async def test_a_cancelled_caller_leaves_the_child_alive(pool: WorkPool, tmp_path: Path) -> None:
    pid = (await pool.run(facts))[0]
    marker = tmp_path / "started"
    caller = asyncio.create_task(pool.run(note_start_and_sleep, str(marker), 0.3))
    while not marker.exists():
        await asyncio.sleep(0.01)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert (await pool.run(facts))[0] == pid


@pytest.mark.long
async def test_what_the_child_prints_goes_to_the_given_file(tmp_path: Path) -> None:
    pool = WorkPool(output=tmp_path / "worker.log")
    try:
        await pool.run(chatter)
    finally:
        await pool.aclose()
    assert set((tmp_path / "worker.log").read_text().splitlines()) == {"python speaks", "a program speaks"}


async def test_closing_ends_the_children_and_refuses_new_work() -> None:
    pool = WorkPool()
    pid = (await pool.run(facts))[0]
    await pool.aclose()
    assert not psutil.pid_exists(pid)
    with pytest.raises(RuntimeError, match="closed"):
        await pool.run(add, 1, 1)


async def test_a_pool_that_was_never_used_closes() -> None:
    await WorkPool().aclose()


@pytest.mark.long
async def test_closing_kills_work_that_does_not_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("persona_tui.pool._GRACE", 0.2)
    pool = WorkPool()
    marker = tmp_path / "started"
    call = asyncio.create_task(pool.run(note_start_and_sleep, str(marker), 60))
    while not marker.exists():
        await asyncio.sleep(0.01)
    await pool.aclose()
    with pytest.raises(WorkerDied, match="closing"):
        await call


PARENT = textwrap.dedent("""
    import asyncio, os, signal, sys
    from persona_tui.pool import WorkPool
    from tests_unit_test_pool import facts, sleep_for

    async def main():
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, asyncio.current_task().cancel)
        pool = WorkPool()
        print((await pool.run(facts))[0], flush=True)
        if sys.argv[1] == "busy":
            await pool.run(sleep_for, 60)
        elif sys.argv[1] == "wait":
            await asyncio.sleep(60)

    if __name__ == "__main__":
        asyncio.run(main())
""")


def start_parent(folder: Path, mode: str) -> tuple[subprocess.Popen[str], psutil.Process]:
    """A program of its own that starts a pool; returns it and its pool's child."""
    (folder / "tests_unit_test_pool.py").write_text(Path(__file__).read_text())
    (folder / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(folder / "parent.py"), mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
    )
    assert parent.stdout is not None
    return parent, psutil.Process(int(parent.stdout.readline()))


def wait_for_end(child: psutil.Process) -> None:
    """Wait, as long as the test may take, until the process has ended; nobody may have reaped it yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        while child.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)


@pytest.mark.long(but=["busy"])
@pytest.mark.timeout(30)
@pytest.mark.parametrize("mode", ["busy", "wait"])
def test_the_child_dies_with_a_parent_that_is_killed(tmp_path: Path, mode: str) -> None:
    parent, child = start_parent(tmp_path, mode)
    parent.kill()
    parent.communicate()
    wait_for_end(child)


@pytest.mark.long
@pytest.mark.timeout(30)
def test_ctrl_c_ends_the_program_and_no_child_complains_or_stays(tmp_path: Path) -> None:
    parent, child = start_parent(tmp_path, "busy")
    os.killpg(parent.pid, signal.SIGINT)
    _, errors = parent.communicate(timeout=30)
    assert errors.strip().endswith("CancelledError")
    assert errors.count("Traceback") == 1
    wait_for_end(child)


@pytest.mark.long
@pytest.mark.timeout(30)
def test_a_program_that_forgets_to_close_ends_all_the_same(tmp_path: Path) -> None:
    parent, child = start_parent(tmp_path, "leave")
    _, errors = parent.communicate(timeout=30)
    assert (parent.returncode, errors) == (0, "")
    wait_for_end(child)


@pytest.mark.long
def test_a_textual_app_can_use_it_although_it_replaces_the_standard_streams() -> None:
    program = textwrap.dedent("""
        import os
        from textual.app import App
        from persona_tui.pool import WorkPool

        class Small(App):
            async def on_mount(self):
                pool = WorkPool()
                try:
                    self.exit(await pool.run(os.getppid))
                finally:
                    await pool.aclose()

        print(Small().run(headless=True) == os.getpid())
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_importing_the_pool_loads_no_machinery() -> None:
    program = "import sys, persona_tui.pool; print('multiprocessing' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


async def test_an_idle_child_gives_its_memory_back_and_the_next_call_starts_another() -> None:
    async with contextlib.aclosing(WorkPool(idle=0.02)) as pool:
        first = await pool.run(os.getpid)
        while psutil.pid_exists(first):
            await asyncio.sleep(0.01)
        assert await pool.run(os.getpid) != first
