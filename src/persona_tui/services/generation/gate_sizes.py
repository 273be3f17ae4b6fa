"""K held against what a step makes: a gate can let no more pictures through than there will be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from persona_tui.errors import InvalidRequest
from persona_tui.services.generation.estimates import growth


@dataclass(frozen=True)
class GateExcess:
    """A gate that is to let more pictures through than its step makes.

    Attributes:
        position: of the step.
        made: pictures that the step makes, as far as N and K of the steps before tell.
        top_k: pictures that its gate is to let through.
        is_last: no gate follows the step.
    """

    position: int
    made: int
    top_k: int
    is_last: bool

    @property
    def sentence(self) -> str:
        """What will happen, for where it is only warned of."""
        made = _pictures(self.made)
        return f"Step {self.position} makes {made}, so at most {self.made} can go on, not {self.top_k}."


def gate_excesses(plans: Sequence[tuple[int, int]]) -> tuple[GateExcess, ...]:
    """Which steps have a K above what they make.

    Args:
        plans: N and K of each step, the first one first.
    """
    return tuple(
        GateExcess(position, made, top_k, position == len(plans))
        for position, (made, (_, top_k)) in enumerate(zip(growth(plans), plans, strict=True), start=1)
        if top_k > made
    )


def require_gates(
    plans: Sequence[tuple[int, int]], chosen: Collection[int], *, what: str
) -> tuple[GateExcess, ...]:
    """Refuse a K that was chosen and can't be.

    Args:
        plans: as `gate_excesses` takes them.
        chosen: positions of the steps whose K was asked for.
        what: name of the option or field that K was given by, for the hint.

    Returns:
        The excesses of the other steps, where a gate follows: their K came by itself, so that is warned of.

    Raises:
        InvalidRequest: names the first such step.
    """
    found = gate_excesses(plans)
    for one in found:
        if one.position in chosen:
            raise InvalidRequest(
                f"K of step {one.position} can't be {one.top_k}: the step makes {_pictures(one.made)}.",
                hint=f"Give {what} of at most {one.made}, or a greater N.",
            )
    return tuple(one for one in found if not one.is_last)


def _pictures(count: int) -> str:
    return f"{count} picture" if count == 1 else f"{count} pictures"
