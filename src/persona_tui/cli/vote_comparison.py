"""What `persona-tui vote` says of a contest between two LoRAs: a pair without names, and who leads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from persona_tui.cli.frame import plain

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.media import MediaStore
    from persona_tui.services.voting.comparison import Pair


def pair_facts(media: MediaStore, pair: Pair | None) -> dict[str, Any]:
    """The pair as `vote next` tells it; which LoRA made which picture is left out."""
    if pair is None:
        return {"members": []}
    pictures = (pair.left, pair.right)
    members = [
        {"member": one.member_id, "path": str(path) if (path := media.path(one.media_key)) else None}
        for one in pictures
    ]
    return {"members": members, "prompt": pair.prompt, "seed": pair.seed}


def comparison_facts(session: Session, contest_id: int) -> dict[str, Any]:
    """How far a comparison is, and what all votes on the two say.

    Raises:
        UnknownName: the contest is none.
    """
    from persona_tui.services.voting.comparison import comparison_state

    state = comparison_state(session, contest_id)
    voted = verdict_facts(session, state.lora_id)
    told = next((one for one in voted if one["beside_id"] == state.beside_id), None)
    facts: dict[str, Any] = plain(state)
    return facts | {"to_vote": state.to_vote, "complete": state.complete, "verdict": told}


def verdict_facts(session: Session, lora_id: int) -> list[dict[str, Any]]:
    """What blind votes say of a version beside others."""
    from persona_tui.services.voting.comparison import verdicts

    return [
        plain(one) | {"n": one.n, "p_better": one.p_better}
        for one in verdicts(session)
        if one.lora_id == lora_id
    ]


def verdict_line(told: dict[str, Any]) -> str:
    """The same for people."""
    votes = f"n {told['n']}: {told['won']} for it, {told['lost']} against, {told['even']} even"
    if told["p_better"] is None:
        return f"No blind vote chose between {told['lora']} and {told['beside']} ({votes})."
    return f"{told['lora']} is better than {told['beside']} with P {told['p_better']:.2f} ({votes})."


def comparison_lines(told: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    voted = told["won"] + told["lost"] + told["even"]
    yield (
        f"ℹ️  Contest {told['contest_id']}: {told['lora']} against {told['beside']}, {told['ready']} of "
        f"{told['planned']} pairs made, {voted} voted on."
    )
    if told["alike"]:
        yield f"⚠️  {told['alike']} pairs are alike: the server ignored both LoRAs, or they are equal."
    if told["verdict"] is not None:
        yield verdict_line(told["verdict"])
