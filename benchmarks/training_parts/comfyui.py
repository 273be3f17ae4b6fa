"""A real ComfyUI, with base models cut to one block: what it does with our export and our conversions.

PERSONA_TEST_COMFYUI_START says how to start one, as for tests/support/comfyui_process.py. Base folder, port
and models are the benchmark's own; the server is ended by it. It takes 8 GB of disk for a while.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import save_file
from tests.support import comfyui_loras, comfyui_models
from tests.support.comfyui import Graph, Server, log_mark, lost_keys, new_id, node, run
from tests.support.comfyui_loras import FLUX2_FORMATS, FORMATS, PARTLY, KeyFormat
from tests.support.comfyui_process import ComfyProcess

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.gpu.training.families import FAMILIES
from persona_tui.gpu.training.naming import named_for_file
from persona_tui.services.loras.conversion import convert
from persona_tui.services.loras.importing import LoraInput, inspect_lora
from report import Figure
from training_parts.cut_bases import SEED, SIDE, TEXT_WIDTH, TOKENS, Cut, attention_of_flux2, cut

SEEN = 0.5
"""Mean difference of two pictures, in 8-bit steps, from which on a LoRA counts as seen."""
_FAMILIES = {"flux1": "flux", "qwen-image": "qwen"}
"""Of the trainer → of the server's tiny models."""
_LORA_FAMILIES = {"flux": "flux", "qwen": "qwen-image", "sd15": "sd15", "flux2": "flux2"}
_TEXT_WIDTHS = {tiny: TEXT_WIDTH[family] for family, tiny in _FAMILIES.items()}


@dataclass(frozen=True)
class Drawn:
    """What the server made of one workflow.

    Attributes:
        picture: (H, W, 3), 8-bit steps.
        latents: (C, h, w). Of FLUX.2, nothing is drawn: both hold what is added to the layers.
        lost: keys of the LoRA of which its log says that they were not loaded.
    """

    picture: Any
    latents: Any
    lost: int

    def unlike(self, other: Drawn) -> float:
        """Mean difference of the pictures in 8-bit steps."""
        return float(np.abs(self.picture - other.picture).mean())


class Studio:
    """The server and its folders."""

    def __init__(self, process: ComfyProcess, client: ComfyUIClient) -> None:
        self._folder = process.folder
        self._server = Server(process.comfyui, None, process.folder, real=True)
        self._client = client
        self.loras = process.folder / "models" / "loras"
        self.loras.mkdir(parents=True, exist_ok=True)

    def take(self, file: Path) -> str:
        """Put a LoRA into the server's folder under a name of its own; returns the name."""
        name = f"{new_id()}.safetensors"
        shutil.copy(file, self.loras / name)
        return name

    async def draw(self, family: str, lora: str | None = None, strength: float = 1.0) -> Drawn:
        """One picture of a family's cut model.

        Args:
            lora: a name in the server's folder; None leaves the loader out.
        """
        graph, prefix = _graph(family), new_id()
        if family == "flux2":
            graph["3"] = node("PersonaTestEffect", model=["4", 0], filename_prefix=prefix)
        else:
            graph["9"] = node("SaveImage", images=["8", 0], filename_prefix=prefix)
            graph["10"] = node("SaveLatent", samples=["3", 0], filename_prefix=prefix)
        if lora is not None:
            _chain(graph, family, lora, strength)
        mark = log_mark(self._server)
        entry = await run(self._client, graph)
        if entry.status != "success":
            raise SystemExit(f"ComfyUI did not draw: {entry.message}")
        (latent,) = (self._folder / "output").glob(f"{prefix}*.latent")
        latents = load_file(latent)["latent_tensor"][0]
        latents = latents.reshape(-1, *latents.shape[-2:])
        pixels = latents
        for picture in (self._folder / "output").glob(f"{prefix}*.png"):
            pixels = np.asarray(Image.open(picture).convert("RGB"), dtype=np.float32)
        return Drawn(pixels, latents, len(lost_keys(self._server, mark)))


def figures(_quick: bool) -> Iterable[Figure]:
    """Of our export first, then of every way to name a LoRA's weights."""
    with tempfile.TemporaryDirectory() as place:
        yield from asyncio.run(_measured(Path(place)))


async def _measured(place: Path) -> list[Figure]:
    # Each base is let go of before the server comes: both at once would not fit into a small machine.
    bases = [cut(family, place) for family in _FAMILIES]
    for model in (comfyui_models.FLUX2, comfyui_models.VAE_16):
        comfyui_models.put(model, place / "server" / "models")
    process = ComfyProcess(place / "server", "sd15")
    try:
        async with ComfyUIClient(process.comfyui, None, timeout=300) as client:
            studio = Studio(process, client)
            for base in bases:
                models = process.folder / "models" / "diffusion_models"
                (models / f"cut-{_FAMILIES[base.family]}.safetensors").symlink_to(base.weights)
            found = [figure for base in bases async for figure in _of_export(studio, base)]
            found += [figure async for figure in _of_fused_names(studio, place)]
            return found + [figure async for figure in _of_formats(studio, place)]
    finally:
        process.stop()


async def _of_export(studio: Studio, base: Cut) -> AsyncIterator[Figure]:
    """The exported file at strength 1 and 0, beside no LoRA and beside diffusers."""
    family = _FAMILIES[base.family]
    plain, name = await studio.draw(family), studio.take(base.lora)
    full, none = await studio.draw(family, name), await studio.draw(family, name, 0.0)
    yield Figure(f"{base.family}: keys of our export not loaded", full.lost + none.lost, "keys", "==", 0)
    yield Figure(f"{base.family}: picture at strength 1", full.unlike(plain), "of 255", ">", SEEN)
    yield Figure(f"{base.family}: picture at strength 0", none.unlike(plain), "of 255", "==", 0)
    yield Figure(
        f"{base.family}: effect's deviation from diffusers'",
        _deviation(base, plain, full),
        "of it",
        "<=",
        1e-3,
    )


async def _of_fused_names(studio: Studio, place: Path) -> AsyncIterator[Figure]:
    """FLUX.2's attention as we export it, in its makers' names, beside diffusers' names of the same weights.

    ComfyUI 0.8.0 has FLUX.2-dev alone, which is not trained here; klein's layers have the same names.
    """
    weights, plain = attention_of_flux2(), await studio.draw("flux2")
    drawn = []
    for prefix in (FAMILIES["flux2-klein-4b"].lora_prefix, "transformer."):
        file = place / f"{prefix}safetensors"
        save_file(named_for_file(weights, prefix), file)
        drawn.append(await studio.draw("flux2", studio.take(file)))
    fused, split = drawn
    apart = np.linalg.norm(fused.latents - split.latents) / np.linalg.norm(split.latents - plain.latents)
    yield Figure("flux2: keys in our names not loaded", fused.lost, "keys", "==", 0)
    yield Figure("flux2: effect's deviation from that in diffusers' names", float(apart), "of it", "<=", 1e-3)


def _deviation(base: Cut, plain: Drawn, full: Drawn) -> float:
    """How far the LoRA's effect on the latents is from the one in diffusers, as a share of it.

    ComfyUI keeps latents on a scale of its own, channel by channel; the pictures without the LoRA tell it.
    """
    apart = effect = 0.0
    for ours, changed, theirs, theirs_changed in zip(
        base.plain.numpy(), base.changed.numpy(), plain.latents, full.latents, strict=True
    ):
        scale, shift = np.polyfit(ours.ravel(), theirs.ravel(), 1)
        apart += float(((scale * changed + shift - theirs_changed) ** 2).sum())
        effect += float(((theirs_changed - theirs) ** 2).sum())
    return float((apart / effect) ** 0.5)


@dataclass(frozen=True)
class Judged:
    """A file of random weights under one naming: what we say of it, and what the server does with it.

    Attributes:
        loads: our judgement; a file that is to be converted does not load as it is.
        drawn: with the file as it is.
        converted: with the file that we write anew; None where we write none.
    """

    made: KeyFormat
    loads: bool
    plain: Drawn
    drawn: Drawn
    converted: Drawn | None

    @property
    def agrees(self) -> bool:
        """Whether the server loads all of it, and shows it, exactly where we say so."""
        return self.loads is (self.drawn.lost == 0 and self.drawn.unlike(self.plain) > SEEN)

    @property
    def used(self) -> Drawn | None:
        """With the file that is kept by us; None where it would do nothing."""
        return self.drawn if self.loads else self.converted

    def __str__(self) -> str:
        said = "loads" if self.loads else "to be converted" if self.converted else "ignored"
        parts = [(self.drawn, "as it is"), (self.converted, "converted")]
        told = [
            f"{name} {one.lost} keys lost, changed by {one.unlike(self.plain):.2f}"
            for one, name in parts
            if one
        ]
        return f"{self.made}: {said}; {'; '.join(told)}{'' if self.agrees else '; MISJUDGED'}"


async def _judged(studio: Studio, made: KeyFormat, plain: Drawn, file: Path) -> Judged:
    comfyui_loras.write(made, file)
    facts = inspect_lora(file, LoraInput(family=_LORA_FAMILIES[made.family]))
    drawn, converted = await studio.draw(made.family, studio.take(file)), None
    if facts.conversion is not None:
        written = convert(file, file.parent, facts.conversion).path
        converted = await studio.draw(made.family, studio.take(written))
    loads = facts.conversion is None and not facts.key_warnings
    return Judged(made, loads, plain, drawn, converted)


async def _of_formats(studio: Studio, place: Path) -> AsyncIterator[Figure]:
    """What we say of a file's names beside what the server does; and our conversions, drawn."""
    plain = {family: await studio.draw(family) for family in _LORA_FAMILIES}
    found = []
    for number, made in enumerate((*FORMATS, *PARTLY, *FLUX2_FORMATS)):
        found.append(
            await _judged(studio, made, plain[made.family], place / "formats" / f"{number}.safetensors")
        )
        print(f"  {found[-1]}", flush=True)
    wrong = sum(not one.agrees for one in found)
    yield Figure(f"formats that we judge otherwise, of {len(found)}", wrong, "formats", "==", 0)
    converted = [one.converted for one in found if one.converted]
    lost = sum(one.lost for one in converted)
    yield Figure(f"keys not loaded of {len(converted)} converted files", lost, "keys", "==", 0)
    yield Figure("files that draw otherwise than under other names", _unlike(found), "files", "==", 0)


def _unlike(found: list[Judged]) -> int:
    """Files that should do what another one of the same weights does, and don't; or do nothing."""
    first: dict[Any, Drawn] = {}
    count = 0
    for one in found:
        if one.used is not None:
            made = one.made
            kind = (made.family, made.part, made.layers, made.endings == "lokr", bool(made.third))
            same = first.setdefault(kind, one.used)
            count += same.unlike(one.used) > 0 or one.used.unlike(one.plain) <= SEEN
    return count


def _graph(family: str) -> Graph:
    """Node 4 gives the model, 6 and 7 the texts, 3 samples, 8 decodes."""
    if family == "flux2":
        name = comfyui_models.FLUX2.name
        return {"4": node("UNETLoader", unet_name=name, weight_dtype="fp8_e4m3fn")}
    sampled = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
    graph = {
        "3": node(
            "KSampler", **sampled, seed=SEED, steps=1, cfg=1.0, sampler_name="euler", scheduler="simple",
            denoise=1.0,
        ),
        "5": node("EmptySD3LatentImage", width=SIDE, height=SIDE, batch_size=1),
    }  # fmt: skip
    if family == "sd15":
        texts = {"6": "a celadon vase in morning light", "7": "blurry"}
        graph |= {n: node("CLIPTextEncode", text=text, clip=["4", 1]) for n, text in texts.items()}
        graph["4"] = node("CheckpointLoaderSimple", ckpt_name=comfyui_models.CHECKPOINT.name)
        graph["5"] = node("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=1)
        graph["8"] = node("VAEDecode", samples=["3", 0], vae=["4", 2])
        return graph
    texts = node("PersonaTestConditioning", width=_TEXT_WIDTHS[family], tokens=TOKENS, seed=SEED)
    graph |= {"6": texts, "7": texts}
    graph["4"] = node("UNETLoader", unet_name=f"cut-{family}.safetensors", weight_dtype="default")
    graph["8"] = node("VAEDecode", samples=["3", 0], vae=["12", 0])
    graph["12"] = node("VAELoader", vae_name=comfyui_models.VAE_16.name)
    return graph


def _chain(graph: Graph, family: str, name: str, strength: float) -> None:
    """Put a LoRA behind the loader: before both halves of a checkpoint, else before the model alone."""
    graph["3"]["inputs"]["model"] = ["20", 0]
    told = {"model": ["4", 0], "lora_name": name, "strength_model": strength}
    if family != "sd15":
        graph["20"] = node("LoraLoaderModelOnly", **told)
        return
    graph["20"] = node("LoraLoader", **told, clip=["4", 1], strength_clip=strength)
    for text in ("6", "7"):
        graph[text]["inputs"]["clip"] = ["20", 1]
