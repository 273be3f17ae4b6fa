"""Items 11 and 12: which server pictures two LoRAs: none at rest, none without their files, one that can."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_tui.database.engine import Database
from persona_tui.errors import PersonaError
from persona_tui.resources import Resources
from persona_tui.services import lease
from persona_tui.services.generation.lora_comparison import create_comparison, make_pairs
from persona_tui.services.generation.lora_servers import NoServer
from persona_tui.services.voting.comparison import waiting_comparisons
from persona_tui.setting_sections import ComfyUISettings
from tests.database.test_training_12_lease import take
from tests.faults.engine_child import ledger
from tests.support.sandbox import SandboxProcess
from tests.ui.loras_world import Studio, quick_sandbox, studio_of
from tests.ui.quiet_core import QuietCore

AWAY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    yield from quick_sandbox(tmp_path_factory.mktemp("sandbox"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """A server into whose folder nothing is copied."""
    yield from quick_sandbox(tmp_path_factory.mktemp("bare"))


@pytest.fixture
def studio(db: Database, tmp_path: Path, server: SandboxProcess) -> Studio:
    return studio_of(db, tmp_path, server)


@pytest.fixture
def contest(studio: Studio) -> int:
    """A comparison of two versions with two pairs, none of which is made."""
    lora_ids = [studio.imported(f"mira_v{number}.safetensors", fill=number).id for number in (1, 2)]
    with studio.db.session_scope() as session:
        whose = {"persona_id": studio.plan.persona_id, "lora_id": lora_ids[1], "beside_id": lora_ids[0]}
        return create_comparison(session, {**whose, "prompts": ["a bowl"], "seeds": 2}).contest_id


def resources(studio: Studio, *urls: str) -> Resources:
    """Over these servers, of which only the studio's has a LoRA folder."""
    comfyui = ComfyUISettings(
        urls=urls, api_key=studio.server.token, lora_dir={studio.server.comfyui: studio.lora_dir}
    )
    return QuietCore(studio.db, studio.folder, comfyui=comfyui)._opened


async def test_training_12_pairs_wait_while_a_training_holds_the_card(
    studio: Studio, contest: int, tmp_path: Path
) -> None:
    opened, said, before = studio.core._opened, list[str](), len(ledger(studio.server, "queued"))
    held: list[lease.Lease] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        if sentence.startswith("Making pair 2") and len(held) == 1:
            # A training takes the card between the choice of a server and the first picture of the pair.
            held.append(take(studio.db, tmp_path / "locks"))

    held.append(await asyncio.to_thread(take, studio.db, tmp_path / "locks"))
    async with opened.lora_servers() as servers:
        making = asyncio.create_task(
            make_pairs(studio.db.session_scope, servers, opened.media, contest, say=say)
        )
        for round_ in (0, 1):
            while len([words for words in said if "pictures wait" in words]) == round_:
                await asyncio.sleep(0.02)
            assert len(ledger(studio.server, "queued")) - before == 2 * round_
            with studio.db.session_scope() as session:
                assert len(waiting_comparisons(session, studio.plan.persona_id)) == round_
                lease.release(session, held[round_])
        state = await making
    assert (state.ready, state.to_vote) == (2, 2)


async def test_training_11_a_server_that_lacks_a_version_is_passed_over(
    studio: Studio, contest: int, bare: SandboxProcess
) -> None:
    # Its key is another one, so it says no to all; the one that is away says nothing.
    opened = resources(studio, AWAY, bare.comfyui, studio.server.comfyui)
    async with opened.lora_servers() as servers:
        state = await make_pairs(studio.db.session_scope, servers, opened.media, contest)
    assert state.ready == 2 and not ledger(bare, "queued")


async def test_training_11_where_no_server_can_it_says_of_each_why(studio: Studio, contest: int) -> None:
    here = studio.server.comfyui
    bare = here.replace("127.0.0.1", "localhost")
    for folder in (studio.lora_dir).glob("mira*"):
        folder.unlink()
    for urls, kind, words in (
        ((AWAY, bare), NoServer, (f"at {AWAY}", f"{bare} does not list the LoRA mira@2")),
        ((bare,), PersonaError, ("does not list the LoRA mira@2",)),
        ((AWAY,), PersonaError, ("can't be reached",)),
    ):
        opened = resources(studio, *urls)
        async with opened.lora_servers() as servers:
            with pytest.raises(kind) as caught:
                await make_pairs(studio.db.session_scope, servers, opened.media, contest)
        assert all(one in caught.value.message for one in words), caught.value.message
        assert caught.value.hint
