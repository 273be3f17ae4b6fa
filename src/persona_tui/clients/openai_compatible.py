"""Local language models behind an OpenAI-compatible API: Ollama, vLLM, llama.cpp, LM Studio."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
from pydantic import SecretStr

from persona_tui.clients.http import HttpService
from persona_tui.clients.language import Answer, AnswerBlocked, cut_short, media_type, read_answer
from persona_tui.errors import KeyRejected, ServiceGarbled, ServiceRefused
from persona_tui.passed import Passed, require_passed
from persona_tui.text import clean

_NAME = "The local model"
_TEMPERATURE = 0.6  # the schema is kept more often at a low one; above that captions are less alike
_THOUGHTS = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_FENCED = re.compile(r"```(?:json|JSON)?\s*\n(.*?)```", re.DOTALL)


class OpenAICompatibleClient:
    """Writes with one model of such a server.

    Raises from every call: `ServiceUnreachable`, `ServiceTimeout`, `KeyRejected`, `ServiceRefused` (with
    `status`; its subclass `AnswerBlocked`), `ServiceGarbled`, and `ClientError` for a connection that broke.
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        api_key: SecretStr | None = None,
        timeout: float = 120.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Args:
        base_url: up to and including /v1.
        model: name as the server lists it.
        api_key: sent as a bearer, where the server wants one.
        timeout: seconds that the server may stay silent; loading a model takes its time.
        transport: another way to the network, for tests.
        """
        headers = {"Authorization": f"Bearer {api_key.get_secret_value()}"} if api_key else {}
        self._model = model
        self._service = _Server(model, base_url, headers=headers, timeout=timeout, transport=transport)

    async def generate(
        self,
        system: Passed[str],
        prompt: Passed[str],
        *,
        pictures: Sequence[Passed[bytes]] = (),
        schema: type[Answer],
    ) -> Answer:
        """Answer a prompt with a value of the schema; the model must see, where there are pictures."""
        for value in (system, prompt, *pictures):
            require_passed(value)
        body = await asyncio.to_thread(_request, self._model, system, prompt, pictures, schema)
        reply = await self._service.request_json("POST", "/chat/completions", json=body)
        text = _text_of(reply)
        return read_answer(next(_json_in(text), text), schema, _NAME)

    async def check(self) -> str:
        """Look for the model in the server's list."""
        reply = await self._service.request_json("GET", "/models")
        listed = reply.get("data") if isinstance(reply, Mapping) else None
        if not isinstance(listed, list):
            raise ServiceGarbled(f"{_NAME}'s server has no list of models.")
        names = [
            clean(str(one.get("id")), keep_lines=False)[:80] for one in listed if isinstance(one, Mapping)
        ]
        if self._model not in names:
            some = ", ".join(names[:12]) or "no model at all"
            raise ServiceRefused(
                f"There is no model {self._model} at {self._service.base_url}.",
                title="Model is missing",
                hint=f"Pull it, or set PERSONA_LOCAL_LLM__MODEL; the server has {some}.",
            )
        return f"{self._model} is there at {self._service.base_url}."

    async def aclose(self) -> None:
        """Close all connections."""
        await self._service.aclose()


class _Server(HttpService):
    """Knows the words for a missing model."""

    def __init__(self, model: str, base_url: str, **options: Any) -> None:
        super().__init__(_NAME, base_url, **options)
        self._model = model

    def refusal(self, response: httpx.Response) -> ServiceRefused:
        """The error for an answer that is not 2xx."""
        words = _error_words(response)
        # Some servers answer a wrong key with 400.
        if response.status_code in {401, 403} or "api key" in words:
            return KeyRejected(f"{_NAME}'s server does not take the key.", status=response.status_code)
        if response.status_code == 404 and "model" in words:
            return ServiceRefused(
                f"There is no model {self._model} at {self.base_url}.",
                status=404,
                title="Model is missing",
                hint=f"Pull it (`ollama pull {self._model}`), or set PERSONA_LOCAL_LLM__MODEL.",
            )
        if response.status_code == 404:
            return ServiceRefused(
                f"{self.base_url} is no OpenAI-compatible API.",
                status=404,
                hint="PERSONA_LOCAL_LLM__BASE_URL ends with /v1 on most servers.",
            )
        return ServiceRefused(
            f"{_NAME}'s server answered {response.status_code}.", status=response.status_code
        )


def _error_words(response: httpx.Response) -> str:
    """What the error's body says, in lower case, for telling errors apart."""
    try:
        body = response.json()
        error = body.get("error", body)
        return str(error.get("message", "") if isinstance(error, Mapping) else error).lower()
    except (ValueError, AttributeError, RecursionError):
        return ""


def _request(
    model: str,
    system: Passed[str],
    prompt: Passed[str],
    pictures: Sequence[Passed[bytes]],
    schema: type[Answer],
) -> dict[str, Any]:
    """The request's body; in a thread, since pictures are encoded.

    The schema stands in a part of its own, so that the texts that passed the guard arrive as they are.
    """
    wanted = schema.model_json_schema()
    reminder = f"Answer with one JSON object of this schema and nothing else:\n{json.dumps(wanted)}"
    content: list[dict[str, Any]] = [{"type": "text", "text": text} for text in (prompt.value, reminder)]
    for picture in pictures:
        data = base64.standard_b64encode(picture.value).decode()
        url = f"data:{media_type(picture.value)};base64,{data}"
        content.append({"type": "image_url", "image_url": {"url": url}})
    return {
        "model": model,
        "messages": [{"role": "system", "content": system.value}, {"role": "user", "content": content}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": schema.__name__.strip("_") or "answer", "schema": wanted},
        },
        "temperature": _TEMPERATURE,
        "stream": False,
    }


def _text_of(reply: Any) -> str:
    """The first choice's text.

    Raises:
        AnswerBlocked: the model or a filter refused.
        ServiceGarbled: cut, empty, or not a completion.
    """
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content"), message.get("refusal")
        finish = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ServiceGarbled(f"{_NAME}'s server answered with something that is no completion.") from None
    if refusal or finish == "content_filter":
        raise AnswerBlocked(f"{_NAME} refused to answer.")
    if finish == "length":
        raise cut_short(_NAME)
    if not isinstance(text, str) or not text.strip():
        raise ServiceGarbled(f"{_NAME} gave an empty answer.")
    return text


def _json_in(text: str) -> Iterator[str]:
    """JSON objects in the text, likeliest first: the text itself, what is fenced, the first one in prose."""
    spoken = _THOUGHTS.sub("", text)
    candidates = [spoken, *(match[1] for match in _FENCED.finditer(spoken))]
    for candidate in candidates:
        try:
            json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        yield candidate.strip()
    begin = spoken.find("{")
    try:
        _value, end = json.JSONDecoder().raw_decode(spoken, begin)
    except (ValueError, RecursionError):
        return
    yield spoken[begin:end]
