"""Generating itself, with tiny models: text and picture to picture, and every LoRA format of every family.

A real server takes part where PERSONA_TEST_COMFYUI_URL names it and PERSONA_TEST_COMFYUI_DIR the folder with
its `models`; Qwen-Image also wants tests/support/comfyui_node.py among its custom nodes.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets
from PIL import Image
from tests.support import comfyui_loras, comfyui_models
from tests.support.comfyui import (
    Graph,
    Server,
    events_until_idle,
    log_mark,
    lost_keys,
    new_id,
    node,
    painting,
    passed,
    png,
    run,
    server,
    small_graph,
)
from tests.support.comfyui_loras import FORMATS, KeyFormat
from tests.support.comfyui_models import Family
from tests.support.sandbox import sandbox

from persona_tui.clients.comfyui import ComfyUIClient, Preview, Progress, Status
from persona_tui.errors import ServiceRefused
from persona_tui.services.generation.injection import inject
from persona_tui.services.generation.lora_use import LoraUse

__all__ = ["sandbox", "server"]

SEEN = 0.5
"""Mean difference of two pictures, in 8-bit steps, from which on a LoRA counts as seen."""
_plain: dict[tuple[str, Family], Any] = {}


@dataclass
class Studio:
    """A server with its models' folder, and what was put there for one test."""

    server: Server
    client: ComfyUIClient
    models: Path
    placed: list[Path] = field(default_factory=list)

    def prepare(self, family: Family) -> None:
        """Have the family's tiny models at hand."""
        if self.server.real:
            comfyui_models.place(family, self.models)
            return
        for model in comfyui_models.NEEDED[family]:
            comfyui_models.skeleton(model, self.models / model.folder / model.name)

    def lora(self, made: KeyFormat, **options: Any) -> str:
        """Put a LoRA there under a name of its own; returns the name."""
        name = f"persona-test-{new_id()}.safetensors"
        comfyui_loras.write(made, self.models / "loras" / name, **options)
        self.placed.append(self.models / "loras" / name)
        return name

    async def pixels(self, graph: Graph) -> Any:
        """The first picture that a graph gives."""
        entry = await run(self.client, graph)
        assert entry.status == "success", entry.message
        image = Image.open(io.BytesIO(await self.client.view(entry.files[0])))
        return np.asarray(image.convert("RGB"), dtype=np.float32)

    async def plain(self, family: Family) -> Any:
        """The family's picture without a LoRA; made once for each server."""
        key = (self.server.url, family)
        if key not in _plain:
            _plain[key] = await self.pixels(self.graph(family))
        return _plain[key]

    def graph(self, family: Family, **changes: Any) -> Graph:
        """The family's smallest graph; nodes 4 and 11 give model and CLIP, 3 samples, 9 saves."""
        graph = painting(seed=7)
        graph["3"]["inputs"] |= {"steps": 2, "scheduler": "simple", "cfg": 2.0}
        graph["5"]["inputs"] |= {"width": 64, "height": 64}
        if family == "sd15":
            graph["4"]["inputs"]["ckpt_name"] = comfyui_models.CHECKPOINT.name
        else:
            graph |= self._split(family)
            graph["3"]["inputs"] |= {"steps": 1, "cfg": 1.0}
            graph["8"]["inputs"]["vae"] = ["12", 0]
        graph["3"]["inputs"] |= changes
        return graph

    def _split(self, family: Family) -> Graph:
        """Model, texts and VAE from files of their own."""
        model = comfyui_models.FLUX if family == "flux" else comfyui_models.QWEN
        graph = {
            "4": node("UNETLoader", unet_name=model.name, weight_dtype="default"),
            "12": node("VAELoader", vae_name=comfyui_models.VAE_16.name),
            "5": node("EmptySD3LatentImage", width=64, height=64, batch_size=1),
        }
        if family == "qwen" and self.server.real:
            texts = {"6": 1, "7": 2}
            return graph | {
                number: node("PersonaTestConditioning", width=3584, tokens=8, seed=seed)
                for number, seed in texts.items()
            }
        encoder = comfyui_models.CLIP_L.name if family == "flux" else "qwen_2.5_vl_7b_fp8_scaled.safetensors"
        kind = "stable_diffusion" if family == "flux" else "qwen_image"
        clip = {"11": node("CLIPLoader", clip_name=encoder, type=kind)}
        texts = {"6": "a celadon vase in morning light", "7": "blurry"}
        return (
            graph | clip | {n: node("CLIPTextEncode", text=text, clip=["11", 0]) for n, text in texts.items()}
        )


@pytest.fixture
async def studio(server: Server) -> AsyncIterator[Studio]:
    if server.folder is None:
        pytest.skip("PERSONA_TEST_COMFYUI_DIR is not set")
    async with server.client(timeout=120) as client:
        made = Studio(server, client, server.folder / "models")
        yield made
    for path in made.placed:
        path.unlink()


def with_lora(graph: Graph, family: Family, name: str, weight: float = 1.0) -> Graph:
    """The graph with a LoRA behind its loader: both halves of a checkpoint, the model alone elsewhere."""
    changed: Graph = {number: {**one, "inputs": dict(one["inputs"])} for number, one in graph.items()}
    changed["3"]["inputs"]["model"] = ["20", 0]
    if family != "sd15":
        changed["20"] = node("LoraLoaderModelOnly", model=["4", 0], lora_name=name, strength_model=weight)
        return changed
    changed["20"] = node(
        "LoraLoader",
        model=["4", 0],
        clip=["4", 1],
        lora_name=name,
        strength_model=weight,
        strength_clip=weight,
    )
    for text in ("6", "7"):
        changed[text]["inputs"]["clip"] = ["20", 1]
    return changed


def difference(first: Any, second: Any) -> float:
    """Mean difference of two pictures in 8-bit steps."""
    return float(np.abs(first - second).mean())


@pytest.mark.parametrize("family", comfyui_models.NEEDED)
async def test_another_seed_gives_another_picture_and_the_same_seed_the_same(
    studio: Studio, family: Family
) -> None:
    studio.prepare(family)
    first = await studio.plain(family)
    assert first.shape == (64, 64, 3) or not studio.server.real
    assert difference(first, await studio.pixels(studio.graph(family, seed=8))) > SEEN
    assert difference(first, await studio.pixels(studio.graph(family))) == 0


async def test_another_prompt_gives_another_picture(studio: Studio) -> None:
    studio.prepare("sd15")
    graph = studio.graph("sd15")
    graph["6"]["inputs"]["text"] = "a grey sea under a storm"
    assert difference(await studio.plain("sd15"), await studio.pixels(graph)) > SEEN


async def test_an_uploaded_parent_decides_what_its_child_looks_like(studio: Studio) -> None:
    studio.prepare("sd15")

    async def child(parent: bytes, seed: int = 7) -> Any:
        name = await studio.client.upload_image(passed(parent), f"{new_id()}.png")
        graph = studio.graph("sd15", latent_image=["31", 0], denoise=0.5, seed=seed)
        graph["30"] = node("LoadImage", image=name)
        graph["31"] = node("VAEEncode", pixels=["30", 0], vae=["4", 2])
        return await studio.pixels(graph)

    first = await child(png(64, (10, 120, 200)))
    assert difference(first, await child(png(64, (240, 30, 20)))) > SEEN
    assert difference(first, await child(png(64, (10, 120, 200)))) == 0
    assert difference(first, await child(png(64, (10, 120, 200)), seed=9)) > SEEN


@pytest.mark.parametrize("made", FORMATS, ids=str)
async def test_a_lora_is_seen_or_its_keys_are_said_to_be_lost(studio: Studio, made: KeyFormat) -> None:
    studio.prepare(made.family)
    without = await studio.plain(made.family)
    name = studio.lora(made)
    assert name in await studio.client.models("loras")
    mark = log_mark(studio.server)
    seen = difference(without, await studio.pixels(with_lora(studio.graph(made.family), made.family, name)))
    lost = lost_keys(studio.server, mark)
    print(f"{made}: {seen:.2f}, {len(lost)} keys lost")
    assert (seen > SEEN) is made.loads
    assert made.loads or seen == 0
    assert len(lost) == (0 if made.loads else len(made.shapes))


INJECTED: dict[Family, str] = {"sd15": "sd15", "flux": "flux", "qwen": "qwen-image"}


@pytest.mark.parametrize("family", INJECTED)
async def test_what_the_engine_injects_acts_as_if_placed_by_hand(studio: Studio, family: Family) -> None:
    studio.prepare(family)
    name = studio.lora(next(one for one in FORMATS if one.family == family and one.loads))
    graph = studio.graph(family)
    lora = LoraUse(
        lora_model_id=1, position=1, name="mira", version=1, model_type="character", family=INJECTED[family],
        trigger_word="", file_name=name, sha256="0" * 64, weight=0.8,
    )  # fmt: skip
    injected = await studio.pixels(inject(graph, graph, [lora]))
    assert difference(await studio.plain(family), injected) > SEEN
    assert difference(await studio.pixels(with_lora(graph, family, name, 0.8)), injected) == 0


async def test_the_weight_of_a_lora_counts_and_without_any_it_is_not_read(studio: Studio) -> None:
    studio.prepare("sd15")
    made, graph = FORMATS[0], studio.graph("sd15")
    without, name = await studio.plain("sd15"), studio.lora(FORMATS[0])
    full = await studio.pixels(with_lora(graph, made.family, name))
    half = await studio.pixels(with_lora(graph, made.family, name, 0.5))
    assert difference(without, half) > 0
    assert difference(full, half) > 0
    (studio.models / "loras" / name).write_bytes(b"\xff" * 64)
    assert difference(without, await studio.pixels(with_lora(graph, made.family, name, 0.0))) == 0


async def test_texts_of_a_lora_are_lost_where_only_the_model_is_chained(studio: Studio) -> None:
    studio.prepare("sd15")
    made = next(one for one in FORMATS if one.part == "clip")
    graph, name = studio.graph("sd15"), studio.lora(made)
    graph["20"] = node("LoraLoaderModelOnly", model=["4", 0], lora_name=name, strength_model=1.0)
    graph["3"]["inputs"]["model"] = ["20", 0]
    without, mark = await studio.plain("sd15"), log_mark(studio.server)
    assert difference(without, await studio.pixels(graph)) == 0
    assert len(lost_keys(studio.server, mark)) == len(made.shapes)


async def test_a_lora_replaced_under_its_name_is_not_noticed(studio: Studio) -> None:
    studio.prepare("sd15")
    made, graph = FORMATS[0], studio.graph("sd15")
    name = studio.lora(made)
    graph = with_lora(graph, made.family, name)
    first = await run(studio.client, graph)
    comfyui_loras.write(made, studio.models / "loras" / name, seed=2)
    again = await run(studio.client, graph)
    assert again.files == first.files


async def test_the_metadata_of_a_lora_can_be_read(studio: Studio) -> None:
    name = studio.lora(FORMATS[0])
    answer = studio.server.raw("GET", f"/view_metadata/loras?filename={name}")
    assert answer.json() == {"modelspec.title": "persona-tui test"}


async def test_a_corrupt_lora_fails_when_it_runs(studio: Studio) -> None:
    studio.prepare("sd15")
    name = studio.lora(FORMATS[0])
    (studio.models / "loras" / name).write_bytes(b"\xff" * 64)
    entry = await run(studio.client, with_lora(studio.graph("sd15"), "sd15", name))
    assert entry.status == "error"
    assert entry.message is not None
    assert "SafetensorError: Error while deserializing header: header too large" in entry.message


async def test_steps_and_previews_are_told_to_the_one_who_asked(studio: Studio) -> None:
    studio.prepare("sd15")
    me, prompt_id = new_id(), new_id()
    events = studio.client.events(me)
    assert isinstance(await anext(events), Status)
    graph, extra = studio.graph("sd15", steps=3, seed=new_seed()), {"preview_method": "latent2rgb"}
    await studio.client.submit(passed(graph), prompt_id=prompt_id, client_id=me, extra=extra)
    told = await events_until_idle(events, prompt_id)
    await events.aclose()
    steps = [(one.value, one.max, one.node) for one in told if isinstance(one, Progress)]
    assert [one for one in steps if one[2] == "3"][-3:] == [(1, 3, "3"), (2, 3, "3"), (3, 3, "3")]
    previews = [one for one in told if isinstance(one, Preview)]
    assert {(one.prompt_id, one.node) for one in previews} == {(prompt_id, "3")}
    assert len(previews) == 3
    assert Image.open(io.BytesIO(previews[0].picture)).format == "JPEG"


def new_seed() -> int:
    """A seed that no cache knows."""
    return int(new_id().replace("-", "")[:12], 16)


async def test_a_sampler_is_interrupted_between_its_steps(studio: Studio) -> None:
    studio.prepare("sd15")
    me, prompt_id = new_id(), new_id()
    events = studio.client.events(me)
    assert isinstance(await anext(events), Status)
    await studio.client.submit(
        passed(studio.graph("sd15", steps=5000, seed=new_seed())), prompt_id=prompt_id, client_id=me
    )
    async for event in events:
        if isinstance(event, Progress) and event.value >= 2:
            break
    await studio.client.interrupt(prompt_id)
    told = await events_until_idle(events, prompt_id)
    await events.aclose()
    entry = await studio.client.history(prompt_id)
    assert entry is not None
    assert (entry.status, entry.message) == (
        "interrupted",
        "The prompt was interrupted at node 3 (KSampler).",
    )
    assert not entry.files
    assert not any(isinstance(event, Progress) and event.value == 5000 for event in told)


async def test_previews_come_without_metadata_to_a_client_that_can_not_read_it(studio: Studio) -> None:
    studio.prepare("sd15")
    me = new_id()
    address = f"{studio.server.url.replace('http', 'ws', 1)}/ws?clientId={me}"
    headers = {"Authorization": f"Bearer {studio.server.token}"} if studio.server.token else {}
    async with websockets.connect(address, additional_headers=headers, proxy=None) as socket:
        graph = studio.graph("sd15", seed=new_seed())
        body = {"prompt": graph, "client_id": me, "extra_data": {"preview_method": "latent2rgb"}}
        assert studio.server.raw("POST", "/prompt", json=body).status_code == 200
        async with asyncio.timeout(120):
            while not isinstance(frame := await socket.recv(), bytes):
                pass
    assert frame[:8] == b"\x00\x00\x00\x01\x00\x00\x00\x01"
    assert Image.open(io.BytesIO(frame[8:])).format == "JPEG"


async def test_a_cached_prompt_names_files_that_are_gone(studio: Studio) -> None:
    assert studio.server.folder is not None
    graph = small_graph()
    first = await run(studio.client, graph)
    (file,) = first.files
    (studio.server.folder / "output" / file.subfolder / file.filename).unlink()
    again = await run(studio.client, graph)
    assert (again.status, again.files) == ("success", first.files)
    with pytest.raises(ServiceRefused, match="no longer has") as caught:
        await studio.client.view(file)
    assert caught.value.status == 404
