"""Every boundary that an engine crosses, found by counting, is a place at which it is killed (R22)."""

from __future__ import annotations

import pytest
from tests.faults.engine_child import KILLED, Kill, World
from tests.faults.test_engine import new_run, server, world

__all__ = ["server", "world"]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_r22_killed_at_each_boundary_in_turn_no_picture_is_lost_doubled_or_made_for_nothing(
    world: World,
) -> None:
    codes = []
    while not codes or codes[-1] == KILLED:
        run_id, made = new_run(world), len(world.saved())
        codes.append(world.run_child(Kill("*", nth=len(codes) + 1)))
        if codes[-1] == KILLED:
            assert world.run_child() == 0
        assert sorted(world.kept(run_id)) == sorted(world.saved()[made:])
        assert len(world.saved()) == made + 2
    print(f"{len(codes) - 1} boundaries found, {codes.count(KILLED)} kills that hit")

    assert codes[-1] == 0
    assert len(codes) > 40
