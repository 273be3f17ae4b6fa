"""Item 1 of the trainer: what an adapter hands to a transformer is what diffusers' pipeline hands it (M1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.adapters.base import Adapter, Encoders, Prompt
from persona_tui.gpu.training.families import FAMILIES
from tests.support.tiny_pipelines import small_edits, tiny_pipeline

# Both sizes of FLUX.2 klein are one adapter.
TRAINABLE = [name for name, family in FAMILIES.items() if not family.cannot and name != "flux2-klein-9b"]
CAPTION = "photo of ohwx person, smiling"
GUIDANCE = 1.0


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def _small_edits() -> Iterator[None]:
    with small_edits():
        yield


@dataclass
class Base:
    """A tiny base model, loaded as training and as sampling load it."""

    folder: Path
    adapter: Adapter
    encoders: Encoders
    pipeline: Any


@pytest.fixture(scope="module", params=TRAINABLE)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    """Each family in turn."""
    folder = tiny_pipeline(request.param, tmp_path_factory.mktemp("bases"))
    adapter = adapter_of(request.param)
    encoders = adapter.load_encoders(folder, dtype=torch.float32, device="cpu")
    yield Base(folder, adapter, encoders, adapter.pipeline(folder))
    encoders.close()


def pictures(base: Base) -> list[Tensor]:
    """Up to two source pictures, as the family takes them, each another one."""
    number = min(2, FAMILIES[base.adapter.family].control_pictures)
    drawn = np.random.default_rng(5).integers(0, 256, (number, 64, 64, 3)).astype(np.float32)
    # Scaled as the pipeline does it, to the last digit.
    return [2 * torch.from_numpy(picture / 255.0).permute(2, 0, 1) - 1 for picture in drawn]


def latents_like(base: Base) -> Tensor:
    """Noise of the shape that a picture of 32 by 48 has."""
    drawn = base.adapter.encode_picture(base.encoders, torch.zeros(3, 32, 48))
    return torch.randn(drawn.shape, generator=torch.Generator().manual_seed(3))


def prompt_of(base: Base, sources: list[Tensor]) -> Prompt:
    """The caption as training caches it."""
    return base.adapter.encode_prompt(base.encoders, CAPTION, sources)


def handed_by_pipeline(base: Base, latents: Tensor, sources: list[Tensor]) -> list[dict[str, Any]]:
    """What diffusers' pipeline hands its transformer in two steps, with these latents to start from."""
    seen: list[dict[str, Any]] = []
    hook = base.pipeline.transformer.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(dict(kwargs)), with_kwargs=True
    )
    given = base.adapter.call(base.pipeline, CAPTION, (32, 48), GUIDANCE, sources)
    base.pipeline(**given, num_inference_steps=2, latents=packed_for(base, latents), output_type="latent")
    hook.remove()
    return seen


def takes_patches(base: Base) -> bool:
    """Whether latents of the family are patches of two by two already."""
    return base.adapter.family.startswith("flux2")


def packed_for(base: Base, latents: Tensor) -> Tensor:
    """Latents as that pipeline's call takes them: FLUX.2's makes tokens of them itself."""
    batch = latents.unsqueeze(0)
    if takes_patches(base):
        return batch
    return base.pipeline._pack_latents(batch, 1, *latents.shape)


def grid_of(base: Base, side: int) -> tuple[int, int]:
    """Height and width of the latents that the real autoencoder makes of a square picture."""
    return (side // 16, side // 16) if takes_patches(base) else (side // 8, side // 8)


def pixels_of(base: Base, side: int) -> tuple[int, int]:
    """The picture for which the tiny autoencoder, which shrinks less, has as many latents."""
    return side // 8 * base.pipeline.vae_scale_factor, side // 8 * base.pipeline.vae_scale_factor


def test_training_1_what_is_handed_over_is_equal(base: Base) -> None:
    sources = pictures(base)
    noisy = latents_like(base).unsqueeze(0)
    steps = handed_by_pipeline(base, noisy[0], sources)
    control = [base.adapter.encode_picture(base.encoders, picture) for picture in sources]
    for sigma, theirs in zip(base.pipeline.scheduler.sigmas, steps, strict=False):
        ours = base.adapter.inputs(noisy, sigma.reshape(1), [prompt_of(base, sources)], [control], GUIDANCE)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert same(ours[name], value), f"{name} at {sigma}: {ours[name]} where {value} is handed over"
        with torch.no_grad():
            velocity = base.adapter.velocity(base.pipeline.transformer(**ours), noisy)
        noisy = noisy + (base.pipeline.scheduler.sigmas[1] - sigma) * velocity
    assert len(steps) == 2


def same(ours: object, theirs: object) -> bool:
    """Whether two arguments are equal; tensors to the last digit, in type and shape too."""
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
    return not isinstance(theirs, Tensor) and ours == theirs


def test_training_1_the_true_velocity_costs_nothing_and_leads_home(base: Base) -> None:
    x0 = base.adapter.encode_picture(base.encoders, torch.rand(3, 32, 48) * 2 - 1).unsqueeze(0)
    noise = torch.randn_like(x0)
    sigma = torch.tensor([0.7])
    noisy = (1 - sigma) * x0 + sigma * noise
    sources = pictures(base)
    control = [base.adapter.encode_picture(base.encoders, picture) for picture in sources]
    inputs = base.adapter.inputs(noisy, sigma, [prompt_of(base, sources)], [control], GUIDANCE)
    # An oracle answers in the shape of the tokens it was asked about, sources and all.
    tokens = base.adapter.inputs(noise - x0, sigma, [prompt_of(base, sources)], [control], GUIDANCE)
    answer = tokens["hidden_states"]
    assert isinstance(answer, Tensor)
    assert answer.shape == inputs["hidden_states"].shape  # type: ignore[attr-defined]
    velocity = base.adapter.velocity((answer,), noisy)
    assert torch.equal(velocity, noise - x0)
    torch.testing.assert_close(noisy - sigma * velocity, x0, rtol=0, atol=1e-6)


class _Scheduled(Exception):
    """The noise levels are set; no picture of that size is wanted."""


@pytest.mark.parametrize("side", [512, 768, 1024])
def test_training_1_noise_levels_are_shifted_as_the_pipeline_shifts_them(
    base: Base, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = base.pipeline.scheduler
    set_timesteps = scheduler.set_timesteps

    @wraps(set_timesteps)
    def and_stop(*args: Any, **kwargs: Any) -> None:
        set_timesteps(*args, **kwargs)
        raise _Scheduled

    monkeypatch.setattr(scheduler, "set_timesteps", and_stop)
    latents = torch.zeros(latents_like(base).shape[0], *grid_of(base, side))
    # FLUX.2's shift depends on the number of steps, which training takes to be the usual one.
    steps = 50 if takes_patches(base) else 1000
    plain = torch.linspace(1, 1 / steps, steps)
    given = base.adapter.call(base.pipeline, CAPTION, pixels_of(base, side), GUIDANCE, pictures(base))
    with pytest.raises(_Scheduled):
        base.pipeline(
            **given, num_inference_steps=steps, sigmas=plain.tolist(), latents=packed_for(base, latents)
        )
    shifted = base.adapter.shift(plain, grid_of(base, side))
    torch.testing.assert_close(shifted, scheduler.sigmas[:-1], rtol=0, atol=1e-6)


def test_training_1_a_batch_is_its_samples(base: Base) -> None:
    transformer = base.pipeline.transformer
    noisy = torch.stack([latents_like(base), latents_like(base) + 1])
    sigmas = torch.tensor([0.3, 0.9])
    sources = pictures(base)
    control = [base.adapter.encode_picture(base.encoders, picture) for picture in sources]
    prompts = [
        base.adapter.encode_prompt(base.encoders, words, sources)
        for words in (CAPTION, "a much longer caption")
    ]
    with torch.no_grad():
        together = base.adapter.inputs(noisy, sigmas, prompts, [control, control], GUIDANCE)
        both = base.adapter.velocity(transformer(**together), noisy)
        for number in range(2):
            one = slice(number, number + 1)
            alone = base.adapter.inputs(noisy[one], sigmas[one], prompts[one], [control], GUIDANCE)
            velocity = base.adapter.velocity(transformer(**alone), noisy[one])
            torch.testing.assert_close(both[one], velocity, rtol=1e-4, atol=1e-5)
