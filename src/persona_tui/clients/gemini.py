"""Google's Gemini, by google-genai.

The SDK is imported at the first call, in a thread: that takes a second. It retries nothing here; services
decide that. What it raises, transport errors included, becomes one of our own errors.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from persona_tui.boundaries import reached
from persona_tui.clients.language import Answer, AnswerBlocked, cut_short, media_type, read_answer
from persona_tui.errors import (
    ClientError,
    KeyRejected,
    ServiceGarbled,
    ServiceRefused,
    ServiceTimeout,
    ServiceUnreachable,
)
from persona_tui.passed import Passed, require_passed
from persona_tui.text import clean

if TYPE_CHECKING:
    import httpx2
    from google import genai
    from google.genai import types

_NAME = "Gemini"
_GOOGLE = "https://generativelanguage.googleapis.com"
_MODEL_HINT = "Set PERSONA_GEMINI__MODEL to a model that exists; `persona-tui doctor` lists them."
_QUOTA_HINT = "Wait a minute and try again, or raise the key's quota."
_BLOCKED = {
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
}
_BOUNDARIES = {
    "send_request_headers.started": "http:before_send",
    "send_request_body.complete": "http:after_send",
    "receive_response_body.complete": "http:after_reply",
}


@dataclass
class _Call:
    """How far a request got."""

    sending: bool = False


_call: ContextVar[_Call] = ContextVar("gemini_call")


async def _trace(event: str, _info: dict[str, Any]) -> None:
    boundary = _BOUNDARIES.get(event.split(".", 1)[-1])
    if boundary is not None:
        reached(boundary)
        if boundary == "http:before_send":
            _call.get().sending = True


async def _follow(request: httpx2.Request) -> None:
    request.extensions["trace"] = _trace


class GeminiClient:
    """Writes with one Gemini model.

    Raises from every call: `ServiceUnreachable`, `ServiceTimeout`, `KeyRejected`, `ServiceRefused` (with
    `status`; its subclass `AnswerBlocked` for what Gemini's safety rules keep back), `ServiceGarbled`,
    and `ClientError` for a connection that broke. None of them carries the key.
    """

    def __init__(
        self, api_key: SecretStr, *, model: str, base_url: str | None = None, timeout: float = 60.0
    ) -> None:
        """Args:
        model: id without "models/".
        base_url: another host than Google's, without a version.
        timeout: seconds that Gemini may stay silent.
        """
        self._api_key = api_key
        self._model = model.removeprefix("models/")
        self._base_url = (base_url or _GOOGLE).rstrip("/")
        self._timeout = timeout
        self._lock = asyncio.Lock()
        self._sdk: genai.Client | None = None
        self._http: httpx2.AsyncClient | None = None

    async def generate(
        self,
        system: Passed[str],
        prompt: Passed[str],
        *,
        pictures: Sequence[Passed[bytes]] = (),
        schema: type[Answer],
    ) -> Answer:
        """Answer a prompt with a value of the schema.

        Args:
            system: who writes, and how.
            prompt: what to write.
            pictures: JPEG, PNG, GIF or WebP; some 1024 pixels are enough.
        """
        for value in (system, prompt, *pictures):
            require_passed(value)
        sdk = await self._connected()
        request = await asyncio.to_thread(_request, system, prompt, pictures, schema)
        async with self._errors():
            answer = await sdk.aio.models.generate_content(model=self._model, **request)
            text = _text_of(answer)
        return read_answer(text, schema, _NAME)

    async def check(self) -> str:
        """Ask for the model itself: that costs nothing, and tells whether key and model are good."""
        sdk = await self._connected()
        try:
            async with self._errors():
                model = await sdk.aio.models.get(model=self._model)
        except ServiceRefused as refusal:
            if refusal.status == 404:
                refusal.hint = f"Set PERSONA_GEMINI__MODEL to one of: {', '.join(await self._models(sdk))}."
            raise
        title = clean(model.display_name or self._model, keep_lines=False)[:80]
        return f"{_NAME} answers at {self._base_url}; {self._model} is {title}."

    async def aclose(self) -> None:
        """Close all connections."""
        if self._http is not None:
            await self._http.aclose()
        if self._sdk is not None:
            self._sdk.close()
        self._sdk = self._http = None

    async def _connected(self) -> genai.Client:
        async with self._lock:
            if self._sdk is None:
                fresh = await asyncio.to_thread(self._connect)
                self._sdk, self._http = fresh
                return fresh[0]
            return self._sdk

    def _connect(self) -> tuple[genai.Client, httpx2.AsyncClient]:
        import httpx2
        from google import genai
        from google.genai import types

        http = httpx2.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(self._timeout, connect=min(self._timeout, 10.0)),
            event_hooks={"request": [_follow]},
        )
        options = types.HttpOptions(
            base_url=self._base_url, timeout=max(1, round(self._timeout * 1000)), httpx_async_client=http
        )
        # vertexai is said out loud: an environment variable of Google's would switch it on.
        return genai.Client(
            api_key=self._api_key.get_secret_value(), vertexai=False, http_options=options
        ), http

    async def _models(self, sdk: genai.Client) -> list[str]:
        """Names of the models that can write."""
        async with self._errors():
            listed = [model async for model in await sdk.aio.models.list()]
        names = (
            (model.name or "").removeprefix("models/")
            for model in listed
            if "generateContent" in (model.supported_actions or ["generateContent"])
        )
        return [clean(name, keep_lines=False)[:60] for name in names][:12]

    @contextlib.asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        """Turn whatever SDK and transport raise into our errors, without URL, header or body."""
        import httpx2
        from google.genai import errors

        call = _Call()
        _call.set(call)
        try:
            yield
        except ClientError:
            raise
        except errors.APIError as problem:
            raise self._refusal(problem) from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol):
            raise ServiceUnreachable(f"{_NAME} can't be reached at {self._base_url}.", sent=False) from None
        except (httpx2.TimeoutException, TimeoutError):
            raise ServiceTimeout(f"{_NAME} did not answer in time.", sent=call.sending) from None
        except (httpx2.HTTPError, OSError) as problem:
            kind = type(problem).__name__
            raise ClientError(f"The connection to {_NAME} broke: {kind}.", sent=call.sending) from None
        except (ValueError, TypeError, LookupError, AttributeError) as problem:
            raise ServiceGarbled(
                f"{_NAME} answered with something that is not its protocol ({type(problem).__name__})."
            ) from None

    def _refusal(self, problem: Any) -> ServiceRefused:
        """The error for an answer that is not 200.

        Args:
            problem: the SDK's APIError, whose text quotes the whole answer.
        """
        status = problem.code if isinstance(problem.code, int) else None
        words = clean(str(problem.message or ""), keep_lines=False)
        words = words.replace(self._api_key.get_secret_value(), "…")[:200]
        # A wrong key is answered with 400, an expired one with 400 or 403.
        if status in {401, 403} or "API_KEY_INVALID" in str(problem.details) or "API key" in words:
            return KeyRejected(f"{_NAME} does not take the key: {words or status}", status=status)
        if status == 404:
            return ServiceRefused(
                f"{_NAME} has no model {self._model}.", status=status, title="Model is gone", hint=_MODEL_HINT
            )
        if status == 429:
            return ServiceRefused(f"{_NAME}'s quota is used up.", status=status, hint=_QUOTA_HINT)
        return ServiceRefused(f"{_NAME} answered {status}: {words or 'no reason given'}", status=status)


def _request(
    system: Passed[str], prompt: Passed[str], pictures: Sequence[Passed[bytes]], schema: type[Answer]
) -> dict[str, Any]:
    """The arguments of generate_content; in a thread, since pictures are encoded."""
    from google.genai import types

    parts = [types.Part.from_bytes(data=one.value, mime_type=media_type(one.value)) for one in pictures]
    parts.append(types.Part.from_text(text=prompt.value))
    config = types.GenerateContentConfig(
        system_instruction=system.value,
        response_mime_type="application/json",
        response_json_schema=schema.model_json_schema(),
    )
    return {"contents": [types.Content(role="user", parts=parts)], "config": config}


def _text_of(answer: types.GenerateContentResponse) -> str:
    """The answer's text. Blocked and cut answers are no exceptions to the SDK; to us they are.

    Raises:
        AnswerBlocked: prompt or answer was blocked.
        ServiceGarbled: the answer was cut, or there is none.
    """
    feedback = answer.prompt_feedback
    if feedback is not None and feedback.block_reason is not None:
        raise AnswerBlocked(f"{_NAME} refused the prompt ({_word(feedback.block_reason)}).")
    candidate = answer.candidates[0] if answer.candidates else None
    if candidate is None:
        raise ServiceGarbled(f"{_NAME} gave no answer.")
    finish = _word(candidate.finish_reason)
    if finish in _BLOCKED:
        raise AnswerBlocked(f"{_NAME} kept its answer back ({finish}).")
    if finish == "MAX_TOKENS":
        raise cut_short(_NAME)
    parts = candidate.content.parts if candidate.content is not None else None
    text = "".join(part.text for part in parts or () if part.text and not part.thought)
    if not text:
        raise ServiceGarbled(f"{_NAME} gave an empty answer ({finish or 'no reason'}).")
    return text


def _word(value: Any) -> str:
    """An enumeration's own word; a new one, that the SDK doesn't know, comes as it is."""
    return clean(str(getattr(value, "value", value) or ""), keep_lines=False)[:40]
