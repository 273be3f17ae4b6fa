"""The sandbox as a process: one line, one token, one clock, an end with its parent, faults as planned."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from tests.support.comfyui import Server, small_graph
from tests.support.sandbox import SandboxProcess

DEADLINE_SECONDS = 30.0
SERVICES = ("comfyui", "instagram", "gemini", "media")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    made = SandboxProcess(tmp_path_factory.mktemp("frame"))
    yield made
    assert made.stop() == 0


@pytest.fixture
def server(process: SandboxProcess) -> Iterator[Server]:
    yield Server(process.comfyui, process.token)
    process.clear_faults("comfyui")


def gone(pid: int) -> bool:
    until = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_the_four_services_listen_on_loopback_under_one_token(process: SandboxProcess) -> None:
    assert set(process.addresses) == set(SERVICES)
    for service in SERVICES:
        assert process.addresses[service].startswith("http://127.0.0.1:")
        assert process.control(service, "GET", "faults") == []
    assert process.media_dir == process.state / "public"
    assert process.media_dir.is_dir()


@pytest.mark.parametrize("service", SERVICES)
def test_control_wants_the_token_everywhere(process: SandboxProcess, service: str) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": process.token},
        {"x-goog-api-key": "x"},
    ):
        answer = httpx.get(
            f"{process.addresses[service]}/_sandbox/ledger", headers=headers, trust_env=False, verify=False
        )
        assert answer.status_code == 401


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_strange_hosts_and_origins_are_refused(
    process: SandboxProcess, service: str, headers: dict[str, str]
) -> None:
    sent = {"Authorization": f"Bearer {process.token}", "x-goog-api-key": process.token, **headers}
    for path in ("/", "/_sandbox/ledger", "/ws"):
        answer = httpx.get(process.addresses[service] + path, headers=sent, trust_env=False, verify=False)
        assert (answer.status_code, answer.content) == (403, b"")


def test_a_planned_fault_strikes_as_often_as_planned_and_is_written_down(
    process: SandboxProcess, server: Server
) -> None:
    process.plan("comfyui", "system_stats", "fail_before", times=2, skip=1, status=418, body={"tea": True})
    answers = [server.raw("GET", "/system_stats") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 418, 418, 200]
    assert answers[1].json() == {"tea": True}
    faults = process.ledger("comfyui", "fault")[-2:]
    assert [(one["call"], one["kind"]) for one in faults] == [("system_stats", "fail_before")] * 2


@pytest.mark.long
def test_a_probability_strikes_some_calls_and_the_same_ones_for_the_same_seed(tmp_path: Path) -> None:
    def pattern(state: Path, seed: int) -> list[int]:
        child = SandboxProcess(state, arguments=("--latency", "0", "--seed", str(seed)))
        try:
            child.plan("comfyui", "features", "fail_before", times=None, probability=0.4)
            one = Server(child.comfyui, child.token)
            return [one.raw("GET", "/features").status_code for _ in range(30)]
        finally:
            child.kill()

    first = pattern(tmp_path / "a", 1)
    assert set(first) == {200, 500}
    assert pattern(tmp_path / "b", 1) == first
    assert pattern(tmp_path / "c", 2) != first


@pytest.mark.parametrize(
    "fault",
    [
        {"call": "x", "kind": "nonsense"}, {"kind": "slow"}, {"call": "x", "kind": "slow", "seconds": -1},
        {"call": "x", "kind": "slow", "times": 0}, {"call": "x", "kind": "slow", "unknown": 1}, 7,
    ],
)  # fmt: skip
def test_a_fault_that_makes_no_sense_is_refused(
    process: SandboxProcess, server: Server, fault: object
) -> None:
    answer = server.raw("POST", "/_sandbox/faults", json=fault)
    assert answer.status_code == 400
    assert process.control("comfyui", "GET", "faults") == []


def test_a_dropped_connection_ends_without_a_byte(process: SandboxProcess, server: Server) -> None:
    process.plan("comfyui", "features", "effect_then_drop")
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_SECONDS) as raw:
        head = (
            f"GET /features HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {process.token}\r\n\r\n"
        )
        raw.sendall(head.encode())
        assert raw.recv(100) == b""


def test_the_clock_is_one_for_all_and_can_be_moved(process: SandboxProcess) -> None:
    process.control("comfyui", "POST", "clock", json={"offset": 0})
    process.advance(3600)
    moved = process.control("media", "POST", "clock", json={"advance": 1800})
    assert moved["offset"] == 5400
    assert process.control("instagram", "GET", "clock")["offset"] == 5400
    set_to = process.control("comfyui", "POST", "clock", json={"now": "2030-01-01T00:00:00+00:00"})
    assert set_to["now"].startswith("2030-01-01T00:00:0")
    refused = Server(process.comfyui, process.token).raw(
        "POST", "/_sandbox/clock", json={"now": "2030-01-01"}
    )
    assert refused.status_code == 400
    process.control("comfyui", "POST", "clock", json={"offset": 0})


def test_the_ledger_is_read_back_after_a_kill_and_can_be_read_in_parts(tmp_path: Path) -> None:
    process = SandboxProcess(tmp_path)
    try:
        server = Server(process.comfyui, process.token)
        server.raw("POST", "/prompt", json={"prompt": small_graph(), "client_id": "x"})
        before = process.ledger("comfyui", "queued")
        process.kill()
        with (tmp_path / "comfyui/ledger.jsonl").open("a") as file:
            file.write('{"n": 99, "ev')
        process.restart()
        assert process.ledger("comfyui", "queued") == before
        server.raw("POST", "/prompt", json={"prompt": {}})
        entries = process.ledger("comfyui")
        assert [entry["n"] for entry in entries] == list(range(len(entries)))
        last = process.control("comfyui", "GET", "ledger", params={"since": len(entries) - 1})
        assert [entry["event"] for entry in last] == ["rejected"]
        restored = (tmp_path / "comfyui/ledger.jsonl").read_text().splitlines()
        assert [json.loads(line) for line in restored] == entries
    finally:
        process.kill()


def test_a_taken_port_is_told_in_one_sentence(tmp_path: Path, process: SandboxProcess) -> None:
    port = process.comfyui.rpartition(":")[2]
    command = [sys.executable, "-m", "persona_tui.sandbox", "--state", str(tmp_path), "--comfyui-port", port]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"The sandbox can't listen on port {port} for comfyui: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "bad", [["--image-size", "12"], ["--image-size", "0x5"], ["--latency", "-1"], ["--seed", "x"]]
)
def test_bad_options_are_usage_errors(tmp_path: Path, bad: list[str]) -> None:
    command = [sys.executable, "-m", "persona_tui.sandbox", "--state", str(tmp_path), *bad]
    assert subprocess.run(command, capture_output=True, timeout=DEADLINE_SECONDS).returncode == 2


@pytest.mark.long(but=["15"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    process = SandboxProcess(tmp_path)
    os.kill(process.pid, number)
    assert process.stop() == 0


PARENT = """
import subprocess, sys, time
command = [sys.executable, "-m", "persona_tui.sandbox", "--state", sys.argv[1], "--watch-parent"]
child = subprocess.Popen(command, stdin={stdin}, stdout=subprocess.PIPE)
sys.stdout.write(child.stdout.readline().decode())
sys.stdout.flush()
time.sleep(600)
"""


@pytest.mark.long(but=["subprocess.PIPE"])
@pytest.mark.parametrize("stdin", ["subprocess.PIPE", "subprocess.DEVNULL"])
def test_it_ends_with_its_parent(tmp_path: Path, stdin: str) -> None:
    command = [sys.executable, "-c", PARENT.format(stdin=stdin), str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = json.loads(parent.stdout.readline())["pid"]
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pid)


@pytest.mark.long
def test_the_token_is_new_at_every_start_and_in_no_command_line(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "persona_tui.sandbox",
        "--state",
        str(tmp_path),
        "--watch-parent",
        "--json",
    ]
    tokens = []
    for _ in range(2):
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdin is not None
        told = json.loads(child.stdout.readline())
        tokens.append(told["token"])
        assert told["token"] not in " ".join(psutil.Process(told["pid"]).cmdline())
        child.stdin.close()
        assert child.wait(DEADLINE_SECONDS) == 0
        child.stdout.close()
    assert len(set(tokens)) == 2
    assert all(len(token) >= 32 for token in tokens)
