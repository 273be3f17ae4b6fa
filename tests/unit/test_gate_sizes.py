"""K held against what a step makes."""

from __future__ import annotations

import pytest

from persona_tui.errors import InvalidRequest
from persona_tui.services.generation.gate_sizes import gate_excesses, require_gates


@pytest.mark.parametrize(
    ("plans", "too_much"),
    [
        ([(1, 1)], []),
        ([(1, 2)], [(1, 1)]),
        ([(4, 4), (1, 4), (2, 8)], []),
        ([(4, 2), (2, 5), (1, 1)], [(2, 4)]),
        ([(2, 3), (2, 4)], [(1, 2)]),  # two go on though three were asked for, so four are made
        ([(2, 3), (2, 5)], [(1, 2), (2, 4)]),
    ],
)
def test_a_step_makes_n_for_each_picture_that_goes_on_to_it(
    plans: list[tuple[int, int]], too_much: list[tuple[int, int]]
) -> None:
    assert [(one.position, one.made) for one in gate_excesses(plans)] == too_much


def test_only_a_k_that_was_asked_for_is_refused() -> None:
    plans = [(2, 3), (1, 1), (2, 9)]
    assert [one.position for one in require_gates(plans, {2}, what="K")] == [1]
    with pytest.raises(InvalidRequest, match=r"K of step 3 can't be 9: the step makes 2 pictures\.") as told:
        require_gates(plans, {3}, what="K")
    assert told.value.hint == "Give K of at most 2, or a greater N."
