"""The client for local models against a stand-in like Ollama, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
import subprocess
import sys
import textwrap
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from PIL import Image
from pydantic import BaseModel, SecretStr
from skimage import data
from tests.support.instagram import passed

from persona_tui import boundaries
from persona_tui.clients.language import AnswerBlocked, media_type
from persona_tui.clients.openai_compatible import OpenAICompatibleClient
from persona_tui.errors import (
    ClientError,
    KeyRejected,
    ServiceGarbled,
    ServiceRefused,
    ServiceTimeout,
    ServiceUnreachable,
)

MODEL = "gemma3:27b"
SYSTEM = "You write Instagram captions in a persona's voice. Answer in JSON."
PROMPT = """Persona: Mira. A ceramicist.
Length: 80 to 220 characters.
Scene: Opening the kiln.
Pillar: Studio. Days at the wheel."""

# Local servers take a bearer, where they take anything.
PROGRAM = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from persona_tui.sandbox import server
    from persona_tui.sandbox.control import SandboxOptions
    server.STAND_INS = (server.StandIn("gemini", "persona_tui.sandbox.gemini.app", "bearer"),)
    options = SandboxOptions(latency=0)
    config = server.SandboxConfig(state=Path(sys.argv[1]), watch_parent=True, options=options)
    asyncio.run(server.serve(config))
""")


class Caption(BaseModel):
    caption: str
    hashtags: list[str]
    alt_text: str


class Server:
    """A running stand-in."""

    def __init__(self, state: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.readline())
        self.url, self.token = str(told["gemini"]), str(told["token"])

    def call(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx.request(
            method, self.url + path, headers=headers, timeout=20, trust_env=False, verify=False, **options
        )
        answer.raise_for_status()
        return answer.json()

    def plan(self, kind: str, **more: Any) -> None:
        self.call("POST", "/_sandbox/faults", json={"call": "chat_completions", "kind": kind, **more})

    def reply(self, **choice: Any) -> None:
        """Plan the next completion's one choice."""
        self.plan("garbage", body=json.dumps({"choices": [choice]}))

    def client(self, **options: Any) -> OpenAICompatibleClient:
        facts: dict[str, Any] = {"model": MODEL, "api_key": SecretStr(self.token), "timeout": 20.0} | options
        return OpenAICompatibleClient(facts.pop("base_url", f"{self.url}/v1"), **facts)

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=15)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("local"))
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def calm(server: Server) -> None:
    server.call("DELETE", "/_sandbox/faults")
    server.call("DELETE", "/sandbox/outcomes")


@pytest_asyncio.fixture
async def client(server: Server) -> AsyncIterator[OpenAICompatibleClient]:
    made = server.client()
    yield made
    await made.aclose()


def photo() -> bytes:
    file = io.BytesIO()
    Image.fromarray(data.coffee()).resize((64, 64)).save(file, "JPEG")
    return file.getvalue()


async def write(client: OpenAICompatibleClient, *pictures: bytes) -> Caption:
    return await client.generate(
        passed(SYSTEM), passed(PROMPT), pictures=[passed(picture) for picture in pictures], schema=Caption
    )


async def test_a_caption_is_written_for_a_picture(client: OpenAICompatibleClient) -> None:
    answer = await write(client, photo())
    assert 40 <= len(answer.caption) <= 230
    assert answer.alt_text.startswith("Mira lifts the first cup out of a kiln that is still warm")
    assert "warm light" in answer.alt_text


async def test_texts_and_pictures_arrive_as_they_passed_and_the_schema_stands_apart(
    client: OpenAICompatibleClient, server: Server
) -> None:
    picture = photo()
    await write(client, picture)
    notes = server.call("GET", "/_sandbox/received")[-4:]
    assert [(note["what"], note["sha256"]) for note in notes[:2]] == [
        ("text", passed(SYSTEM).sha256),
        ("text", passed(PROMPT).sha256),
    ]
    assert notes[2]["what"] == "schema"
    assert (notes[3]["what"], notes[3]["sha256"]) == ("picture", passed(picture).sha256)


async def test_boundaries_are_reached_in_their_order(client: OpenAICompatibleClient) -> None:
    seen: list[str] = []
    boundaries.observe(seen.append)
    try:
        await write(client)
    finally:
        boundaries.observe(None)
    assert seen == ["http:before_send", "http:after_send", "http:after_reply"]


async def test_json_inside_prose_and_fences_is_found(client: OpenAICompatibleClient, server: Server) -> None:
    server.call("POST", "/sandbox/outcomes", json={"outcome": "fenced"})
    assert (await write(client)).caption
    value = {"caption": "a {b} ```c```", "hashtags": [], "alt_text": "d"}
    text = json.dumps(value)
    for content in (
        text,
        f"\n  {text}\n",
        f"```json\n{text}\n```",
        f"```\n{text}```",
        f"<think>maybe {{}} or {{1}}</think>\n{text}",
        f"Sure! {text} Hope that helps.",
        json.dumps(value, indent=2),
    ):
        server.reply(message={"role": "assistant", "content": content}, finish_reason="stop")
        assert (await write(client)).model_dump() == value


@pytest.mark.parametrize(
    ("choice", "kind", "words"),
    [
        (
            {"message": {"content": "{", "role": "assistant"}, "finish_reason": "length"},
            ServiceGarbled,
            "cut off",
        ),
        ({"message": {"content": "x"}, "finish_reason": "content_filter"}, AnswerBlocked, "refused"),
        (
            {"message": {"content": None, "refusal": "I can't"}, "finish_reason": "stop"},
            AnswerBlocked,
            "refused",
        ),
        ({"message": {"content": "  "}, "finish_reason": "stop"}, ServiceGarbled, "empty"),
        ({"message": {"content": None}, "finish_reason": "stop"}, ServiceGarbled, "empty"),
        ({"message": {"content": "no json here"}, "finish_reason": "stop"}, ServiceGarbled, "can't be used"),
        ({"message": {"content": '{"caption": 5}'}, "finish_reason": "stop"}, ServiceGarbled, "at caption"),
        ({"message": {"content": "[" * 5000}, "finish_reason": "stop"}, ServiceGarbled, "can't be used"),
        ({"message": "text"}, ServiceGarbled, "no completion"),
        ({}, ServiceGarbled, "no completion"),
    ],
)
async def test_an_unusable_answer_is_told_apart(
    client: OpenAICompatibleClient,
    server: Server,
    choice: dict[str, Any],
    kind: type[ClientError],
    words: str,
) -> None:
    server.reply(**choice)
    with pytest.raises(kind, match=words):
        await write(client)


@pytest.mark.parametrize("body", [None, "", "[]", "null", '{"choices": []}', '{"error": {"message": "x"}}'])
async def test_garbage_is_garbled(client: OpenAICompatibleClient, server: Server, body: str | None) -> None:
    server.plan("garbage", body=body)
    with pytest.raises(ServiceGarbled):
        await write(client)


async def test_a_missing_model_is_named_with_what_to_do(server: Server) -> None:
    async with aclosing(server.client(model="gemma9:1b")) as made:
        with pytest.raises(ServiceRefused, match="no model gemma9:1b") as caught:
            await write(made)
        assert "ollama pull gemma9:1b" in caught.value.hint
        with pytest.raises(ServiceRefused, match="no model gemma9:1b") as caught:
            await made.check()
        assert MODEL in caught.value.hint


async def test_an_address_without_v1_is_told_as_such(server: Server) -> None:
    async with aclosing(server.client(base_url=server.url)) as made:
        with pytest.raises(ServiceRefused, match="no OpenAI-compatible API") as caught:
            await write(made)
    assert "/v1" in caught.value.hint


async def test_check_tells_what_answered(client: OpenAICompatibleClient, server: Server) -> None:
    assert await client.check() == f"{MODEL} is there at {server.url}/v1."


@pytest.mark.parametrize(
    ("status", "kind"), [(401, KeyRejected), (403, KeyRejected), (429, ServiceRefused), (500, ServiceRefused)]
)
async def test_a_refusal_is_told(
    client: OpenAICompatibleClient, server: Server, status: int, kind: type[ClientError]
) -> None:
    server.plan("fail_before", status=status, body={"error": f"bad token {server.token}"})
    with pytest.raises(kind) as caught:
        await write(client)
    assert caught.value.status == status
    assert server.token not in "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))


async def test_a_wrong_key_is_rejected(server: Server) -> None:
    async with aclosing(server.client(api_key=SecretStr("wrong"))) as made:
        with pytest.raises(KeyRejected):
            await made.check()


async def test_a_slow_answer_times_out(server: Server) -> None:
    server.plan("slow", seconds=5)
    async with aclosing(server.client(timeout=0.3)) as made:
        with pytest.raises(ServiceTimeout) as caught:
            await write(made)
    assert caught.value.sent


async def test_a_closed_port_means_that_nothing_was_sent(server: Server) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        async with aclosing(server.client(base_url=address)) as made:
            with pytest.raises(ServiceUnreachable) as caught:
                await write(made)
    assert not caught.value.sent


async def test_two_calls_at_once_get_their_own_answers(client: OpenAICompatibleClient) -> None:
    first, second = await asyncio.gather(write(client), write(client))
    assert first.caption != second.caption


async def test_nothing_but_a_passed_value_is_sent(client: OpenAICompatibleClient) -> None:
    with pytest.raises(TypeError, match="Passed"):
        await client.generate(passed("x"), "plain", schema=Caption)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "kind"),
    [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp"), ("GIF", "image/gif")],
)
def test_a_pictures_type_is_read_from_its_bytes(form: str, kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, form)
    assert media_type(file.getvalue()) == kind


def test_an_unknown_kind_of_picture_is_not_sent() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        media_type(b"%PDF-1.7")


def test_a_picture_that_is_no_data_url_is_refused_by_the_stand_in(server: Server) -> None:
    for url in ("https://example.org/a.jpg", f"data:text/plain;base64,{base64.b64encode(b'x').decode()}"):
        part = {"type": "image_url", "image_url": {"url": url}}
        body = {"model": MODEL, "messages": [{"role": "user", "content": [part]}]}
        with pytest.raises(httpx.HTTPStatusError, match="400"):
            server.call("POST", "/v1/chat/completions", json=body)
