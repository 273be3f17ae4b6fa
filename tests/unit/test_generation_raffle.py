"""The draw among a step's parents, without a database."""

from __future__ import annotations

from collections import Counter, deque

from persona_tui.services.generation.making import Place
from persona_tui.services.generation.raffle import Family, in_turn

STEP = 7


def family(
    seed: int,
    rating: float,
    *,
    places: int,
    children: int = 0,
    failures: int = 0,
    run: int = 1,
    position: int = 2,
) -> Family:
    step = STEP + position - 2
    slots = (
        Place(number + seed * 100, 1, step, position, number, run, seed, 0, 0)
        for number in range(1, places + 1)
    )
    return Family(position, step, run, rating, seed, 0, children, failures, deque(slots))


def served(families: list[Family], draws: int = 0) -> list[int | None]:
    known = {STEP: draws, STEP + 1: 0}
    return [place.parent_seed for place in in_turn(families, known)]


def test_those_with_the_fewest_children_come_first_and_each_round_serves_all() -> None:
    order = served(
        [family(1, 1000, places=2), family(2, 1000, places=3), family(3, 1000, places=1, children=2)]
    )

    assert sorted(order[:2], key=str) == [1, 2]
    assert sorted(order[2:4], key=str) == [1, 2]
    assert sorted(order[4:], key=str) == [2, 3]


def test_places_of_a_parent_come_in_their_order() -> None:
    numbers = [place.slot_no for place in in_turn([family(1, 900, places=4)], {STEP: 0})]

    assert numbers == [1, 2, 3, 4]


def test_asking_for_one_place_after_the_other_draws_as_asking_for_all() -> None:
    whole = served([family(seed, 1000 + seed, places=3) for seed in range(1, 6)])

    single, children, left = [], Counter[int](), dict.fromkeys(range(1, 6), 3)
    for draw in range(15):
        now = [
            family(seed, 1000 + seed, places=left[seed], children=children[seed])
            for seed in left
            if left[seed]
        ]
        (first, *_) = served(now, draws=draw)
        assert first is not None
        single.append(first)
        children[first] += 1
        left[first] -= 1

    assert single == whole


def test_a_parent_is_drawn_in_proportion_to_its_rating() -> None:
    first = Counter(
        served([family(1, 3000, places=1, run=run), family(2, 1000, places=1, run=run)])[0]
        for run in range(4000)
    )

    assert 0.72 < first[1] / 4000 < 0.78


def test_one_that_failed_three_times_rests_while_others_want_something() -> None:
    assert served([family(1, 9000, places=2, failures=3), family(2, 1, places=1, children=5)]) == [2, 1, 1]


def test_the_earlier_step_comes_first() -> None:
    later, earlier = family(1, 1000, places=1, position=3), family(2, 1, places=2, position=2)

    assert served([later, earlier]) == [2, 2, 1]
