"""What a step learns from, and what it leaves alone."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.faces import Face
from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.cache import Cache
from persona_tui.gpu.training.cards import Cards
from persona_tui.gpu.training.checkpoints import State
from persona_tui.gpu.training.ema import Average
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.loop import Training
from persona_tui.gpu.training.lora import Half, add_lora
from persona_tui.gpu.training.masks import mask_of, weighted_mean
from persona_tui.gpu.training.objective import Draw
from persona_tui.gpu.training.run_file import Phase
from persona_tui.gpu.training.swapping import block_names
from persona_tui.gpu.training.trainee import Trainee
from persona_tui.gpu.training.worker import Worker
from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import pictures, small_recipe, small_run, write_dataset
from tests.support.training_stages import carried_out


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Six pictures, with what class preservation needs."""
    place = tmp_path_factory.mktemp("steps")
    sha256 = write_dataset(place / "set", pictures(6))
    base = tiny_pipeline("flux1", place)
    recipe = small_recipe(base, place / "set", sha256, preservation=1.0, class_prompt="person", ema=0.9)
    folder = small_run(place / "run", recipe)
    assert carried_out("encode", folder).code == 0
    return folder


def trainee_of(folder: RunFolder, **changed: Any) -> Trainee:
    run = folder.run()
    cache = Cache(folder.cache)
    return Trainee(run.model_copy(update=changed), cache.index(run), cache)


def losses(trainee: Trainee, step: int = 1) -> dict[str, float]:
    batch = trainee.batches(step)[0]
    return {part.name: float(part.value.detach()) for part in trainee.objective.parts(batch, Draw(step))}


def test_training_5_preservation_weighs_what_the_class_has_changed(encoded: RunFolder) -> None:
    trainee = trainee_of(encoded)
    assert losses(trainee)["preservation"] == 0
    with torch.no_grad():
        for name, weight in trainee.weights.items():
            weight += 0.01 if "lora_B" in name else 0
    moved = losses(trainee)["preservation"]
    assert moved > 0
    assert losses(trainee_of(encoded, preservation=0.0)).keys() == {"loss"}
    taken = trainee.take(1, State())
    assert taken is not None
    assert taken.preservation == pytest.approx(moved)
    assert taken.loss == pytest.approx(losses(trainee_of(encoded))["loss"], rel=0.2)


def test_training_5_a_dropped_caption_is_the_empty_one(encoded: RunFolder) -> None:
    always = losses(trainee_of(encoded, caption_dropout=1 - 1e-9))
    never = trainee_of(encoded, caption_dropout=0.0)
    empty = [sample.model_copy(update={"prompt": sample.empty}) for sample in never.batches(1)[0]]
    parts = {part.name: float(part.value.detach()) for part in never.objective.parts(empty, Draw(1))}
    assert parts["loss"] == always["loss"] != losses(never)["loss"]


def test_training_5_a_phase_shows_its_pictures_and_changes_no_step_before_it(encoded: RunFolder) -> None:
    head, rest = Phase(name="head", first_step=1, angles=("front",)), Phase(name="all", first_step=4)
    phases = encoded.run().model_copy(update={"phases": (head, rest)})
    shorter = phases.model_copy(update={"phases": (head,)})
    cache = Cache(encoded.cache)
    both, first = (Trainee(run, cache.index(run), cache) for run in (phases, shorter))
    assert {sample.angle for step in (1, 2, 3) for sample in both.batches(step)[0]} == {"front"}
    assert {sample.angle for step in range(4, 12) for sample in both.batches(step)[0]} == {"front", "profile"}
    assert [both.batches(step) for step in (1, 2, 3)] == [first.batches(step) for step in (1, 2, 3)]
    with pytest.raises(InvalidRequest, match="no picture: none is of behind"):
        none = head.model_copy(update={"angles": ("behind",)})
        Trainee(phases.model_copy(update={"phases": (none,)}), cache.index(phases), cache)


def test_training_5_edits_with_one_and_with_two_sources_come_in_batches_of_their_own(tmp_path: Path) -> None:
    shown = pictures(6)
    sources = {f"p{number}": {"control": shown[: 1 + number % 2]} for number in range(6)}
    sha256 = write_dataset(tmp_path / "set", shown, **sources)
    base = tiny_pipeline("qwen-edit-2509", tmp_path)
    recipe = small_recipe(base, tmp_path / "set", sha256, family="qwen-edit-2509", batch=2)
    folder = small_run(tmp_path / "run", recipe)
    assert carried_out("encode", folder).code == 0
    trainee = trainee_of(folder)
    counts = {tuple(len(one.control) for one in trainee.batches(step)[0]) for step in range(1, 13)}
    assert counts == {(1, 1), (2, 2)}
    for step in (1, 2, 3):
        assert trainee.take(step, State()) is not None


def test_training_5_held_out_pictures_are_never_learnt_from(encoded: RunFolder) -> None:
    trainee = trainee_of(encoded)
    seen = {sample.file for step in range(1, 30) for sample in trainee.batches(step)[0]}
    assert seen == {"000.png", "001.png", "002.png", "004.png", "005.png"}


def test_training_5_the_face_weighs_more_and_the_loss_stays_as_large() -> None:
    face = Face(left=0.25, top=0.25, width=0.25, height_share=0.25, height=60, score=1.0)
    mask = mask_of(face, (16, 16), 0.3)
    assert mask[6, 6] == 1 and mask[15, 15] == mask[0, 0] == torch.tensor(0.3)
    even = torch.full((2, 4, 16, 16), 0.5)
    assert float(weighted_mean(even, [mask, None])) == pytest.approx(0.5)
    wrong_in_face, wrong_outside = torch.zeros(1, 4, 16, 16), torch.zeros(1, 4, 16, 16)
    wrong_in_face[..., 6, 6] = wrong_outside[..., 15, 15] = 1
    ratio = weighted_mean(wrong_in_face, [mask]) / weighted_mean(wrong_outside, [mask])
    assert float(ratio) == pytest.approx(1 / 0.3)


def test_training_5_the_average_forgets_its_start_and_then_decays_as_told() -> None:
    weights = {"a": torch.zeros(3)}
    average = Average(weights, 0.5)
    weights["a"] = torch.ones(3)
    average.update(weights, 1)
    assert average.weights()["a"][0] == pytest.approx(1 - 2 / 11)
    average.update(weights, 100)
    assert average.weights()["a"][0] == pytest.approx(1 - 2 / 11 / 2)


def test_training_5_looking_at_a_run_changes_nothing_of_it(encoded: RunFolder, tmp_path: Path) -> None:
    run = encoded.run().model_copy(update={"steps": 4, "evaluate_every": 1})
    looked: list[float] = []

    def look(trainee: Trainee, state: State) -> None:
        looked.append(trainee.objective.held_out_loss(trainee.index.samples[3], 0.5, 3))
        state.best[state.step] = -looked[-1]

    results = []
    for name, evaluate in (("seen", look), ("unseen", None)):
        folder = small_run(tmp_path / name, run)
        trainee = trainee_of(encoded, evaluate_every=1, steps=4)
        with Worker(folder) as worker:
            assert Training(worker, trainee, evaluate).to_the_end() == "done"
        results.append(trainee.lora())
    assert len(set(looked)) == 5  # at step 0, too
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


@pytest.mark.long(but=["*nf4*"])
@pytest.mark.parametrize("quantisation", ["none", "nf4"])
def test_training_5_blocks_that_wait_on_the_host_learn_the_same(
    encoded: RunFolder, quantisation: str
) -> None:
    learnt = []
    for changed in ({"checkpointing": False}, {"checkpointing": True}, {"swap_blocks": 2}):
        trainee = trainee_of(encoded, quantisation=quantisation, **changed)
        for step in (1, 2):
            trainee.take(step, State())
        learnt.append(trainee.lora())
    here = [
        sum(weight.untyped_storage().nbytes() for weight in block.parameters() if not weight.requires_grad)
        for block in _blocks(trainee)
    ]
    assert here[0] > 10_000 > 200 > here[1]
    assert all(torch.equal(learnt[1][name], weight) for name, weight in learnt[0].items())
    # Copies lie at other addresses than what a file is mapped to, so that sums round in another way.
    assert max(float((learnt[2][name] - weight).abs().max()) for name, weight in learnt[0].items()) < 1e-6


META = torch.device("meta")
"""Computes nothing and refuses to mix with the CPU: a card that a test can have."""


def test_training_5_a_step_is_computed_on_its_device_in_its_numbers(encoded: RunFolder) -> None:
    run = encoded.run().model_copy(update={"dtype": "bf16", "checkpointing": True})
    cache = Cache(encoded.cache)
    trainee = Trainee(run, cache.index(encoded.run()), cache, Cards(0, 1, META))
    assert all((weight.device, weight.dtype) == (META, torch.float32) for weight in trainee.weights.values())
    given, answered = [], []
    for block in _blocks(trainee):
        block.register_forward_hook(lambda _block, inputs, output: answered.extend(output))
    for half in trainee.transformer.modules():
        if isinstance(half, Half):
            half.register_forward_hook(lambda _half, inputs, output: given.append((inputs[0], output)))
    for part in trainee.objective.parts(trainee.batches(1)[0], Draw(1)):
        torch.autograd.backward(part.value)
    assert answered and {(one.device, one.dtype) for one in answered} == {(META, torch.bfloat16)}
    assert given and {one.dtype for pair in given for one in pair} == {torch.bfloat16}
    assert {(weight.grad.device, weight.grad.dtype) for weight in trainee.weights.values()} == {
        (META, torch.float32)
    }


def test_training_5_a_block_that_waits_on_the_host_learns_on_the_card(encoded: RunFolder) -> None:
    run = encoded.run()
    adapter = adapter_of(run.family)
    made = adapter.load_transformer(run.base, dtype=torch.float32, device=META, waiting=1)
    here = {name.split(".")[0]: weight.device.type for name, weight in made.named_parameters()}
    assert here["transformer_blocks"] == "cpu" and here["single_transformer_blocks"] == "meta"
    assert {weight.device for weight in add_lora(made, adapter, run, META).values()} == {META}


@pytest.mark.parametrize("quantisation", ["none", "int8", "nf4"])
def test_training_5_what_is_computed_again_is_not_kept(encoded: RunFolder, quantisation: str) -> None:
    """bitsandbytes keeps a layer's input beside autograd, where the usual recomputation does not find it."""
    kept: dict[bool, bool] = {}
    for again in (False, True):
        trainee = trainee_of(encoded, quantisation=quantisation, checkpointing=again, dtype="bf16")
        seen: list[weakref.ref[torch.UntypedStorage]] = []
        layer = trainee.transformer.get_submodule("transformer_blocks.0.ff.net.2")
        layer.register_forward_pre_hook(
            lambda _layer, given, seen=seen: seen.append(weakref.ref(given[0].untyped_storage()))
        )
        part = next(trainee.objective.parts(trainee.batches(1)[0], Draw(1)))
        kept[again] = seen[0]() is not None
        part.value.backward()
        assert len(seen) == 1 + again
    assert kept == {False: True, True: False}


def _blocks(trainee: Trainee) -> list[Any]:
    return [trainee.transformer.get_submodule(name) for name in block_names(trainee.transformer)]


@pytest.mark.parametrize(
    ("optimizer", "rank", "quantisation", "dtype"),
    [("adamw8bit", 64, "nf4", "bf16"), ("prodigy", 4, "none", "fp32")],
)
def test_training_5_every_optimizer_goes_on_to_the_bit(
    encoded: RunFolder, tmp_path: Path, optimizer: str, rank: int, quantisation: str, dtype: str
) -> None:
    changed = {
        "optimizer": optimizer, "rank": rank, "alpha": rank, "quantisation": quantisation, "steps": 4,
        "lr": 1.0 if optimizer == "prodigy" else 1e-3, "dtype": dtype, "preservation": 0.0,
    }  # fmt: skip
    whole, halves = (trainee_of(encoded, **changed) for _ in range(2))
    folder = small_run(tmp_path / "whole", whole.run)
    with Worker(folder) as worker:
        Training(worker, whole, None).to_the_end()
    assert whole.optimizer_name == optimizer
    kept = [
        value.dtype
        for state in whole.optimizer.state.values()
        for value in state.values()
        if torch.is_tensor(value)
    ]
    assert (torch.uint8 in kept) == (optimizer == "adamw8bit")
    folder = small_run(tmp_path / "halves", halves.run)
    folder.order(steps=2)
    with Worker(folder) as worker:
        Training(worker, halves, None).to_the_end()
        folder.order(steps=4)
        again = trainee_of(encoded, **changed)
        Training(worker, again, None).to_the_end()
    assert all(torch.equal(weight, again.weights[name]) for name, weight in whole.weights.items())
    assert any(not torch.equal(weight, halves.weights[name]) for name, weight in whole.weights.items())
