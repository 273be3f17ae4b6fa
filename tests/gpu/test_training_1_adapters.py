"""Item 1 of the trainer: what an adapter hands to a transformer is what diffusers' pipeline hands it (M1).

torch is imported by the tests themselves: each process of a run collects this file, few run it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from persona_tui.errors import PersonaError
from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.families import FAMILIES
from persona_tui.services.loras.families import family_named, family_of
from tests.support.tiny_pipelines import small_edits, tiny_pipeline

if TYPE_CHECKING:
    from torch import Tensor

    from tests.support.tiny_bases import Base

# Both sizes of FLUX.2 klein are one adapter.
TRAINABLE = [name for name, family in FAMILIES.items() if not family.cannot and name != "flux2-klein-9b"]


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with small_edits():
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=TRAINABLE)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    """Each family in turn."""
    from tests.support.tiny_bases import Base

    made = Base.load(request.param, tiny_pipeline(request.param, tmp_path_factory.mktemp("bases")))
    yield made
    made.encoders.close()


def test_training_1_what_is_handed_over_and_what_comes_of_it_are_equal(base: Base) -> None:
    import torch

    from tests.support.tiny_bases import GUIDANCE, same

    noisy = base.latents(3)
    steps: list[dict[str, Any]] = []
    drawn = base.draw(noisy, seen=steps.append, num_inference_steps=2)
    sigmas = base.pipeline.scheduler.sigmas
    assert len(steps) == 2
    for theirs, now, after in zip(steps, sigmas[:-1], sigmas[1:], strict=True):
        ours = base.adapter.inputs(noisy, now.reshape(1), [base.prompt()], [base.control], GUIDANCE)
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert same(ours[name], value), f"{name} at {now}: {ours[name]} where {value} is handed over"
        with torch.no_grad():
            velocity = base.adapter.velocity(base.pipeline.transformer(**ours), noisy)
        noisy = noisy + (after - now) * velocity
    ours_drawn = base.adapter.decode_picture(base.encoders, noisy[0]) / 2 + 0.5
    torch.testing.assert_close(ours_drawn, drawn, rtol=0, atol=1e-6)


@pytest.mark.long(but=["flux1", "qwen-edit-2509"])
def test_training_1_the_true_velocity_costs_nothing_and_leads_home(base: Base) -> None:
    import torch

    from tests.support.tiny_bases import GUIDANCE

    x0 = base.adapter.encode_picture(base.encoders, torch.rand(3, *base.size) * 2 - 1).unsqueeze(0)
    noise, sigma = base.latents(4), torch.tensor([0.7])
    noisy = (1 - sigma) * x0 + sigma * noise
    given = [sigma, [base.prompt()], [base.control], GUIDANCE]
    # An oracle answers in the shape of the tokens it was asked about, sources and all.
    asked = base.adapter.inputs(noisy, *given)["hidden_states"]  # type: ignore[arg-type]
    answer = base.adapter.inputs(noise - x0, *given)["hidden_states"]  # type: ignore[arg-type]
    assert answer.shape == asked.shape  # type: ignore[attr-defined]
    velocity = base.adapter.velocity((answer,), noisy)
    assert torch.equal(velocity, noise - x0)
    torch.testing.assert_close(noisy - sigma * velocity, x0, rtol=0, atol=1e-6)


class _Scheduled(Exception):
    """The noise levels are set; no picture of that size is wanted."""


@pytest.mark.long(but=["*flux1*", "*qwen-edit-2509*"])
@pytest.mark.parametrize("side", [512, 768, 1024])
def test_training_1_noise_levels_are_shifted_as_the_pipeline_shifts_them(
    base: Base, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    scheduler = base.pipeline.scheduler
    set_timesteps = scheduler.set_timesteps

    @wraps(set_timesteps)
    def and_stop(*args: Any, **kwargs: Any) -> None:
        set_timesteps(*args, **kwargs)
        raise _Scheduled

    monkeypatch.setattr(scheduler, "set_timesteps", and_stop)
    # As many latents as the real autoencoder makes of a square picture.
    grid = (side // base.shrinks, side // base.shrinks)
    # FLUX.2's shift depends on the number of steps, which training takes to be the usual one.
    steps = 50 if base.adapter.family.startswith("flux2") else 1000
    plain = torch.linspace(1, 1 / steps, steps)
    latents = torch.zeros(1, base.latents(0).shape[1], *grid)
    with pytest.raises(_Scheduled):
        base.draw(latents, num_inference_steps=steps, sigmas=plain.tolist())
    torch.testing.assert_close(base.adapter.shift(plain, grid), scheduler.sigmas[:-1], rtol=0, atol=1e-6)


@pytest.mark.long(but=["flux1", "qwen-edit-2509"])
def test_training_1_a_batch_is_its_samples(base: Base) -> None:
    import torch

    from tests.support.tiny_bases import CAPTION, GUIDANCE

    transformer = base.pipeline.transformer
    noisy = torch.cat([base.latents(5), base.latents(6)])
    sigmas = torch.tensor([0.3, 0.9])
    prompts = [base.prompt(), base.prompt("a caption of another length")]
    if base.adapter.family == "qwen-image-2.1":
        with pytest.raises(PersonaError, match="captions of one length"):
            base.adapter.inputs(noisy, sigmas, prompts, [[], []], GUIDANCE)
        prompts[1] = base.prompt(CAPTION[::-1])
    with torch.no_grad():
        together = base.adapter.inputs(noisy, sigmas, prompts, [base.control] * 2, GUIDANCE)
        both = base.adapter.velocity(transformer(**together), noisy)
        for one in (slice(0, 1), slice(1, 2)):
            alone = base.adapter.inputs(noisy[one], sigmas[one], prompts[one], [base.control], GUIDANCE)
            velocity = base.adapter.velocity(transformer(**alone), noisy[one])
            torch.testing.assert_close(both[one], velocity, rtol=1e-4, atol=1e-5)


@pytest.mark.long(but=["flux1", "qwen-edit-2509"])
def test_training_1_pictures_are_drawn_with_sources_as_large_as_in_training(base: Base) -> None:
    import torch

    large = [torch.zeros(3, 96, 96) for _ in base.sources]
    control = [base.adapter.encode_picture(base.encoders, picture) for picture in large]
    tokens: list[int] = []
    hook = base.pipeline.transformer.register_forward_pre_hook(
        lambda _module, _args, kwargs: tokens.append(kwargs["hidden_states"].shape[1]), with_kwargs=True
    )
    drawn = base.adapter.draw(
        base.pipeline, "a", size=base.size, steps=2, seed=1, guidance=1.0, pictures=large
    )
    hook.remove()
    assert drawn.shape == (3, *base.size)
    noisy = base.latents(0)
    ours = base.adapter.inputs(noisy, torch.ones(1), [base.prompt()], [control], 1.0)["hidden_states"]
    assert tokens == [ours.shape[1]] * 2  # type: ignore[attr-defined]


@pytest.mark.long(but=["flux1", "flux2-klein-4b", "qwen-edit-2509"])
def test_training_7_samples_are_what_the_pipeline_draws(base: Base, tmp_path: Path) -> None:
    import torch

    from persona_tui.gpu.training.cache import Cache, Sample
    from persona_tui.gpu.training.objective import Objective, drawn
    from persona_tui.gpu.training.randomness import generator
    from tests.support.tiny_bases import CAPTION
    from tests.support.training import small_recipe

    family = base.adapter.family
    cache = Cache(tmp_path)
    for name, words in (("words", CAPTION), ("none", "")):
        cache.put(name, base.prompt(words))
    cache.put("latents", {"latents": base.latents(0)[0]})
    for number, latents in enumerate(base.control):
        cache.put(f"source{number}", {"latents": latents})
    sample = Sample(
        picture="p", file="p.png", role="train", angle="", bucket=base.size[::-1], latents="latents",
        prompt="words", empty="none", control=tuple(f"source{n}" for n in range(len(base.control))),
    )  # fmt: skip
    recipe = small_recipe(base.folder, tmp_path, "0" * 64, family=family)
    objective = Objective(recipe, base.adapter, base.pipeline.transformer, cache)
    ours, plain = (
        drawn(objective, sample, "words", steps=3, seed=7, guided=guided) for guided in (True, False)
    )
    noise = torch.randn(ours.shape, generator=generator(7, 0, "drawn")).unsqueeze(0)
    call = base.adapter.call(base.pipeline, CAPTION, base.size, None, base.sources)
    call |= {"negative_prompt": ""} if "negative_prompt" in call else {}
    theirs = base.pipeline(
        **call, latents=base.packed(noise), num_inference_steps=3, output_type="pt"
    ).images[0][:3]
    shown = base.adapter.decode_picture(base.encoders, ours) / 2 + 0.5
    torch.testing.assert_close(shown, theirs, rtol=0, atol=1e-5)
    assert (ours - plain).abs().max() > 1e-3


@pytest.mark.long(but=["flux1", "qwen-image-2.1"])
def test_training_1_the_autoencoder_loads_alone(base: Base) -> None:
    import torch

    alone = base.adapter.load_encoders(base.folder, dtype=torch.float32, device="cpu", text=False)
    picture = torch.rand(3, *base.size) * 2 - 1
    latents = base.adapter.encode_picture(alone, picture)
    assert torch.equal(latents, base.adapter.encode_picture(base.encoders, picture))
    assert alone.pipeline.text_encoder is None
    alone.close()
    assert alone.pipeline.vae is None


@pytest.mark.long(but=["flux1", "qwen-edit-2509"])
def test_training_1_a_lora_of_it_is_known_for_what_it_is(base: Base) -> None:
    layers = {
        name: base.pipeline.transformer.get_submodule(name)
        for name in base.adapter.targets(base.pipeline.transformer, "mlp")
    }
    down = {f"transformer.{name}.lora_A.weight": (4, layer.in_features) for name, layer in layers.items()}
    up = {f"transformer.{name}.lora_B.weight": (layer.out_features, 4) for name, layer in layers.items()}
    assert family_of(down | up, {}) == FAMILIES[base.adapter.family].lora_family


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of FLUX.1 that is whole."""
    return tiny_pipeline("flux1", tmp_path_factory.mktemp("whole"))


@pytest.mark.long(but=["*nf4*"])
@pytest.mark.parametrize("quantisation", ["int8", "nf4"])
def test_training_1_quantised_layers_compute_and_learn_with_the_weights_they_hold(
    flux: Path, quantisation: Literal["int8", "nf4"]
) -> None:
    import bitsandbytes
    import peft
    import torch

    from tests.support.tiny_bases import GUIDANCE

    adapter = adapter_of("flux1")
    load = partial(adapter.load_transformer, flux, dtype=torch.float32, device="cpu")
    held, plain = load(quantisation=quantisation), load()
    rounded = 0
    with torch.no_grad():
        for name in adapter.targets(plain, "all"):
            weight, layer = held.get_submodule(name).weight, plain.get_submodule(name)
            whole = (
                bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
                if quantisation == "nf4"
                else weight.CB * weight.SCB[:, None] / 127
            )
            rounded += not torch.equal(layer.weight, whole)
            layer.weight.copy_(whole)
    assert rounded == len(adapter.targets(plain, "all")) == 20
    torch.manual_seed(2)
    noisy, goal = torch.randn(2, 1, 1, 16, 16)
    prompt = {"embeds": torch.randn(32, 32), "pooled": torch.randn(32)}
    inputs = adapter.inputs(noisy, torch.tensor([0.6]), [prompt], [[]], GUIDANCE)
    grown = []
    for transformer in (held, plain):
        lora = peft.LoraConfig(r=64, lora_alpha=64, target_modules=adapter.targets(transformer, "mlp"))
        torch.manual_seed(2)
        transformer.add_adapter(lora)
        assert all(p.requires_grad == ("lora_" in name) for name, p in transformer.named_parameters())
        trained = [p for p in transformer.parameters() if p.requires_grad]
        optimizer = bitsandbytes.optim.AdamW8bit(trained, lr=1e-2)
        losses = []
        for _ in range(5):
            loss = (adapter.velocity(transformer(**inputs), noisy) - goal).square().mean()
            loss.backward()
            losses.append(loss.item())
            optimizer.step()
            optimizer.zero_grad()
        assert {state["state1"].dtype for state in optimizer.state.values()} == {torch.uint8}
        grown.append(losses)
    assert grown[0] == pytest.approx(grown[1], rel=1e-3)
    assert grown[0][-1] < grown[0][0] * 0.8


def test_training_1_without_bitsandbytes_there_is_a_way_out(
    flux: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(PersonaError, match="bitsandbytes, which is not installed") as caught:
        adapter_of("flux1").load_transformer(flux, dtype=torch.float32, device="cpu", quantisation="nf4")
    assert "pip install" in caught.value.hint


def _rewrite(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _resave(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (shutil.rmtree, "There is no folder"),
    "empty": (lambda f: (f / "model_index.json").unlink(), "has no model_index.json"),
    "another": (
        lambda f: _rewrite(f / "model_index.json", _class_name="FluxKontextPipeline"),
        "not FLUX.1-dev",
    ),
    "schnell": (
        lambda f: _rewrite(f / "transformer/config.json", guidance_embeds=False),
        "is not FLUX.1-dev",
    ),
    "no-tokenizer": (lambda f: shutil.rmtree(f / "tokenizer_2"), "lacks its tokenizer_2"),
    "no-encoder": (lambda f: shutil.rmtree(f / "text_encoder"), "lacks its text_encoder"),
    "no-weights": (lambda f: (f / WEIGHTS).unlink(), "holds no weights"),
    "pickle": (lambda f: (f / WEIGHTS).rename(f / "transformer/model.bin"), "can run code"),
    "pointer": (
        lambda f: (f / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\n"),
        "pointer",
    ),
    "gated": (
        lambda f: (f / WEIGHTS).write_text("Access to this model is restricted."),
        "damaged or cut off",
    ),
    "cut-off": (lambda f: _cut(f / WEIGHTS), "damaged or cut off"),
    "cut-off-encoder": (lambda f: _cut(f / "text_encoder_2/model.safetensors"), "damaged or cut off"),
    "shard": (
        lambda f: (f / f"{WEIGHTS}.index.json").write_text('{"weight_map": {"a": "2.safetensors"}}'),
        "2.safetensors is missing",
    ),
    "list": (lambda f: (f / f"{WEIGHTS}.index.json").write_text("{}"), "The list of"),
    "layer-short": (lambda f: _resave(f / WEIGHTS, lambda t: t.pop("proj_out.bias")), "are missing"),
    "layer-more": (
        lambda f: _resave(f / WEIGHTS, lambda t: t.update(x=t["proj_out.bias"][:1].clone())),
        "is no weight of",
    ),
    "layer-wide": (
        lambda f: _resave(f / WEIGHTS, lambda t: t.update({"proj_out.bias": t["proj_out.bias"][:3].clone()})),
        "in the file, not",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_training_1_a_base_that_is_not_whole_is_told_in_a_sentence(
    flux: Path, tmp_path: Path, name: str
) -> None:
    import torch

    damage, words = DAMAGES[name]
    folder = shutil.copytree(flux, tmp_path / "base")
    damage(folder)
    with pytest.raises(PersonaError, match=words) as caught:
        adapter_of("flux1").load_transformer(folder, dtype=torch.float32, device="cpu")
    assert caught.value.message.endswith((".", ").")) and caught.value.hint.endswith(".")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("family", "says"),
    [
        ("flux2-klein-4b", {"joint_attention_dim": 12288}),
        ("flux2-klein-9b", {"joint_attention_dim": 7680}),
        ("qwen-edit-2509", {"zero_cond_t": True}),
        ("qwen-edit-2511", {}),
    ],
)
def test_training_1_a_model_is_not_taken_for_its_sibling(
    tmp_path: Path, family: str, says: dict[str, object]
) -> None:
    import torch

    facts = FAMILIES[family]
    (tmp_path / "transformer").mkdir()
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": facts.pipeline}))
    (tmp_path / "transformer" / "config.json").write_text(json.dumps(says))
    with pytest.raises(PersonaError, match=f"is not {facts.title}"):
        adapter_of(family).load_transformer(tmp_path, dtype=torch.float32, device="cpu")


def test_training_1_facts_of_the_families_fit_what_the_rest_knows() -> None:
    for family in FAMILIES.values():
        assert family.licence.url.startswith("https://")
        assert family.cannot or family_named(family.base_model_version) == family.lora_family
    restricted = {name for name, family in FAMILIES.items() if not family.licence.commercial}
    assert restricted == {"flux1", "kontext", "flux2-klein-9b", "flux3", "qwen-image-2.1"}
    with pytest.raises(PersonaError, match="There is no base model sd15"):
        adapter_of("sd15")
    with pytest.raises(PersonaError, match=r"FLUX\.3 can't be trained here"):
        adapter_of("flux3")
