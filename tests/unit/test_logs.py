"""The log keeps what happened and no secret, whatever is thrown at it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import stat
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import structlog

from persona_tui import logs
from persona_tui.logs import configure_logging, redact, register_secret

CANARY = "canary-9f3b1c7d55e0a4"


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """A configured log; afterwards `logging` and structlog are as they were."""
    root = logging.getLogger()
    level, raise_exceptions = root.level, logging.raiseExceptions
    path = tmp_path / "logs" / "persona-tui.log"
    configure_logging(path, level="DEBUG")
    yield path
    for handler in list(logs._handlers):
        root.removeHandler(handler)
        handler.close()
    logs._handlers.clear()
    logs._secrets.clear()
    logs._secret_pattern = None
    root.setLevel(level)
    logging.raiseExceptions = raise_exceptions
    logging.captureWarnings(False)
    structlog.reset_defaults()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_line_is_json_with_time_level_event_logger_and_fields(log_file: Path) -> None:
    structlog.get_logger("persona_tui.engine").info("run started", run=7, steps=("a", "b"), pic=b"123")
    (line,) = lines(log_file)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "run started",
        "logger": "persona_tui.engine",
        "run": 7,
        "steps": ["a", "b"],
        "pic": "3 bytes",
    }


def test_context_stdlib_logging_and_warnings_land_in_the_same_file(log_file: Path) -> None:
    with structlog.contextvars.bound_contextvars(job=3):
        structlog.get_logger().warning("slow")
    logging.getLogger("alembic").info("upgrade %s", "head", extra={"revision": "abc"})
    warnings.warn("old way", stacklevel=1)
    slow, upgrade, warning = lines(log_file)
    assert (slow["job"], slow["level"]) == (3, "warning")
    assert (upgrade["event"], upgrade["revision"], upgrade["logger"]) == ("upgrade head", "abc", "alembic")
    assert "old way" in warning["event"]


def test_lines_below_the_level_are_dropped(log_file: Path) -> None:
    configure_logging(log_file, level="WARNING")
    structlog.get_logger().info("not kept")
    structlog.get_logger().error("kept")
    assert [line["event"] for line in lines(log_file)] == ["kept"]


def test_folder_and_file_belong_to_the_owner_alone_even_under_a_loose_umask(log_file: Path) -> None:
    log_file.parent.mkdir(mode=0o777)
    previous = os.umask(0)
    try:
        structlog.get_logger().info("x")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(log_file.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(log_file.stat().st_mode) == 0o600


def test_five_files_are_kept_each_of_bounded_size(log_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_FILE_SIZE", 20_000)
    configure_logging(log_file)
    logger = structlog.get_logger()
    for number in range(150):
        logger.info("x" * 1000, number=number)
    files = sorted(log_file.parent.glob("persona-tui.log*"))
    kept = [file for file in files if file.suffix != ".lock"]
    assert [file.name for file in kept] == ["persona-tui.log"] + [f"persona-tui.log.{n}" for n in range(1, 5)]
    assert all(file.stat().st_size <= 21_200 for file in kept)
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in kept)
    assert lines(log_file)[-1]["number"] == 149


def test_two_processes_that_share_the_file_lose_no_line_in_rotation(log_file: Path) -> None:
    program = textwrap.dedent(f"""
        import sys, structlog
        from pathlib import Path
        from persona_tui import logs
        from persona_tui.logs import configure_logging
        logs._FILE_SIZE = 60_000
        configure_logging(Path({str(log_file)!r}))
        for number in range(150):
            structlog.get_logger().info("y" * 500, who=sys.argv[1], number=number)
    """)
    children = [subprocess.Popen([sys.executable, "-c", program, name]) for name in "ab"]
    assert [child.wait(60) for child in children] == [0, 0]
    seen = {
        (line["who"], line["number"])
        for file in log_file.parent.glob("persona-tui.log*")
        if file.suffix != ".lock"
        for line in lines(file)
    }
    assert seen == {(who, number) for who in "ab" for number in range(150)}


SECRET_TEXTS = [
    f"GET https://graph.instagram.com/me?fields=id&access_token={CANARY}&x=1",
    f"https://generativelanguage.googleapis.com/v1/models?key={CANARY}",
    f"https://s3.eu/bucket/a.jpg?X-Amz-Algorithm=AWS4&X-Amz-Credential={CANARY}&X-Amz-Signature={CANARY}",
    f"https://storage/x?X-Goog-Signature={CANARY}",
    f"postgresql://persona:{CANARY}@db.example:5432/persona",
    f"https://{CANARY}@proxy.example/",
    f"Authorization: Bearer {CANARY}",
    f"Authorization: Token {CANARY}",
    f"bearer {CANARY}",
    f"Cookie: session={CANARY}; other={CANARY}",
    f"x-goog-api-key: {CANARY}",
    f'{{"access_token": "{CANARY}", "expires_in": 5}}',
    f"{{'client_secret': '{CANARY}'}}",
    f"[('authorization', '{CANARY}')]",
    f"[(b'x-goog-api-key', b'{CANARY}')]",
    json.dumps(json.dumps({"password": CANARY})),
    f"password={CANARY} host=db",
    f"refresh_token = {CANARY}",
    f"acc\x1b[31mess_token={CANARY}",
    f"access_\u200btoken={CANARY}",
]


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_a_secret_is_masked_by_what_stands_before_it(text: str) -> None:
    assert CANARY not in redact(text)
    assert CANARY not in redact(f"failed: {text} (see above)")


@pytest.mark.parametrize(
    "token",
    [
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "EAAGm0PX4ZCpsBAKZCx1234567890abcdefXYZ",
        "IGAAI1234567890abcdefghijklmnop",
        "AKIAIOSFODNN7EXAMPLE",
        "hf_abcdefghijklmnopqrstuvwxyz123456",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_token_of_known_shape_is_masked_anywhere(token: str) -> None:
    assert redact(f"it said {token}, then left") == "it said [redacted], then left"


@pytest.mark.parametrize(
    "text",
    [
        "The key was rejected; sort key=name",
        "https://host/path?page=2&size=10#top",
        "run 7 of 12: 3.5 it/s, mail someone@example.org",
        "the basic idea and the bearer of news",
        "secretary took a cookie",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert redact(text) == text


def test_a_registered_secret_is_masked_in_every_spelling() -> None:
    secret = 'p@ss "w/ö rd\\x'
    register_secret(secret)
    spellings = [
        secret,
        repr(secret),
        json.dumps(secret),
        str(httpx.URL("https://h/", params={"q": secret})),
        base64.b64encode(secret.encode()).decode(),
        f"prefix{secret}suffix",
    ]
    for spelling in spellings:
        assert "[redacted]" in redact(spelling), spelling
        assert "rd\\" not in redact(spelling)
    register_secret("short")
    register_secret(None)
    assert redact("short words stay") == "short words stay"


def test_secret_fields_are_masked_at_any_depth_and_counts_are_not(log_file: Path) -> None:
    structlog.get_logger().info(
        "call",
        token=CANARY,
        headers={"Authorization": CANARY, "x": [{"api_key": CANARY}, ("cookie", CANARY)]},
        max_tokens=512,
        db_password=12345678,
        has_token=True,
        **{CANARY[:3] + "_secret": CANARY},
    )
    (line,) = lines(log_file)
    # A pair is no mapping: its name is a value like any other. It is the reason to register secrets.
    assert json.dumps(line).count(CANARY) == 1
    assert line["max_tokens"] == 512
    assert line["has_token"] is True
    assert line["db_password"] == "[redacted]"


def test_a_traceback_has_causes_but_no_local_values_and_no_secret(log_file: Path) -> None:
    register_secret(CANARY)

    def call(_key: str) -> None:
        try:
            raise ValueError(f"bad \x1b[31m reply from https://h/?access_token={CANARY}")
        except ValueError as problem:
            raise RuntimeError("while calling") from problem

    try:
        call(CANARY)
    except RuntimeError:
        structlog.get_logger().exception("failed")
        logging.getLogger("library").exception("failed too")
    for line in lines(log_file):
        assert "ValueError: bad  reply" in line["exception"]
        assert "RuntimeError: while calling" in line["exception"]
    assert CANARY not in log_file.read_text()
    assert "\\u001b" not in log_file.read_text()


def test_objects_that_cannot_be_printed_cost_nothing_but_their_text(log_file: Path) -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no")

    class HostileError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    loop: dict[str, Any] = {}
    loop["again"] = loop
    structlog.get_logger().error("odd", it=Hostile(), loop=loop, half="\ud83d", exc_info=HostileError())
    (line,) = lines(log_file)
    assert line["it"] == "unprintable Hostile"
    assert line["half"] == ""
    assert "HostileError" in line["exception"]


def test_a_line_break_in_a_value_can_not_forge_a_line(log_file: Path) -> None:
    structlog.get_logger().info('x\n{"level": "info", "event": "forged"}')
    assert len(log_file.read_text().splitlines()) == 1


def test_a_huge_text_is_cut_and_the_secret_on_the_cut_is_masked() -> None:
    text = "x" * 19_995 + " access_token=" + CANARY + "y" * 100_000
    cut = redact(text)
    assert len(cut) < 20_100
    assert "canary" not in cut


def test_libraries_that_log_urls_are_silent(log_file: Path) -> None:
    """httpx, httpx2 and their cores write full URLs at DEBUG and INFO; none of it may arrive."""
    with quiet_server() as url:
        httpx.get(f"{url}/?q={CANARY}", trust_env=False)
        httpx2.get(f"{url}/?q={CANARY}", trust_env=False)
        asyncio.run(get_async(f"{url}/?q={CANARY}"))
    for name in ("httpx", "httpcore.http11", "httpx2", "httpcore2.connection", "websockets.client"):
        logging.getLogger(name).error("url %s", CANARY)
    logging.getLogger("google_genai.models").warning(CANARY)
    structlog.get_logger().info("end")
    assert [line["event"] for line in lines(log_file) if line["logger"] != "asyncio"] == ["end"]


async def get_async(url: str) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        await client.get(url)


class quiet_server:
    """A real HTTP server on loopback that answers 200."""

    def __enter__(self) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_problem: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def run_child(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_full_disk_costs_lines_but_neither_an_error_nor_a_word_on_the_screen(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel refuse the writes (EFBIG), as a full disk does (ENOSPC)."""
    log = tmp_path / "logs" / "x.log"
    child = run_child(
        """
        import resource, sys
        from pathlib import Path
        import structlog
        from persona_tui.logs import configure_logging
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        configure_logging(Path(sys.argv[1]))
        log = structlog.get_logger()
        for number in range(40):
            log.info("x" * 200, number=number)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        log.info("room again")
        print("alive")
        """,
        str(log),
    )
    assert (child.returncode, child.stdout, child.stderr) == (0, "alive\n", "")
    text = log.read_text()
    assert '"room again"' in text
    confession = json.loads(text.splitlines()[-1])
    assert confession["event"] == "log lines were lost"
    assert 25 < confession["lines"] < 40


def test_a_folder_that_can_not_be_made_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    child = run_child(
        """
        import sys
        from pathlib import Path
        import structlog
        from persona_tui.logs import configure_logging
        configure_logging(Path(sys.argv[1]) / "below" / "x.log")
        structlog.get_logger().error("nowhere to go")
        print("alive")
        """,
        str(tmp_path / "file"),
    )
    assert (child.returncode, child.stdout, child.stderr) == (0, "alive\n", "")


def test_nothing_is_written_to_the_screen_unless_asked(tmp_path: Path) -> None:
    program = """
        import sys, logging, warnings
        from pathlib import Path
        import structlog
        from persona_tui.logs import configure_logging
        configure_logging(Path(sys.argv[1]), console=sys.argv[2] == "yes")
        structlog.get_logger().error("mine", token="abc")
        logging.getLogger("x").error("theirs")
        warnings.warn("careful")
        """
    silent = run_child(program, str(tmp_path / "a.log"), "no")
    spoken = run_child(program, str(tmp_path / "b.log"), "yes")
    assert (silent.stdout, silent.stderr) == ("", "")
    assert spoken.stdout == ""
    assert [json.loads(line)["event"] for line in spoken.stderr.splitlines()][:2] == ["mine", "theirs"]
    assert '"abc"' not in spoken.stderr


def test_a_file_moved_away_by_hand_is_left_alone(log_file: Path) -> None:
    structlog.get_logger().info("first")
    log_file.rename(log_file.with_suffix(".old"))
    structlog.get_logger().info("second")
    assert [line["event"] for line in lines(log_file)] == ["second"]


def test_a_hostile_text_is_redacted_in_linear_time() -> None:
    for piece in ("a-", "eyJ-", "token=", "x://", "'token", "-----BEGIN PRIVATE KEY-----", "bearer "):
        assert isinstance(redact(piece * 40_000), str)
