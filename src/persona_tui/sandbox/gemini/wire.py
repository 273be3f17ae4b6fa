"""Gemini's and OpenAI's messages: what comes in, and what goes back."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from persona_tui.sandbox.gemini.answers import Question
from persona_tui.sandbox.gemini.filling import option as field

_STATUS = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Model:
    """A model that can be asked."""

    name: str
    title: str
    input_limit: int
    output_limit: int


GEMINI_MODELS = (
    Model("gemini-3.8-flash", "Gemini 3.8 Flash", 1_048_576, 65_536),
    Model("gemini-3.7-flash", "Gemini 3.7 Flash", 1_048_576, 65_536),
    Model("gemini-3.6-flash", "Gemini 3.6 Flash", 1_048_576, 65_536),
    Model("gemini-3.5-flash", "Gemini 3.5 Flash", 1_048_576, 65_536),
    Model("gemini-3.5-flash-lite", "Gemini 3.5 Flash-Lite", 1_048_576, 65_536),
    Model("gemini-3.1-flash-lite", "Gemini 3.1 Flash-Lite", 1_048_576, 65_536),
    Model("gemini-3.1-pro-preview", "Gemini 3.1 Pro Preview", 1_048_576, 65_536),
)
LOCAL_MODELS = ("gemma3:27b", "gemma3:4b", "llama3.2-vision:11b")


class BadRequest(Exception):
    """The request is not of the protocol; the words are the service's own."""


def read_gemini(model: str, body: Any) -> Question:
    """A generateContent request, in camel case, snake case, or a mixture.

    Raises:
        BadRequest: no contents, or data that isn't base64.
    """
    if not isinstance(body, Mapping) or not isinstance(body.get("contents"), list) or not body["contents"]:
        raise BadRequest("* GenerateContentRequest.contents: contents is not specified\n")
    instruction = field(body, "systemInstruction")
    turns = [instruction] if instruction else []
    parts = [part for turn in (*turns, *body["contents"]) for part in _parts(turn)]
    config = field(body, "generationConfig") or {}
    blobs = (field(part, "inlineData") for part in parts)
    longest = field(config, "maxOutputTokens")
    return Question(
        model=model,
        texts=tuple(part["text"] for part in parts if isinstance(part.get("text"), str)),
        pictures=tuple(_bytes(str(blob.get("data", ""))) for blob in blobs if blob),
        schema=field(config, "responseJsonSchema") or field(config, "responseSchema"),
        longest=int(longest) if longest else None,
    )


def _parts(turn: Any) -> Iterator[Mapping[str, Any]]:
    parts = turn.get("parts") if isinstance(turn, Mapping) else None
    for part in parts if isinstance(parts, list) else [parts]:
        if isinstance(part, Mapping):
            yield part


def _bytes(data: str) -> bytes:
    """Base64 of either alphabet, padded or not."""
    try:
        padded = data.replace("-", "+").replace("_", "/") + "=" * (-len(data) % 4)
        return base64.b64decode(padded, validate=True)
    except binascii.Error:
        raise BadRequest("Invalid value at 'contents[0].parts[0].inline_data.data' (TYPE_BYTES)") from None


def gemini_answer(question: Question, text: str | None, finish: str) -> Response:
    """A candidate; without text one that was blocked."""
    candidate: dict[str, Any] = {"finishReason": finish, "index": 0}
    if text is not None:
        candidate["content"] = {"parts": [{"text": text}], "role": "model"}
    return JSONResponse({"candidates": [candidate], **_about(question, text or "")})


def gemini_prompt_blocked(question: Question) -> Response:
    """No candidates, and why."""
    return JSONResponse({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **_about(question, "")})


def _about(question: Question, text: str) -> dict[str, Any]:
    prompt = sum(map(len, question.texts)) // _CHARACTERS_PER_TOKEN + 258 * len(question.pictures)
    written = len(text) // _CHARACTERS_PER_TOKEN
    return {
        "usageMetadata": {
            "promptTokenCount": prompt,
            "candidatesTokenCount": written,
            "totalTokenCount": prompt + written,
        },
        "modelVersion": question.model,
        "responseId": "c2FuZGJveA",
    }


def gemini_error(status: int, message: str, *, reason: str | None = None) -> Response:
    """An error in Google's form."""
    error: dict[str, Any] = {"code": status, "message": message, "status": _STATUS.get(status, "UNKNOWN")}
    if reason is not None:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        error["details"] = [{"@type": kind, "reason": reason, "domain": "googleapis.com"}]
    return JSONResponse({"error": error}, status_code=status)


def gemini_model(model: Model) -> dict[str, Any]:
    """A model's own description."""
    return {
        "name": f"models/{model.name}",
        "version": "001",
        "displayName": model.title,
        "inputTokenLimit": model.input_limit,
        "outputTokenLimit": model.output_limit,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


def read_openai(body: Any) -> Question:
    """A chat completions request.

    Raises:
        BadRequest: no messages, or a picture that is no data URL.
    """
    if not isinstance(body, Mapping) or not isinstance(body.get("messages"), list) or not body["messages"]:
        raise BadRequest("[] is too short - 'messages'")
    texts: list[str] = []
    pictures: list[bytes] = []
    for message in body["messages"]:
        content: Any = message.get("content") if isinstance(message, Mapping) else None
        parts: list[Any] = [{"text": content}] if isinstance(content, str) else content or []
        for part in parts:
            if part.get("type") == "image_url":
                head, separator, data = str(part["image_url"]["url"]).partition(";base64,")
                if not separator or not head.startswith("data:image/"):
                    raise BadRequest("invalid image input")
                pictures.append(_bytes(data))
            else:
                texts.append(str(part.get("text", "")))
    wanted = body.get("response_format") or {}
    longest = body.get("max_tokens") or body.get("max_completion_tokens")
    return Question(
        model=str(body.get("model", "")),
        texts=tuple(texts),
        pictures=tuple(pictures),
        schema=(wanted.get("json_schema") or {}).get("schema")
        if wanted.get("type") == "json_schema"
        else None,
        longest=int(longest) if longest else None,
    )


def repeats_schema(text: str, schema: Mapping[str, Any] | None) -> bool:
    """Whether the text is only the wanted schema once more, with a sentence around it."""
    begin = text.find("{")
    if schema is None or begin < 0:
        return False
    try:
        repeated, _end = json.JSONDecoder().raw_decode(text[begin:])
    except json.JSONDecodeError:
        return False
    return bool(repeated == schema)


def openai_answer(question: Question, text: str, finish: str, created: int) -> Response:
    """A completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = _about(question, text)["usageMetadata"]
    return JSONResponse(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": created,
            "model": question.model,
            "choices": [choice],
            "usage": {
                "prompt_tokens": usage["promptTokenCount"],
                "completion_tokens": usage["candidatesTokenCount"],
                "total_tokens": usage["totalTokenCount"],
            },
        }
    )


def openai_error(status: int, message: str, kind: str = "invalid_request_error") -> Response:
    """An error in OpenAI's form."""
    return JSONResponse(
        {"error": {"message": message, "type": kind, "param": None, "code": None}}, status_code=status
    )


def cut(text: str, longest: int | None) -> str | None:
    """The text's beginning when it is longer than so many tokens; None when it fits."""
    room = None if longest is None else longest * _CHARACTERS_PER_TOKEN
    return text[:room] if room is not None and len(text) > room else None
