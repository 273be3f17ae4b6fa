"""A peer that breaks HTTP, leads elsewhere or never ends: the token stays, the call ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from tests.support.instagram import assert_without, plain_transport

from persona_tui.clients.instagram import InstagramClient, InstagramError
from persona_tui.clients.instagram_errors import Step, Verdict, classify
from persona_tui.errors import ClientError, ServiceTimeout

CANARY = "IGQWRcanary0123456789canaryABCDEFG"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(serve: Serve) -> AsyncIterator[str]:
    """A raw TCP server on loopback; yields its address."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()


def answering(status: str, body: bytes = b"", headers: str = "") -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)
        await writer.drain()
        writer.close()

    return serve


def client_of(address: str, timeout: float = 5.0) -> InstagramClient:
    return InstagramClient(
        SecretStr(CANARY),
        ig_user_id="17841400000000001",
        base_url=address,
        environment="sandbox",
        timeout=timeout,
        transport=plain_transport(),
    )


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
async def test_no_redirect_is_followed(status: str) -> None:
    asked: list[bytes] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    async with (
        peer(elsewhere) as target,
        peer(answering(status, headers=f"Location: {target}/x\r\n")) as address,
    ):
        with pytest.raises(InstagramError) as caught:
            await client_of(address).publish("17990000000000001")
    assert asked == []
    assert classify(caught.value, Step.PUBLISH).verdict is Verdict.AMBIGUOUS


async def test_the_next_link_of_a_listing_is_not_followed() -> None:
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode())
        page = {
            "data": [{"id": str(len(asked))}],
            "paging": {"cursors": {"after": "CURSOR"}, "next": f"http://127.0.0.1:1/x?access_token={CANARY}"},
        }
        body = json.dumps(page).encode()
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()

    async with peer(serve) as address:
        listed = await client_of(address).list_media(limit=200)
    assert [item.id for item in listed] == ["1", "2"]  # the same cursor again ends it
    assert "after=CURSOR" in asked[1]
    assert CANARY not in "".join(asked)


BROKEN: dict[str, bytes] = {
    "nothing": b"",
    "no http": b"SSH-2.0-OpenSSH_9.6\r\n",
    "cut in the header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "cut in the body": b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"id": "1799',
    "wrong encoding": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
    "bad status": b"HTTP/1.1 999999 Eh\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_http_leaves_a_publish_unknown(name: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(BROKEN[name])
        await writer.drain()
        writer.close()

    async with peer(serve) as address:
        with pytest.raises(ClientError) as caught:
            await client_of(address).publish("17990000000000001")
    assert caught.value.sent is True
    assert classify(caught.value, Step.PUBLISH).verdict is Verdict.AMBIGUOUS
    assert_without(CANARY, caught.value)


async def test_an_answer_that_drips_for_ever_ends_with_the_timeout() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"1\r\n \r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        except (ConnectionError, asyncio.CancelledError):
            writer.close()

    async with peer(drip) as address:
        with pytest.raises(ServiceTimeout) as caught:
            await client_of(address, timeout=1.0).publish("17990000000000001")
    assert caught.value.sent is True
    assert classify(caught.value, Step.PUBLISH).verdict is Verdict.AMBIGUOUS


ECHOES: dict[str, Any] = {
    "plain": CANARY,
    "in a word": f"x{CANARY}y",
    "with an escape inside": f"\x1b[31m{CANARY[:9]}\x1b[0m{CANARY[9:]}",
    "with a zero-width space inside": f"{CANARY[:9]}\u200b{CANARY[9:]}",
    "in a signed address": f"https://host/a.jpg?X-Amz-Signature={CANARY}&b=1",
    "as an object": {"nested": CANARY},
    "as a list": [CANARY],
    "very long": "https://h/" * 20_000 + CANARY,
}


@pytest.mark.parametrize("name", ECHOES)
@pytest.mark.parametrize(
    "field", ["message", "error_user_msg", "error_user_title", "type", "fbtrace_id", "code"]
)
async def test_a_token_that_is_echoed_is_shown_nowhere(name: str, field: str) -> None:
    error = {"message": "No", "code": 190, "error_subcode": 463, field: ECHOES[name]}
    async with peer(answering("400 Bad Request", json.dumps({"error": error}).encode())) as address:
        with pytest.raises(InstagramError) as caught:
            await client_of(address).me()
    assert_without(CANARY, caught.value)
    assert "\x1b" not in caught.value.user_message
    assert len(caught.value.user_message) <= 500


async def test_other_tokens_and_signatures_are_masked_too() -> None:
    other = "EAAB" + "q7" * 40
    words = f"Malformed access token {other} for https://bucket.s3.amazonaws.com/a.jpg?X-Amz-Credential=AKIA"
    error = {"error": {"message": words, "code": 9004, "error_subcode": 2207052}}
    async with peer(answering("400 Bad Request", json.dumps(error).encode())) as address:
        with pytest.raises(InstagramError) as caught:
            await client_of(address).me()
    assert other not in caught.value.user_message and "AKIA" not in caught.value.user_message
    assert caught.value.user_message.startswith("Malformed access token •••")


async def test_an_error_under_a_good_status_is_an_error_still() -> None:
    body = {"id": "18060000000000001", "error": {"message": "No", "code": 4, "error_subcode": 2207051}}
    async with peer(answering("200 OK", json.dumps(body).encode())) as address:
        with pytest.raises(InstagramError) as caught:
            await client_of(address).publish("17990000000000001")
    assert (caught.value.code, caught.value.subcode, caught.value.status) == (4, 2207051, 200)
    assert classify(caught.value, Step.PUBLISH).verdict is Verdict.AMBIGUOUS


USAGES: dict[str, tuple[str, str]] = {
    "no json": ("{call_count", "nope"),
    "other types": ('{"call_count": "many", "total_time": null, "total_cputime": [1]}', "[1, 2]"),
    "negative": ('{"call_count": -5}', '{"1": [{"estimated_time_to_regain_access": -9}]}'),
    "enormous": (
        '{"call_count": 1e400}',
        '{"1": [{"estimated_time_to_regain_access": 99999999999999999999}]}',
    ),
    "deep": ("[" * 3000, '{"1": {"2": {"3": []}}}'),
}


@pytest.mark.parametrize("name", USAGES)
async def test_usage_headers_may_hold_anything(name: str) -> None:
    app, business = USAGES[name]
    headers = f"X-App-Usage: {app}\r\nX-Business-Use-Case-Usage: {business}\r\n"
    async with peer(
        answering("200 OK", b'{"user_id": "17841400000000001", "username": "x"}', headers)
    ) as address:
        client = client_of(address)
        assert (await client.me()).username == "x"
    usage = client.last_usage
    assert usage is None or (
        usage.highest >= 0 and (usage.regain_after is None or usage.regain_after.days <= 1)
    )


async def test_what_is_read_is_cleaned_and_links_lose_their_query() -> None:
    item = {
        "id": "18060000000000001",
        "permalink": f"https://www.instagram.com/p/x/?access_token={CANARY}",
        "timestamp": "2026-11-22T10:00:00+0000",
        "media_type": "IMAGE\x1b]0;title\x07",
        "alt_text": "a\u202eb\x1b[2Jc",
        "is_ai_generated": "yes",
    }
    async with peer(answering("200 OK", json.dumps(item).encode())) as address:
        facts = await client_of(address).media("18060000000000001")
    assert facts.permalink == "https://www.instagram.com/p/x/"
    assert (facts.media_type, facts.alt_text, facts.is_ai_generated) == ("IMAGE", "abc", None)
    assert facts.timestamp is not None and facts.timestamp.isoformat() == "2026-11-22T10:00:00+00:00"


@pytest.mark.parametrize("link", ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", 5, None])
async def test_only_web_links_are_kept(link: object) -> None:
    body = json.dumps({"id": "1", "permalink": link, "timestamp": "yesterday"}).encode()
    async with peer(answering("200 OK", body)) as address:
        facts = await client_of(address).media("1")
    assert (facts.permalink, facts.timestamp) == (None, None)
