"""A likeness that is weak is called so above its curve; a file says which weights it holds."""

from __future__ import annotations

from persona_tui.screens.training_lines import _exported, _measured, likeness_title
from persona_tui.services.training.curves import Point
from persona_tui.services.training.following import RunLook

WEAK = "clip 1a2b3c4d, masked subject (weak)"


def test_training_8_a_weak_likeness_is_called_so_above_its_curve() -> None:
    look = RunLook("resting", likeness=(Point(5, 0.6),), scorer=WEAK, weak=True)
    assert likeness_title(look).plain == "Likeness  0.6 at 5 weak"
    assert dict(_measured(look)) == {"Likeness by": WEAK, "Base in 16 bits": ""}
    sure = RunLook("resting", likeness=(Point(5, 0.6),), scorer="dlib resnet v1")
    assert "weak" not in likeness_title(sure).plain


def test_training_9_the_training_says_which_weights_became_the_file() -> None:
    told = {"weights": "raw", "base_difference": {"problem": "The card was full."}}
    look = RunLook("resting", exported=told)
    (line,) = _exported(look)
    words = "The file holds its weights as they were; it was not compared with the base in 16 bits."
    assert line.plain == words
    assert dict(_measured(look))["Base in 16 bits"].endswith("The card was full.")
    look = RunLook("resting", exported={"weights": "ema", "base_difference": {"difference": 0.0226}})
    (line,) = _exported(look)
    assert line.plain.endswith("average of its weights; in 16 bits its effect differs by 2.3%.")
    (line,) = _exported(RunLook("resting", exported={"weights": "ema"}))
    assert line.plain == "The file holds the average of its weights."
    assert list(_exported(RunLook("resting"))) == list(_exported(None)) == []
