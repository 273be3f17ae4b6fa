"""When a run stops and which checkpoint it proposes; 200 simulated runs: `benchmarks/training.py`."""

from __future__ import annotations

import numpy as np
import pytest

from persona_tui.gpu.training.choosing import Evaluation, alike, beside, proposed, reason_to_stop, scores

STEPS = 1000


def curve(likeness: object, gap: object, prompt: float = 0.3, until: int = STEPS) -> list[Evaluation]:
    """A run's evaluations at every twentieth of it, with noise of 1 %."""
    random = np.random.default_rng(3)
    return [
        Evaluation(
            step,
            {0.5: 1.0},
            likeness=likeness(step / STEPS) * (1 + 0.01 * random.standard_normal()),
            gap=gap(step / STEPS),
            prompt=prompt * (1 - 0.1 * step / STEPS),
        )
        for step in range(0, until + 1, 50)
    ]


def stops(evaluations: list[Evaluation], pictures: int = 20) -> tuple[int, str] | None:
    """At which step it is stopped, and what is said."""
    for seen in range(1, len(evaluations) + 1):
        said = reason_to_stop(evaluations[:seen], STEPS, pictures)
        if said:
            return evaluations[seen - 1].step, said
    return None


def test_training_7_a_run_stops_where_likeness_is_flat_and_not_while_it_rises() -> None:
    flat = stops(curve(lambda at: 0.6 * min(at / 0.5, 1), lambda at: 0.05))
    assert flat is not None and 500 < flat[0] <= 700 and "no longer rises" in flat[1]
    assert stops(curve(lambda at: 0.1 + 0.5 * at, lambda at: 0.05)) is None


def test_training_7_a_run_stops_where_it_copies_though_likeness_still_rises() -> None:
    copying = stops(curve(lambda at: 0.2 + 0.3 * at, lambda at: max(0, at - 0.4)))
    assert copying is not None and 500 <= copying[0] <= 700 and "it copies" in copying[1]


def test_training_7_nothing_stops_by_itself_before_40_percent_or_under_8_pictures() -> None:
    done_at_once = curve(lambda at: 0.6, lambda at: 0.05)
    assert stops(done_at_once, pictures=8) == (400, "Likeness to the held-out pictures no longer rises.")
    assert stops(done_at_once, pictures=7) is None


def test_training_7_the_proposal_is_on_the_front_and_weighs_prompts_too() -> None:
    def two(step: int, likeness: float, prompt: float) -> Evaluation:
        return Evaluation(step, {}, likeness=likeness, prompt=prompt)

    # Of a run so short that they lie far apart, and smoothing leaves each as it is.
    told = [
        two(0, 0.9, 0.9),
        two(300, 0.3, 0.35),
        two(600, 0.6, 0.33),
        two(900, 0.64, 0.1),
        two(1000, 0.2, 0.1),
    ]
    found = proposed(told, 500)
    assert found is not None and (found.step, found.front) == (600, (300, 600, 900))
    assert found.by == "likeness and prompt following"
    assert proposed(told, 500, kept=(900, 1000)).step == 900  # type: ignore[union-attr]


def test_training_7_without_faces_the_held_out_loss_decides_and_nothing_is_no_proposal() -> None:
    told = [Evaluation(step, {0.3: loss, 0.7: loss}) for step, loss in ((0, 9), (300, 3), (600, 1), (900, 2))]
    found = proposed(told, 500)
    assert found is not None and (found.step, found.by) == (600, "validation loss")
    assert scores(told, 500)[600] == pytest.approx(-1, abs=0.1)
    assert reason_to_stop(told, STEPS, 20) is None
    assert proposed([Evaluation(100, {})], STEPS) is None


def test_training_7_two_checkpoints_are_compared_by_pairs_of_one_prompt_and_seed() -> None:
    random = np.random.default_rng(5)
    # Prompts differ far more from each other than the checkpoints do at any of them.
    hard = {f"p{number}-1": float(value) for number, value in enumerate(random.normal(0.5, 0.2, 12))}
    worse = {name: like - 0.02 + 0.005 * random.standard_normal() for name, like in hard.items()}
    as_good = {
        name: like + (0.05 if number % 2 else -0.05) for number, (name, like) in enumerate(hard.items())
    }
    told = beside(worse, hard | {"unseen-1": 0.9})
    assert told is not None and told.pairs == 12
    assert told.low < told.difference < told.high < 0 and told.difference == pytest.approx(-0.02, abs=0.005)
    turned = beside(hard, worse)
    assert turned is not None and turned.low == pytest.approx(-told.high) and turned.low > 0
    assert beside({"p0-1": 0.3}, hard) is None
    each = {100: worse, 200: as_good, 300: hard, 400: hard}
    assert alike(each, 300, kept=(100, 200, 300)) == (200,)
    assert alike(each, 500, kept=(100, 200, 300)) == ()
