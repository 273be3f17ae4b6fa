"""The server's list of LoRAs and its log, each with the ways in which they may be missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.comfyui import Server, node, painting, run
from tests.support.loras import write_lora
from tests.support.sandbox import SandboxProcess

from persona_tui.errors import ServiceRefused

NAME = "people/mira.safetensors"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    made = SandboxProcess(tmp_path_factory.mktemp("sandbox"))
    write_lora(made.state / "comfyui/models/loras/people", "mira.safetensors")
    yield made
    made.stop()


@pytest.fixture
def server(process: SandboxProcess) -> Iterator[Server]:
    yield Server(process.comfyui, process.token)
    process.clear_faults("comfyui")


async def test_loras_are_named_as_the_server_writes_them(server: Server) -> None:
    async with server.client() as client:
        assert await client.lora_names() == (NAME,)


async def test_a_server_without_the_route_tells_them_in_its_loaders_declaration(
    process: SandboxProcess, server: Server
) -> None:
    process.plan("comfyui", "models", "fail_before", status=404)
    async with server.client() as client:
        assert await client.lora_names() == (NAME,)


async def test_any_other_refusal_of_the_list_is_told(process: SandboxProcess, server: Server) -> None:
    process.plan("comfyui", "models", "fail_before", status=503)
    async with server.client() as client:
        with pytest.raises(ServiceRefused):
            await client.lora_names()


async def test_the_log_is_read_by_either_route(process: SandboxProcess, server: Server) -> None:
    graph = painting(node10=node("LoraLoaderModelOnly", model=["4", 0], lora_name=NAME, strength_model=1.0))
    graph["3"]["inputs"]["model"] = ["10", 0]
    async with server.client() as client:
        await run(client, graph)
        first = await client.log_tail()
        process.plan("comfyui", "logs", "fail_before", status=404)
        other = await client.log_tail()
    lost = "lora key not loaded: transformer.transformer_blocks.0.attn.to_q.lora_A.weight"
    assert first is not None
    assert other is not None
    assert [line.at for line in first.lines if line.words == lost] != [""]
    assert lost in [line.words for line in first.lines]
    assert other == first
    assert not any("\n" in line.words for line in first.lines)
    assert not first.is_full


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_log_that_is_not_shown_is_none(process: SandboxProcess, server: Server, status: int) -> None:
    process.plan("comfyui", "logs", "fail_before", status=status, times=2)
    async with server.client() as client:
        assert await client.log_tail() is None


async def test_a_proxys_page_in_the_logs_place_is_none(process: SandboxProcess, server: Server) -> None:
    process.plan("comfyui", "logs", "garbage", times=2)
    async with server.client() as client:
        assert await client.log_tail() is None
