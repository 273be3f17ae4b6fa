"""The media host client against a folder shown by the stand-in, and against an S3 service."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer
from tests.support.instagram import InstagramWorld, assert_without, feed_jpeg, passed
from tests.support.sandbox import SandboxProcess

from persona_tui.clients.media_host import FETCHER, HostedPicture, MediaHost, MediaHostError
from persona_tui.errors import (
    ClientError,
    InvalidRequest,
    KeyRejected,
    PersonaError,
    ServiceTimeout,
    ServiceUnreachable,
    SettingsError,
    StorageError,
)

SECRET = "canarySecretKey0123456789canary"
BUCKET = "persona-public"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    made = SandboxProcess(tmp_path_factory.mktemp("mediahost"))
    yield made
    made.stop()


@pytest.fixture
def world(process: SandboxProcess) -> InstagramWorld:
    made = InstagramWorld(process)
    made.calm()
    return made


async def test_a_picture_is_put_checked_and_deleted(world: InstagramWorld) -> None:
    hosted = await world.hosted()
    assert re.fullmatch(r"[0-9a-f]{32}\.jpg", hosted.key)
    assert hosted.url == f"{world.process.media}/{hosted.key}"
    assert (hosted.size, hosted.sha256) == (len(feed_jpeg()), hashlib.sha256(feed_jpeg()).hexdigest())
    await world.host.check(hosted)
    assert world.ledger("fetched", "media")[-1]["agent"] == FETCHER
    await world.host.delete(hosted.key)
    await world.host.delete(hosted.key)  # gone already is no error
    with pytest.raises(MediaHostError):
        await world.host.check(hosted)


async def test_names_differ_for_the_same_picture(world: InstagramWorld) -> None:
    keys = {(await world.hosted()).key for _ in range(20)}
    assert len(keys) == 20


CHECK_FAULTS: dict[str, tuple[dict[str, Any], type[PersonaError], str]] = {
    "missing": ({"kind": "fail_before", "status": 404, "body": ""}, MediaHostError, "answers 404"),
    "bot wall": ({"kind": "fail_before", "status": 403, "body": ""}, MediaHostError, "answers 403"),
    "redirect": ({"kind": "fail_before", "status": 302, "body": ""}, MediaHostError, "redirects|answers 302"),
    "interstitial": ({"kind": "garbage"}, MediaHostError, "another type"),
    "dropped": ({"kind": "drop_before"}, ClientError, "broke"),
    "slow": ({"kind": "slow", "seconds": 2}, ServiceTimeout, "in time"),
}


@pytest.mark.parametrize("name", CHECK_FAULTS)
async def test_a_check_says_why_instagram_could_not_fetch(world: InstagramWorld, name: str) -> None:
    fault, kind, words = CHECK_FAULTS[name]
    patience = 0.3 if name == "slow" else 10.0
    host = MediaHost(world.process.media_dir.as_uri(), world.process.media, timeout=patience)
    hosted = await host.put(passed(feed_jpeg()))
    world.plan("media_get", service="media", **fault)
    with pytest.raises(kind, match=words):
        await host.check(hosted)
    world.clear_faults("media")
    await world.host.check(hosted)


@pytest.mark.parametrize(
    ("content", "words"), [(b"short", "bytes instead of"), (b"x" * len(feed_jpeg()), "differs")]
)
async def test_a_changed_picture_is_noticed(world: InstagramWorld, content: bytes, words: str) -> None:
    hosted = await world.hosted()
    (world.process.media_dir / hosted.key).write_bytes(content)
    with pytest.raises(MediaHostError, match=words):
        await world.host.check(hosted)


@pytest.mark.parametrize(
    "key", ["", "..", "../x.jpg", "a/b.jpg", "x.jpg", "0" * 32, "0" * 32 + ".jpg/../../x"]
)
async def test_only_own_names_are_deleted(world: InstagramWorld, key: str) -> None:
    with pytest.raises(MediaHostError):
        await world.host.delete(key)


async def test_only_what_passed_the_guard_is_stored(world: InstagramWorld) -> None:
    before = set(world.process.media_dir.iterdir())
    with pytest.raises(TypeError):
        await world.host.put(feed_jpeg())
    assert set(world.process.media_dir.iterdir()) == before


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("file:///tmp/x", None),
        ("/tmp/x", "http://h"),
        ("file://elsewhere/x", "http://h"),
        ("s3://", None),
        ("s3://b?x=1", None),
    ],
)
def test_an_address_that_cannot_serve_is_refused(url: str, public: str | None) -> None:
    with pytest.raises(SettingsError):
        MediaHost(url, public)


async def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        MediaHost((tmp_path / "file" / "below").as_uri(), "http://127.0.0.1")


async def test_a_folder_that_vanished_under_a_file_is_a_storage_error(tmp_path: Path) -> None:
    folder = tmp_path / "public"
    host = MediaHost(folder.as_uri(), "http://127.0.0.1")
    folder.rmdir()
    folder.write_text("in the way")
    with pytest.raises(StorageError) as caught:
        await host.put(passed(feed_jpeg()))
    assert "\n" not in caught.value.message and len(caught.value.message) < 120


FULL_DISK = """
    import asyncio, resource, sys
    from persona_tui.clients.media_host import MediaHost
    from persona_tui.errors import StorageError
    from tests.support.instagram import passed

    host = MediaHost(sys.argv[1], "http://127.0.0.1")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        asyncio.run(host.put(passed(bytes(100_000))))
    except StorageError as problem:
        print(problem.message)
"""


@pytest.mark.long
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """The process may write no file beyond 1000 bytes, the nearest to a full disk without a disk."""
    folder = tmp_path / "public"
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), folder.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "The media folder is full: a picture could not be stored.", done.stderr
    assert [path.name for path in folder.iterdir() if path.suffix == ".jpg"] == []


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A file of several parts."""
    made = tmp_path / "film.mp4"
    made.write_bytes(bytes(range(256)) * 50_000)
    return made


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    credentials = {"aws_access_key_id": "AKIACANARY", "aws_secret_access_key": SECRET}
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **credentials).create_bucket(
        Bucket=BUCKET
    )
    yield endpoint
    server.stop()


def options(endpoint: str) -> Mapping[str, Any]:
    return {
        "endpoint": endpoint,
        "access_key_id": "AKIACANARY",
        "secret_access_key": SECRET,
        "region": "us-east-1",
        "client_options": {"allow_http": True, "timeout": "5s"},
        "retry_config": {"max_retries": 0},
    }


async def test_a_bucket_with_a_public_address(s3: str) -> None:
    host = MediaHost(f"s3://{BUCKET}/feed", f"{s3}/{BUCKET}/feed", options=options(s3))
    hosted = await host.put(passed(feed_jpeg()))
    assert hosted.url == f"{s3}/{BUCKET}/feed/{hosted.key}"
    client = boto3.client(
        "s3",
        endpoint_url=s3,
        region_name="us-east-1",
        aws_access_key_id="AKIACANARY",
        aws_secret_access_key=SECRET,
    )
    stored = client.get_object(Bucket=BUCKET, Key=f"feed/{hosted.key}")
    assert stored["ContentType"] == "image/jpeg"
    assert stored["Body"].read() == feed_jpeg()
    await host.delete(hosted.key)
    await host.delete(hosted.key)
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=f"feed/{hosted.key}")
    assert listed["KeyCount"] == 0


@pytest.mark.parametrize("place", ["folder", "bucket"])
async def test_publishing_8_a_film_goes_from_its_file_and_only_if_it_is_the_one_that_passed(
    world: InstagramWorld, s3: str, film: Path, place: str
) -> None:
    bucket = MediaHost(f"s3://{BUCKET}/films", f"{s3}/{BUCKET}/films", options=options(s3))
    host = world.host if place == "folder" else bucket
    let_through = passed(film)
    hosted = await host.put(let_through, extension="mp4")
    assert (hosted.size, hosted.sha256) == (
        film.stat().st_size,
        hashlib.sha256(film.read_bytes()).hexdigest(),
    )
    await host.check(hosted)
    before = sorted(world.process.media_dir.iterdir())
    film.write_bytes(film.read_bytes()[:-1] + b"?")
    with pytest.raises(InvalidRequest, match="changes while it is read"):
        await host.put(let_through, extension="mp4")
    assert sorted(world.process.media_dir.iterdir()) == before
    await host.delete(hosted.key)


MEASURED = """
    import asyncio, resource, sys
    from pathlib import Path
    from persona_tui.clients.media_host import MediaHost
    from tests.support.instagram import passed

    host = MediaHost(sys.argv[1], sys.argv[2])
    film = Path(sys.argv[3])

    async def both():
        await host.check(await host.put(passed(film), extension="mp4"))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    asyncio.run(both())
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.long
def test_publishing_8_a_long_film_does_not_fill_the_memory(world: InstagramWorld, film: Path) -> None:
    with film.open("r+b") as file:
        file.truncate(200_000_000)
    where = (world.process.media_dir.as_uri(), world.process.media, str(film))
    command = [sys.executable, "-c", textwrap.dedent(MEASURED), *where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2])
    assert int(done.stdout) < 60_000, done.stderr  # KiB


async def test_a_bucket_without_one_signs_its_addresses_for_a_day_and_more(s3: str) -> None:
    host = MediaHost(f"s3://{BUCKET}/signed", None, options=options(s3))
    hosted = await host.put(passed(feed_jpeg()))
    lifetime = int(httpx.URL(hosted.url).params["X-Amz-Expires"])
    assert lifetime >= 26 * 3600
    assert "X-Amz-Signature" in hosted.url
    assert "X-Amz" not in repr(hosted) and SECRET not in hosted.url
    await host.check(hosted)


LOGGED = """
    import asyncio, sys
    from pathlib import Path
    import structlog
    from persona_tui.clients.media_host import HostedPicture, MediaHost
    from persona_tui.errors import PersonaError
    from persona_tui.logs import configure_logging

    configure_logging(Path(sys.argv[1]), level="DEBUG", console=True)
    log = structlog.get_logger("persona_tui.test")
    for url in sys.argv[2:]:
        host = MediaHost(Path(sys.argv[1]).parent.as_uri(), "http://127.0.0.1", timeout=5)
        try:
            asyncio.run(host.check(HostedPicture("0" * 32 + ".jpg", url, "0" * 64, 1)))
        except PersonaError as problem:
            log.exception("check failed", message=problem.message)
"""


async def test_a_signed_address_is_in_no_error_and_no_log(s3: str, tmp_path: Path) -> None:
    host = MediaHost(f"s3://{BUCKET}/gone", None, options=options(s3))
    hosted = await host.put(passed(feed_jpeg()))
    signature = httpx.URL(hosted.url).params["X-Amz-Signature"]
    await host.delete(hosted.key)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        nowhere = hosted.url.replace(s3, f"http://127.0.0.1:{reserved.getsockname()[1]}")
        with pytest.raises(MediaHostError, match="answers 404") as missing:
            await host.check(hosted)
        with pytest.raises(ServiceUnreachable) as refused:
            await host.check(HostedPicture(hosted.key, nowhere, hosted.sha256, hosted.size))
        command = [sys.executable, "-c", textwrap.dedent(LOGGED), str(tmp_path / "log"), hosted.url, nowhere]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    for caught in (missing, refused):
        assert_without(signature, caught.value)
        assert_without("X-Amz", caught.value)
    written = (tmp_path / "log").read_text() + done.stderr + done.stdout
    assert written.count("answers 404") >= 2 and "can't be reached" in written
    assert signature not in written and "X-Amz" not in written


async def test_a_bucket_that_is_missing_or_away_is_told_in_own_words(s3: str) -> None:
    missing = MediaHost("s3://no-such-bucket", None, options=options(s3))
    with pytest.raises(MediaHostError) as gone:
        await missing.put(passed(feed_jpeg()))
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        away = MediaHost(
            f"s3://{BUCKET}", None, options=options(f"http://127.0.0.1:{reserved.getsockname()[1]}")
        )
        with pytest.raises(ServiceUnreachable) as unreachable:
            await away.put(passed(feed_jpeg()))
    for caught in (gone, unreachable):
        assert_without(SECRET, caught.value)
        assert_without("AKIACANARY", caught.value)
        assert "\n" not in caught.value.message
    assert unreachable.value.sent is False


async def test_a_bucket_that_forbids_says_so(s3: str) -> None:
    async def forbid(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = f"<Error><Code>AccessDenied</Code><Message>{SECRET}</Message></Error>".encode()
        writer.write(
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(forbid, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(KeyRejected) as caught:
        await MediaHost(f"s3://{BUCKET}", None, options=options(endpoint)).put(passed(b"small"))
    assert_without(SECRET, caught.value)
    server.close()
