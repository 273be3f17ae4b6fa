"""The public-media stand-in: shows pictures, and nothing but pictures inside its folder."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.instagram import feed_jpeg
from tests.support.sandbox import SandboxProcess


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    made = SandboxProcess(tmp_path_factory.mktemp("media"))
    (made.media_dir / "inner").mkdir()
    for name in ("shown.jpg", "inner/deep.jpeg", ".hidden.jpg", "a name ü.jpg"):
        (made.media_dir / name).write_bytes(feed_jpeg())
    (made.media_dir / "notes.txt").write_text("private")
    (made.media_dir / "shown.jpg#1").write_text("half written")
    (made.state / "secret.jpg").write_bytes(b"outside")
    (made.media_dir / "link.jpg").symlink_to(made.state / "secret.jpg")
    (made.media_dir / "loop.jpg").symlink_to(made.media_dir / "loop.jpg")
    (made.media_dir / "folder.jpg").mkdir()
    yield made
    made.stop()


def raw(process: SandboxProcess, target: str) -> bytes:
    """The answer to a request whose target is sent as it is: clients tidy `..` away."""
    parts = urlsplit(process.media)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        request = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode("latin-1"))
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize("name", ["shown.jpg", "inner/deep.jpeg", "a%20name%20%C3%BC.jpg"])
def test_a_picture_is_shown_without_a_credential(process: SandboxProcess, name: str) -> None:
    answer = httpx.get(f"{process.media}/{name}", trust_env=False, verify=False)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.content == feed_jpeg()


def test_head_tells_the_same_without_the_picture(process: SandboxProcess) -> None:
    answer = httpx.head(f"{process.media}/shown.jpg", trust_env=False, verify=False)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert int(answer.headers["content-length"]) == len(feed_jpeg())
    assert answer.content == b""


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/inner/",
        "/inner",
        "/folder.jpg",
        "/missing.jpg",
        "/notes.txt",
        "/shown.jpg%231",
        "/.hidden.jpg",
        "/link.jpg",
        "/loop.jpg",
        "/../secret.jpg",
        "/inner/../../secret.jpg",
        "/%2e%2e/secret.jpg",
        "/..%2fsecret.jpg",
        "/..%5csecret.jpg",
        "//secret.jpg",
        "/shown.jpg%00.jpg",
        "/" + "a" * 5000 + ".jpg",
    ],
)
def test_nothing_else_is_shown(process: SandboxProcess, target: str) -> None:
    answer = raw(process, target)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"outside" not in answer and b"private" not in answer and b"shown" not in answer


def test_an_absolute_path_stays_inside(process: SandboxProcess, tmp_path: Path) -> None:
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(b"outside")
    assert raw(process, f"/{outside}").startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_nothing_can_be_changed(process: SandboxProcess, method: str) -> None:
    assert (
        httpx.request(method, f"{process.media}/shown.jpg", trust_env=False, verify=False).status_code == 405
    )
    assert (process.media_dir / "shown.jpg").read_bytes() == feed_jpeg()


def test_fetches_are_noted_with_who_fetched(process: SandboxProcess) -> None:
    httpx.get(
        f"{process.media}/shown.jpg", headers={"User-Agent": "somebody/1"}, trust_env=False, verify=False
    )
    last = process.ledger("media", "fetched")[-1]
    assert (last["path"], last["status"], last["agent"]) == ("shown.jpg", 200, "somebody/1")


def test_faults_can_be_planned(process: SandboxProcess) -> None:
    process.plan("media", "media_get", "fail_before", status=403, body="bot wall")
    assert httpx.get(f"{process.media}/shown.jpg", trust_env=False, verify=False).status_code == 403
    assert httpx.get(f"{process.media}/shown.jpg", trust_env=False, verify=False).status_code == 200
