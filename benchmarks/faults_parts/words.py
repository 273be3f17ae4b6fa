"""T16: language models that are away, silent, blocked, or write what Instagram or the guard would refuse."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
from benchmarks.faults_parts.sizes import Row, Run, Sizes
from benchmarks.faults_parts.stage import Stage
from pydantic import SecretStr
from tests.support.publishing import World

from persona_tui.clients.gemini import GeminiClient
from persona_tui.clients.openai_compatible import OpenAICompatibleClient
from persona_tui.services.planning import captions
from persona_tui.services.publishing import posts
from persona_tui.services.publishing.wording import WordsRefused, checked_words
from persona_tui.services.writers import Writer

MODEL, LOCAL_MODEL = "gemini-3.8-flash", "gemma3:4b"
WITHIN = 300.0
"""Seconds for which a post may wait for its words."""
PATIENCE = 2.0
MAX_HASHTAGS = 5
TAGS = ("coffee", "morning", "window", "light", "quiet", "reels", "berlin")
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "quota": {"kind": "fail_before", "status": 429},
    "down": {"kind": "fail_before", "status": 503},
    "local": {"kind": "fail_before", "status": 503},
    "silent": {"kind": "slow", "seconds": 3600},
}
OUTCOMES = {"blocked": "prompt_blocked", "kept_back": "answer_blocked", "cut": "cut"}
WRITTEN: Mapping[str, Mapping[str, Any]] = {
    "seven_tags": {"hashtags": TAGS},
    "too_long": {
        "caption": "Steam and light \N{HOT BEVERAGE} \N{SUNRISE} " * 200,
        "alt_text": "A cup. " * 300,
    },
    "many_names": {"caption": " ".join(f"@friend{number}" for number in range(25))},
    "refused": {"caption": "A sexy look, sixteen years old."},
}
KINDS = (*FAULTS, *OUTCOMES, *WRITTEN, "gone")
WRITERS = {"local": "local", "seven_tags": "gemini", "too_long": "gemini"}
"""Whose words are kept in the end; the template's in all other kinds."""


def words(stage: Stage, *, seed: int, kind: str) -> Row:
    """T16: a post gets its words from a chain of writers of which the first is in trouble, and goes out.

    Args:
        kind: `gone`: the model is not there any more (404); see the tables above for the others. The local
            model is away, but for `local`.
    """
    (world,) = stage.begin(seed)
    stage.behave(container_seconds=1)
    _trouble(stage, kind)
    with world.db.session_scope() as session:
        post_id = posts.draft_for_winner(session, world.candidate(session)).id
    began = time.monotonic()
    proposal = asyncio.run(_propose(stage, world, post_id, kind))
    took = time.monotonic() - began
    with world.db.session_scope() as session:
        captions.write_proposal(session, post_id, proposal, max_hashtags=MAX_HASHTAGS)
        posts.publish_now(session, post_id)
    asyncio.run(stage.player(world).until_still(timedelta(hours=1)))
    entries = stage.entries()
    row = stage.verdict(entries).as_row()
    violations = sum(_breaks_a_rule(entry) for entry in entries if entry["event"] == "published")
    expected = WRITERS.get(kind, captions.TEMPLATE)
    broken = violations > 0 or took > WITHIN or row["published"] != 1 or proposal.written_by != expected
    return row | {
        "written_by": proposal.written_by,
        "seconds": round(took, 1),
        "violations": violations,
        "broken": broken,
    }


async def _propose(stage: Stage, world: World, post_id: int, kind: str) -> captions.CaptionProposal:
    key, site = SecretStr(stage.sandbox.token), stage.sandbox.gemini
    gemini = GeminiClient(key, model="gemini-1.0-gone" if kind == "gone" else MODEL, base_url=site)
    address = f"{site}/v1" if kind == "local" else "http://127.0.0.1:9/v1"
    local = OpenAICompatibleClient(address, model=LOCAL_MODEL, api_key=key)
    try:
        return await captions.propose_caption(
            world.db.session_scope,
            [Writer("gemini", gemini), Writer("local", local)],
            world.media,
            post_id,
            max_hashtags=MAX_HASHTAGS,
            patience=PATIENCE if kind == "silent" else captions.PATIENCE,
        )
    finally:
        await gemini.aclose()
        await local.aclose()


def _trouble(stage: Stage, kind: str) -> None:
    sandbox = stage.sandbox
    sandbox.clear_faults("gemini")
    if kind in FAULTS:
        sandbox.plan("gemini", "generate_content", **FAULTS[kind])
    elif kind in WRITTEN:
        said = {"caption": "Morning, slowly.", "hashtags": TAGS[:3], "alt_text": "A cup.", **WRITTEN[kind]}
        content = {"parts": [{"text": json.dumps(said)}], "role": "model"}
        body = {"candidates": [{"finishReason": "STOP", "index": 0, "content": content}]}
        sandbox.plan("gemini", "generate_content", "fail_before", status=200, body=body)
    elif kind in OUTCOMES:
        httpx.post(
            f"{sandbox.gemini}/sandbox/outcomes",
            json={"outcome": OUTCOMES[kind]},
            headers={"x-goog-api-key": sandbox.token},
            trust_env=False,
            verify=False,
        ).raise_for_status()


def _breaks_a_rule(entry: Mapping[str, Any]) -> bool:
    """Whether Instagram was sent words that it would not take, or tags that it calls harmful."""
    caption, alt_text = str(entry["caption"]), str(entry["alt_text"] or "")
    try:
        checked_words(caption, (), alt_text, max_hashtags=MAX_HASHTAGS)
    except WordsRefused:
        return True
    return "#reels" in caption


def plan_t16(run: Run, size: Sizes) -> None:
    """T16: writers in trouble."""
    for kind in KINDS:
        run("T16", seed=size.seed, kind=kind)


PLAYS: dict[str, Any] = {"T16": words}
PLANS: dict[str, Any] = {"T16": plan_t16}
