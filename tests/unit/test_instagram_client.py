"""Where an Instagram token may go, and what the client refuses before anything is sent."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from persona_tui.clients.instagram import InstagramClient, NewContainer, WrongEnvironment, allowed_origin
from persona_tui.errors import InvalidRequest
from persona_tui.passed import Passed
from persona_tui.services.safety import guard

CANARY = "IGQWRcanary0123456789canaryABCDEFG"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://graph.instagram.com", "https://graph.instagram.com"),
        ("https://graph.instagram.com/", "https://graph.instagram.com"),
        ("https://graph.facebook.com:443", "https://graph.facebook.com"),
        ("HTTPS://Graph.Instagram.COM", "https://graph.instagram.com"),
    ],
)
def test_a_live_token_goes_to_metas_hosts(url: str, origin: str) -> None:
    assert allowed_origin(url, "live") == origin


@pytest.mark.parametrize(
    "url",
    [
        "http://graph.instagram.com",
        "https://graph.instagram.com:8443",
        "https://graph.instagram.com.evil.example",
        "https://evil.example/graph.instagram.com",
        "https://graph.instagram.com@evil.example",
        "https://user:secret@graph.instagram.com",
        "https://evil.example\\@graph.instagram.com",
        "https://evil.example#@graph.instagram.com",
        "https://evil.example?@graph.instagram.com",
        "https://graph.instagram.com/v26.0/../x",
        "https://xgraph.instagram.com",
        "https://graph.instagram.com.",
        "https://gráph.instagram.com",
        "https://api.instagram.com",
        "https://127.0.0.1",
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "//graph.instagram.com",
        "graph.instagram.com",
        "ftp://graph.instagram.com",
        "",
        "https://",
        "https://graph.instagram.com\n.evil.example",
    ],
)
def test_a_live_token_goes_nowhere_else(url: str) -> None:
    with pytest.raises(WrongEnvironment) as caught:
        InstagramClient(SecretStr(CANARY), ig_user_id="1", base_url=url, environment="live")
    assert CANARY not in str(caught.value) + repr(vars(caught.value))


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://[::1]:9", "http://localhost:1", "http://127.9.9.9:1"]
)
def test_a_sandbox_token_goes_to_loopback(url: str) -> None:
    assert allowed_origin(url, "sandbox") == url


@pytest.mark.parametrize(
    "url",
    [
        "https://graph.instagram.com",
        "https://graph.facebook.com",
        "http://10.0.0.5:80",
        "http://0.0.0.0:80",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1@evil.example",
        "http://localhost.evil.example",
        "http://[2001:db8::1]",
        "http://2130706433",
    ],
)
def test_a_sandbox_token_goes_nowhere_else(url: str) -> None:
    with pytest.raises(WrongEnvironment):
        InstagramClient(SecretStr(CANARY), ig_user_id="1", base_url=url, environment="sandbox")


@pytest.mark.parametrize("token", ["", "with space", "line\nbreak", "tökén", "tab\t", "\x00"])
def test_a_malformed_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        InstagramClient(SecretStr(token), ig_user_id="1")
    if token:
        assert token not in caught.value.message


@pytest.mark.parametrize(
    "ig_user_id", ["", "me", "1/2", "../1", "https://evil.example/1", "1?x=1", "1" * 40, "1\n", "١٢"]
)
def test_an_id_that_could_lead_elsewhere_is_refused(ig_user_id: str) -> None:
    with pytest.raises(InvalidRequest):
        InstagramClient(SecretStr(CANARY), ig_user_id=ig_user_id)


@pytest.mark.parametrize("version", ["", "26", "v26", "v26.0/../..", "v26.0\n"])
def test_a_malformed_version_is_refused(version: str) -> None:
    with pytest.raises(InvalidRequest):
        InstagramClient(SecretStr(CANARY), ig_user_id="1", api_version=version)


async def test_ids_are_checked_before_each_call() -> None:
    client = InstagramClient(
        SecretStr(CANARY), ig_user_id="1", base_url="http://127.0.0.1:9", environment="sandbox"
    )
    for act in (client.publish, client.container_status, client.media):
        with pytest.raises(InvalidRequest):
            await act("https://evil.example/1")
    await client.aclose()


async def test_only_what_passed_the_guard_is_sent() -> None:
    client = InstagramClient(
        SecretStr(CANARY), ig_user_id="1", base_url="http://127.0.0.1:9", environment="sandbox"
    )
    good = Passed("fine", seal=guard._SEAL)
    for caption, alt_text in (("plain", None), (good, "plain")):
        with pytest.raises(TypeError):
            await client.create_container(
                NewContainer(
                    image_url="http://127.0.0.1:9/a.jpg",
                    caption=caption,
                    alt_text=alt_text,
                    is_ai_generated=True,
                )
            )
    await client.aclose()


@pytest.mark.parametrize("url", ["https://host/ä.jpg", "file:///etc/passwd", "host/a.jpg", ""])
async def test_an_address_that_cannot_be_fetched_is_refused(url: str) -> None:
    client = InstagramClient(
        SecretStr(CANARY), ig_user_id="1", base_url="http://127.0.0.1:9", environment="sandbox"
    )
    caption = Passed("fine", seal=guard._SEAL)
    with pytest.raises(InvalidRequest):
        await client.create_container(NewContainer(image_url=url, caption=caption, is_ai_generated=True))
    await client.aclose()


def test_a_client_does_not_show_its_token() -> None:
    client = InstagramClient(SecretStr(CANARY), ig_user_id="1")
    assert CANARY not in repr(client) + str(client)
