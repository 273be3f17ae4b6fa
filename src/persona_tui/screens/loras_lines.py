"""How LoRAs look: rows of the list, and the lines about one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.screens.runs_servers import host
from persona_tui.services.training.exported import base_words, origin_words
from persona_tui.widgets.marks import counted, dim, say

if TYPE_CHECKING:
    from persona_tui.services.generation.lora_placing import Placement
    from persona_tui.services.loras.registry import LoraUser, LoraView
    from persona_tui.services.loras.rewriting import Remedy
    from persona_tui.services.voting.comparison import Verdict

Places = Mapping[str, bool | None]
"""Server → whether it lists the file; None while it does not answer."""


@dataclass(frozen=True)
class Row:
    """A LoRA as the list shows it.

    Attributes:
        use: how the persona in front uses it; None when it does not.
        file_there: our own file is there.
        places: what each server says; empty before they were asked.
        remedy: what helps where ComfyUI would not load it.
        verdicts: what blind votes say of it beside others.
    """

    lora: LoraView
    use: LoraUser | None
    file_there: bool
    places: Places
    remedy: Remedy = "none"
    verdicts: tuple[Verdict, ...] = ()


def cells(row: Row) -> tuple[Content, ...]:
    """A row's cells: LoRA, whose, type, family, trigger, score, weight, primary, file."""
    lora = row.lora
    name = Content.styled(lora.name, "bold" if row.use else "") + dim(f"@{lora.version}")
    return (
        name + (Content.styled(" ⚠️", "$warning") if lora.warnings else Content("")),
        Content(lora.persona or "any") if lora.persona else dim("any"),
        Content(lora.model_type),
        Content(lora.family) if lora.family != "unknown" else Content.styled("unknown", "$warning"),
        Content(lora.trigger_word),
        likeness(lora),
        better(row),
        Content(f"{row.use.weight:g}") if row.use else dim("–"),
        Content.styled("● primary", "$success") if row.use and row.use.primary else dim(""),
        state(row),
    )


def likeness(lora: LoraView) -> Content:
    """What its training measured on pictures that it never saw."""
    found = lora.scores.get("likeness")
    if found is None:
        return dim("–")
    return Content(f"{found:.2f}") + (Content.styled(" weak", "$warning") if lora.weak else Content(""))


def better(row: Row) -> Content:
    """How likely it is better than the LoRA that it was voted on with most often, and by how many votes."""
    verdict = max(row.verdicts, key=lambda one: one.n, default=None)
    if verdict is None or verdict.p_better is None:
        return dim("–")
    return Content(f"{verdict.p_better:.2f}") + dim(f" n {verdict.n}")


def verdict_words(verdict: Verdict) -> str:
    """`Better than mira@1 with P 0.96 (n 12: 8 for it, 2 against, 2 even)`."""
    votes = f"n {verdict.n}: {verdict.won} for it, {verdict.lost} against, {verdict.even} even"
    if verdict.p_better is None:
        return f"No vote chose between it and {verdict.beside} ({votes})."
    return f"Better than {verdict.beside} with P {verdict.p_better:.2f} ({votes})."


def votes_words(verdict: Verdict) -> str:
    """The same before a promotion, where votes against it must be plain."""
    if verdict.p_better is None or verdict.p_better >= 0.5:
        return verdict_words(verdict)
    return f"The votes speak against it. {verdict.beside}: {verdict_words(verdict.turned())}"


def verdict_line(verdict: Verdict) -> Content:
    """The same as a line that names both."""
    return Content.assemble((f"{verdict.lora}: ", "$dim"), verdict_words(verdict))


def state(row: Row) -> Content:
    """Where its file is, in a word and a sign."""
    if not row.file_there:
        return Content.styled("✗ missing", "$error")
    if row.lora.key_warnings:
        return Content.styled("✗ ignored", "$error")
    if not row.places:
        return dim("○ here")
    there = sum(listed is True for listed in row.places.values())
    words = f"{there} of {len(row.places)}"
    if there == len(row.places):
        return Content.styled(f"● {words}", "$success")
    return Content.styled(f"{'◐' if there else '○'} {words}", "$warning")


def lines(row: Row, convert_key: str) -> Iterator[Content]:
    """What the panel says of a LoRA.

    Args:
        convert_key: the key that converts it.
    """
    lora = row.lora
    size = f"{lora.byte_count / 1e6:.1f} MB" if lora.byte_count else ""
    rank = f"rank {lora.rank}" if lora.rank else ""
    yield Content.styled(lora.label, "bold") + dim(
        "  " + "  ".join(filter(None, (lora.base_model, f"{lora.key_format} names", rank, size)))
    )
    users = ", ".join(
        f"{user.persona} at {user.weight:g}{' (primary)' if user.primary else ''}" for user in lora.users
    )
    used = f"{users or 'by nobody'}; in {counted(lora.runs, 'run')}"
    yield Content.assemble(("Used: ", "$dim"), used)
    origin = origin_words(lora.training_run, lora.step, lora.weights)
    if learnt := ": ".join(filter(None, (origin, lora.measured))):
        yield Content.assemble(("Learnt: ", "$dim"), learnt)
    if lora.scorer and "likeness" in lora.scores:
        yield Content.assemble(("Likeness by: ", "$dim"), lora.scorer)
    if beside := base_words(lora.base_difference):
        yield dim(beside)
    for verdict in row.verdicts:
        yield Content.assemble(("Blind votes: ", "$dim"), verdict_words(verdict))
    if lora.key_warnings:
        yield say("error", f"ComfyUI would not load all of it. {_remedy_words(row, convert_key)}".rstrip())
    if lora.commercial is False:
        yield say("warn", "Its base model's licence forbids commercial use of what it makes.")
    for url, listed in row.places.items():
        words = {True: "has it", False: "does not have it", None: "does not answer"}[listed]
        icon = "✅" if listed else "⚠️ "
        yield Content(f"{icon} {host(url)} {words}")
    for warning in lora.warnings:
        yield say("warn", warning)


def _remedy_words(row: Row, key: str) -> str:
    if row.lora.converted_to:
        return f"It was converted into {row.lora.converted_to}."
    return {
        "convert": f"[{key}] converts it into the next version.",
        "say family": f"[{key}] converts it, once you say its base model.",
    }.get(row.remedy, "")


def whole(row: Row, path: str, convert_key: str) -> Content:
    """Everything about a LoRA."""
    lora = row.lora
    facts = (
        ("Type", lora.model_type),
        ("Family", lora.family),
        ("Base model", lora.base_model),
        ("Holds the likeness of", lora.persona or "nobody: anyone may use it"),
        ("Trigger word", lora.trigger_word or "none"),
        ("Its own weight", "" if lora.default_weight is None else f"{lora.default_weight:g}"),
        ("SHA-256", lora.sha256),
        ("File", path),
        ("Imported", f"{lora.created_at:%Y-%m-%d %H:%M} UTC"),
    )
    told = [Content.assemble((f"{label}: ", "$dim"), value) for label, value in facts if value]
    return Content("\n").join([*lines(row, convert_key), Content(""), *told])


def placed_words(label: str, placements: tuple[Placement, ...]) -> tuple[str, bool]:
    """What came of bringing a LoRA to the servers, and whether all have it."""
    lost = [place for place in placements if place.listed is None]
    if not lost:
        return f"{label} is on {counted(len(placements), 'server')}.", True
    return f"{host(lost[0].endpoint)}: {lost[0].sentence}", False
