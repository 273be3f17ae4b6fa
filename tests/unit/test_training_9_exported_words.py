"""What is said of an exported file."""

from __future__ import annotations

import pytest

from persona_tui.services.training.exported import base_words, weights_words

FOUND = {
    "quantisation": "nf4",
    "difference": 0.0614,
    "strength": 0.98,
    "loss": 0.412,
    "loss_trained_on": 0.4151,
    "by_sigma": {"0.5": 0.1},
    "pictures": 3,
    "role": "held_out",
}


def test_training_9_the_difference_of_both_bases_is_a_sentence() -> None:
    assert base_words(FOUND) == (
        "On the base in 16 bits its effect differs by 6.1% from that on nf4, 0.98 as strong; "
        "held-out loss 0.4120 against 0.4151."
    )
    assert "training pictures' loss" in base_words({**FOUND, "role": "train"})
    assert base_words({"problem": "No room."}) == "Not compared with the base in 16 bits. No room."


@pytest.mark.parametrize("told", [None, {}, "x", {**FOUND, "strength": None}])
def test_training_9_of_a_base_that_is_used_as_it_was_trained_nothing_is_said(told: object) -> None:
    assert base_words(told) == ""


def test_training_9_average_and_last_weights_are_told_apart() -> None:
    assert weights_words("ema") != weights_words("raw") != ""
    assert weights_words(None) == ""
