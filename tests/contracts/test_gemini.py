"""The Gemini client against the stand-in, over real sockets and through Google's own SDK."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
import socket
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from PIL import Image
from pydantic import BaseModel, Field, SecretStr
from skimage import data
from tests.support.instagram import passed
from tests.support.sandbox import SandboxProcess

from persona_tui import boundaries
from persona_tui.clients.gemini import GeminiClient
from persona_tui.clients.language import AnswerBlocked
from persona_tui.errors import (
    ClientError,
    KeyRejected,
    ServiceGarbled,
    ServiceRefused,
    ServiceTimeout,
    ServiceUnreachable,
)
from persona_tui.services.safety.rules import examine

MODEL = "gemini-3.5-flash"
SYSTEM = "You write for a fictional adult persona. Answer in JSON."
PROMPT = """Persona: Mira, 31 years old. A ceramicist in Porto.
Pillar: Studio. Days at the wheel.
Topics: glazing, kiln
Propose 4 ideas, each different in place, light and action."""
CAPTION_PROMPT = """Persona: Mira. A ceramicist.
Length: 200 to 450 characters.
No emoji.
Scene: Trimming the foot, late sun.
Pillar: Studio. Days at the wheel.
Look at the picture and use what can be seen."""


class Idea(BaseModel):
    title: str
    description: str
    prompt: str


class Ideas(BaseModel):
    ideas: list[Idea]


class Caption(BaseModel):
    caption: str
    hashtags: list[str]
    alt_text: str


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    made = SandboxProcess(tmp_path_factory.mktemp("gemini"))
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def calm(process: SandboxProcess) -> None:
    process.clear_faults("gemini")
    call(process, "DELETE", "/sandbox/outcomes")


@pytest_asyncio.fixture
async def client(process: SandboxProcess) -> AsyncIterator[GeminiClient]:
    made = client_of(process)
    yield made
    await made.aclose()


def client_of(process: SandboxProcess, **options: Any) -> GeminiClient:
    facts = {"model": MODEL, "base_url": process.gemini, "timeout": 20.0, "key": process.token} | options
    return GeminiClient(SecretStr(facts.pop("key")), **facts)


def call(process: SandboxProcess, method: str, path: str, **options: Any) -> httpx.Response:
    headers = {"x-goog-api-key": process.token}
    return httpx.request(
        method, process.gemini + path, headers=headers, timeout=20, trust_env=False, verify=False, **options
    )


def steer(process: SandboxProcess, outcome: str, times: int = 1) -> None:
    call(process, "POST", "/sandbox/outcomes", json={"outcome": outcome, "times": times}).raise_for_status()


def photo(size: int = 64) -> bytes:
    file = io.BytesIO()
    Image.fromarray(data.coffee()).resize((size, size)).save(file, "JPEG")
    return file.getvalue()


async def ideas(client: GeminiClient, prompt: str = PROMPT) -> list[Idea]:
    return (await client.generate(passed(SYSTEM), passed(prompt), schema=Ideas)).ideas


# --- what is written ---


@pytest.mark.long
async def test_ideas_come_as_many_as_asked_for_and_differ_between_calls(client: GeminiClient) -> None:
    first, second = await ideas(client), await ideas(client)
    assert (len(first), len(second)) == (4, 4)
    assert len({idea.title for idea in first}) == 4
    assert {idea.prompt for idea in first}.isdisjoint(idea.prompt for idea in second)
    for idea in first + second:
        assert 2 <= len(idea.title.split()) <= 7
        assert idea.prompt.startswith("Mira, an adult, in ")
        assert idea.description.endswith(".")


async def test_ideas_keep_off_what_was_proposed_or_is_to_be_avoided(client: GeminiClient) -> None:
    told = "\nAvoid: kiln, clay\nAlready proposed, so propose others: Glaze day; Shelf of seconds"
    for _ in range(4):
        for idea in await ideas(client, PROMPT + told):
            assert idea.title not in {"Glaze day", "Shelf of seconds"}
            assert not re.search(r"kiln|clay", idea.title + idea.prompt)


async def test_a_caption_keeps_its_length_and_says_what_the_picture_shows(client: GeminiClient) -> None:
    written = []
    for _ in range(6):
        answer = await client.generate(
            passed(SYSTEM), passed(CAPTION_PROMPT), pictures=[passed(photo())], schema=Caption
        )
        assert 120 <= len(answer.caption) <= 450
        assert "#" not in answer.caption
        assert answer.caption.isprintable() or "\n" in answer.caption
        assert 3 <= len(answer.hashtags) <= 5
        assert all(re.fullmatch(r"#\w+", tag) for tag in answer.hashtags)
        assert answer.alt_text.startswith("Mira trims the foot of a bowl")
        assert "warm light" in answer.alt_text
        written.append(answer.caption)
    assert len(set(written)) == 6


async def test_what_is_written_passes_our_own_guard(client: GeminiClient) -> None:
    for pillar in (
        "Studio",
        "Cooking",
        "Fashion",
        "Books",
        "Running",
        "City walks",
        "Slow mornings",
        "Chess",
    ):
        for idea in await ideas(client, PROMPT.replace("Studio", pillar).replace("ceramicist", "writer")):
            assert examine(f"{idea.title}\n{idea.description}\n{idea.prompt}") is None


async def test_any_other_schema_is_filled(client: GeminiClient) -> None:
    class Inner(BaseModel):
        kind: str = Field(pattern="a|b", json_schema_extra={"enum": ["a", "b"]})
        score: float = Field(ge=2, le=3)

    class Other(BaseModel):
        words: list[str] = Field(min_length=4, max_length=5)
        count: int = Field(gt=6, lt=9)
        flag: bool
        maybe: str | None
        inner: list[Inner]
        short: str = Field(min_length=5, max_length=8)

    answer = await client.generate(passed(SYSTEM), passed("Rate this."), schema=Other)
    assert 4 <= len(answer.words) <= 5
    assert answer.count in {7, 8}
    assert answer.inner[0].kind in {"a", "b"}
    assert 5 <= len(answer.short) <= 8


# --- what went over the wire ---


async def test_texts_and_pictures_arrive_as_they_passed_the_guard(
    client: GeminiClient, process: SandboxProcess
) -> None:
    sent = [passed("system: say ünïcode"), passed(f"{CAPTION_PROMPT} {id(client)}")]
    picture = passed(photo(300))
    await client.generate(sent[0], sent[1], pictures=[picture], schema=Caption)
    received = process.control("gemini", "GET", "received")[-3:]
    assert [(note["what"], note["sha256"]) for note in received] == [
        ("text", sent[0].sha256),
        ("text", sent[1].sha256),
        ("picture", picture.sha256),
    ]


async def test_boundaries_are_reached_in_their_order(client: GeminiClient) -> None:
    seen: list[str] = []
    boundaries.observe(seen.append)
    try:
        await ideas(client)
    finally:
        boundaries.observe(None)
    assert seen == ["http:before_send", "http:after_send", "http:after_reply"]


async def test_nothing_but_a_passed_value_is_sent(client: GeminiClient) -> None:
    with pytest.raises(TypeError, match="Passed"):
        await client.generate("plain", passed("x"), schema=Ideas)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Passed"):
        await client.generate(passed("x"), passed("x"), pictures=[b"x"], schema=Ideas)  # type: ignore[list-item]


async def test_a_proxy_or_googles_variables_in_the_environment_change_nothing(
    process: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_API_KEY", "another-key-of-the-environment")
    async with aclosing(client_of(process)) as made:
        assert await ideas(made)


async def test_check_tells_what_answered(client: GeminiClient, process: SandboxProcess) -> None:
    assert await client.check() == f"Gemini answers at {process.gemini}; {MODEL} is Gemini 3.5 Flash."


# --- what goes wrong ---


async def test_a_model_that_is_gone_is_named_with_what_to_do(process: SandboxProcess) -> None:
    async with aclosing(client_of(process, model="gemini-1.5-pro-latest")) as made:
        with pytest.raises(ServiceRefused, match="has no model") as caught:
            await ideas(made)
        assert "gemini-1.5-pro-latest" in caught.value.message
        assert caught.value.status == 404
        assert "PERSONA_GEMINI__MODEL" in caught.value.hint
        with pytest.raises(ServiceRefused) as caught:
            await made.check()
        assert "gemini-3.8-flash, " in caught.value.hint


@pytest.mark.parametrize("outcome", ["prompt_blocked", "answer_blocked"])
async def test_a_blocked_answer_says_so(client: GeminiClient, process: SandboxProcess, outcome: str) -> None:
    steer(process, outcome)
    with pytest.raises(AnswerBlocked, match=r"PROHIBITED_CONTENT|SAFETY"):
        await ideas(client)
    assert await ideas(client)


@pytest.mark.parametrize(
    ("outcome", "words"), [("cut", "cut off"), ("empty", "empty"), ("wrong_schema", "can't be used at ideas")]
)
async def test_an_unusable_answer_is_garbled(
    client: GeminiClient, process: SandboxProcess, outcome: str, words: str
) -> None:
    steer(process, outcome)
    with pytest.raises(ServiceGarbled, match=words):
        await ideas(client)


async def test_an_answer_that_breaks_a_constraint_is_garbled_not_silently_none(client: GeminiClient) -> None:
    class Tight(BaseModel):
        caption: str = Field(pattern="^never$")

    with pytest.raises(ServiceGarbled, match=r"at caption \(string_pattern_mismatch\)") as caught:
        await client.generate(passed(SYSTEM), passed(CAPTION_PROMPT), schema=Tight)
    assert "studio" not in caught.value.message


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (429, ServiceRefused, "quota is used up"),
        (503, ServiceRefused, "503"),
        (500, ServiceRefused, "500"),
        (403, KeyRejected, "does not take the key"),
        (401, KeyRejected, "does not take the key"),
        (302, ServiceRefused, "302"),
    ],
)
async def test_a_refusal_is_told_once_and_not_retried(
    client: GeminiClient, process: SandboxProcess, status: int, kind: type[ClientError], words: str
) -> None:
    before = len(process.ledger("gemini", "fault"))
    process.plan("gemini", "generate_content", "fail_before", status=status, times=None)
    with pytest.raises(kind, match=words) as caught:
        await ideas(client)
    assert caught.value.status == status
    assert len(process.ledger("gemini", "fault")) == before + 1


@pytest.mark.parametrize(
    "body", [None, "", "[]", "null", '{"candidates": 5}', '{"candidates": [{}]}', "\x00\x1b[2J"]
)
async def test_garbage_is_garbled(client: GeminiClient, process: SandboxProcess, body: str | None) -> None:
    process.plan("gemini", "generate_content", "garbage", body=body)
    with pytest.raises(ServiceGarbled) as caught:
        await ideas(client)
    assert caught.value.message.isprintable()


async def test_a_wrong_key_is_rejected(process: SandboxProcess) -> None:
    """Google answers it with 400."""
    async with aclosing(client_of(process, key="wrong-key-0123456789")) as made:
        with pytest.raises(KeyRejected, match="API key not valid"):
            await ideas(made)
        with pytest.raises(KeyRejected):
            await made.check()


async def test_a_slow_answer_times_out_and_may_have_been_sent(process: SandboxProcess) -> None:
    process.plan("gemini", "generate_content", "slow", seconds=5)
    async with aclosing(client_of(process, timeout=0.3)) as made:
        with pytest.raises(ServiceTimeout) as caught:
            await ideas(made)
    assert caught.value.sent


async def test_a_dropped_connection_may_have_been_sent(client: GeminiClient, process: SandboxProcess) -> None:
    process.plan("gemini", "generate_content", "effect_then_drop")
    with pytest.raises(ClientError, match="broke") as caught:
        await ideas(client)
    assert caught.value.sent


async def test_a_closed_port_means_that_nothing_was_sent(process: SandboxProcess) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with aclosing(client_of(process, base_url=address)) as made:
            with pytest.raises(ServiceUnreachable, match="can't be reached") as caught:
                await ideas(made)
    assert not caught.value.sent


async def test_the_key_is_in_no_error_and_no_log(
    process: SandboxProcess, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    canary = "canary-key-7c1d9e"
    caplog.set_level(logging.DEBUG)
    problems: list[BaseException] = []
    echo = {"error": {"code": 400, "message": f"API key {canary} is bad", "status": "INVALID_ARGUMENT"}}
    async with aclosing(client_of(process, key=canary)) as made:
        for attempt in (ideas(made), made.check()):
            with pytest.raises(ClientError) as caught:
                await attempt
            problems.append(caught.value)
    async with aclosing(client_of(process)) as made:
        for status in (400, 429, 500):
            text = json.dumps(echo).replace(canary, process.token)
            process.plan("gemini", "generate_content", "fail_before", status=status, body=json.loads(text))
            with pytest.raises(ClientError) as caught:
                await ideas(made)
            problems.append(caught.value)
    told = "".join("".join(traceback.format_exception(one)) + repr(vars(one)) for one in problems)
    printed = "".join(capfd.readouterr()) + caplog.text
    for secret in (canary, process.token):
        assert secret not in told
        assert secret not in printed


# --- the stand-in itself ---


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_snake_and_camel_case_and_both_base64_alphabets_are_taken(
    process: SandboxProcess, version: str
) -> None:
    picture = photo(50)

    for encode, part in (
        (base64.urlsafe_b64encode, "inline_data"),
        (base64.standard_b64encode, "inlineData"),
    ):
        snake = part == "inline_data"
        body = {
            "contents": [{"parts": [{part: {"mime_type": "image/jpeg", "data": encode(picture).decode()}}]}],
            "system_instruction" if snake else "systemInstruction": {"parts": [{"text": "sys"}]},
            "generation_config" if snake else "generationConfig": {
                "response_schema" if snake else "responseSchema": {
                    "type": "OBJECT",
                    "properties": {"caption": {"type": "STRING", "max_length": 40}},
                }
            },
        }
        answer = call(process, "POST", f"/{version}/models/{MODEL}:generateContent", json=body).json()
        assert answer["candidates"][0]["finishReason"] == "STOP"
        written = json.loads(answer["candidates"][0]["content"]["parts"][0]["text"])
        assert 0 < len(written["caption"]) <= 40


def test_models_are_listed_and_described(process: SandboxProcess) -> None:
    listed = call(process, "GET", "/v1/models").json()["models"]
    assert f"models/{MODEL}" in {model["name"] for model in listed}
    assert call(process, "GET", f"/v1/models/{MODEL}").json()["inputTokenLimit"] == 1_048_576
    missing = call(process, "GET", "/v1/models/gemini-1.0")
    assert (missing.status_code, missing.json()["error"]["status"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b'{"contents": []}',
        b'{"contents": [{"parts": [{"inlineData": {"data": "***"}}]}]}',
        b'{"contents": [{"parts": [{"inlineData": {"data": "aGVsbG8="}}]}]}',
    ],
)
def test_a_bad_request_is_refused_in_googles_words(process: SandboxProcess, body: bytes) -> None:
    answer = call(process, "POST", f"/v1/models/{MODEL}:generateContent", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


def test_an_answer_is_cut_at_the_limit_of_tokens(process: SandboxProcess) -> None:
    body = {
        "contents": [{"parts": [{"text": PROMPT}]}],
        "generationConfig": {"maxOutputTokens": 20, "responseJsonSchema": Ideas.model_json_schema()},
    }
    answer = call(process, "POST", f"/v1/models/{MODEL}:generateContent", json=body).json()
    assert answer["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert len(answer["candidates"][0]["content"]["parts"][0]["text"]) == 80


def test_the_same_seed_writes_the_same_words(tmp_path: Path) -> None:
    body = {
        "contents": [{"parts": [{"text": PROMPT}]}],
        "generationConfig": {"responseJsonSchema": Ideas.model_json_schema()},
    }
    written = []
    for name in ("one", "two"):
        process = SandboxProcess(tmp_path / name, arguments=("--latency", "0", "--seed", "5"))
        try:
            answer = call(process, "POST", f"/v1/models/{MODEL}:generateContent", json=body).json()
        finally:
            process.stop()
        written.append(answer["candidates"])
    assert written[0] == written[1]
