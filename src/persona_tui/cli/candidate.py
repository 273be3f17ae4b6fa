"""`persona-tui candidate` list, show, flag, unflag, reject, restore: pictures of runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from persona_tui.cli.frame import AsJson, group, plain, resources, session, show, table

if TYPE_CHECKING:
    from persona_tui.services.generation.listing import GalleryPicture
    from persona_tui.services.generation.provenance import Provenance

commands = group("Pictures of runs.")

Order = Literal["rank", "votes", "newest", "parent"]
Only = Literal["active", "rejected", "flagged", "advancing"]


@commands.callback()
def _commands() -> None:
    """Pictures of runs."""


@commands.command("list")
def list_(
    run: Annotated[int, typer.Argument(metavar="RUN", help="The run's number.")],
    step: Annotated[int | None, typer.Option(help="Only this step, by its place.")] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", "-k", help="How many would go on.")] = None,
    sort: Annotated[Order, typer.Option(help="In which order.")] = "rank",
    only: Annotated[Only | None, typer.Option(help="Only these.")] = None,
    as_json: AsJson = False,
) -> None:
    """A run's pictures with ratings and votes, and who would go on, or win."""
    from persona_tui.services.generation.listing import gallery

    with resources() as opened:
        with opened.database.session_scope() as session:
            found = gallery(session, run, position=step, k=top_k, order=sort, only=only)
        listed = [plain(one) | {"path": str(opened.media.path(one.picture.media_key) or "")} for one in found]
    show(
        listed,
        as_json,
        lambda: table(
            ["picture", "step", "rank", "rating", "90 %", "votes", "parent", ""],
            (
                [
                    one.picture.id,
                    one.picture.position,
                    one.rank,
                    one.picture.elo_score,
                    "{}–{}".format(*one.interval) if one.interval else None,
                    one.votes,
                    one.picture.parent_id,
                    ", ".join(_marks(one)),
                ]
                for one in found
            ),
        ),
    )


def _marks(one: GalleryPicture) -> Iterator[str]:
    if one.picture.winner:
        yield "winner"
    if one.advances and not one.picture.winner:
        yield "would win" if one.may_win else "goes on"
    if one.picture.flagged:
        yield "flagged"
    if one.picture.status != "active":
        yield one.picture.status


@commands.command("show")
def show_(
    picture: Annotated[int, typer.Argument(metavar="PICTURE", help="Its number; see `run tree RUN`.")],
    workflow: Annotated[
        bool, typer.Option("--workflow", help="Print the workflow that was sent for it, as JSON for ComfyUI.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Where a picture comes from: workflow, seed, variables, LoRAs, server, duration and lineage."""
    from persona_tui.services.generation.provenance import provenance_of

    with resources() as opened:
        with opened.database.session_scope() as session:
            found = provenance_of(session, picture)
        path = opened.media.path(found.candidate.media_key)
    if workflow and not as_json:
        print(json.dumps(found.workflow, indent=2, ensure_ascii=False))
        return
    facts: dict[str, Any] = plain(found) | {"path": str(path) if path else None}
    if not workflow:
        del facts["workflow"]
    show(facts, as_json, lambda: _lines(found, facts["path"]))


Pictures = Annotated[list[int], typer.Argument(metavar="PICTURE…", help="Numbers; see `run tree RUN`.")]


@commands.command("flag")
def flag(pictures: Pictures, as_json: AsJson = False) -> None:
    """Flag pictures, to come back to them."""
    _set_flags(pictures, True, as_json)


@commands.command("unflag")
def unflag(pictures: Pictures, as_json: AsJson = False) -> None:
    """Take flags away."""
    _set_flags(pictures, False, as_json)


def _set_flags(pictures: list[int], flagged: bool, as_json: bool) -> None:
    from persona_tui.services.voting.contest import flag_candidate

    with session() as opened:
        for picture in pictures:
            flag_candidate(opened, picture, flagged)
    word = "flagged" if flagged else "no longer flagged"
    show({"pictures": pictures, "flagged": flagged}, as_json, lambda: [f"✅ {_named(pictures)} {word}."])


@commands.command("reject")
def reject(pictures: Pictures, as_json: AsJson = False) -> None:
    """Reject pictures with all that grew from them: all of them or none."""
    from persona_tui.services.generation.rejection import reject_all

    with session() as opened:
        done = reject_all(opened, pictures, actor="operator")
    gone = [one for rejection in done for one in rejection.candidate_ids]
    rejected = {"chosen": pictures, "candidate_ids": gone}
    show(
        rejected, as_json, lambda: [f"✅ {_named(gone)} rejected." if gone else "They were rejected already."]
    )


@commands.command("restore")
def restore(pictures: Pictures, as_json: AsJson = False) -> None:
    """Take rejections back, with all that went with them."""
    from persona_tui.services.generation.rejection import unreject_all

    with session() as opened:
        done = unreject_all(opened, pictures, actor="operator")
    back = [one for rejection in done for one in rejection.candidate_ids]
    restored = {"chosen": pictures, "candidate_ids": back}
    show(
        restored, as_json, lambda: [f"✅ {_named(back)} restored." if back else "None of them was rejected."]
    )


def _named(pictures: list[int]) -> str:
    """`Picture 4 is`, `Pictures 4 and 5 are`."""
    if len(pictures) == 1:
        return f"Picture {pictures[0]} is"
    return f"Pictures {', '.join(map(str, pictures[:-1]))} and {pictures[-1]} are"


def _lines(found: Provenance, path: str | None) -> Iterator[str]:
    one = found.candidate
    standing = "winner" if one.winner else one.status
    yield f"picture {one.id} of run {one.run_id}, {found.run}: step {one.position}, {one.step}, {standing}"
    yield f"file: {path or one.media_key}, {one.width}x{one.height}, SHA-256 {one.sha256}"
    yield f"pipeline: {found.pipeline}, version {found.pipeline_version}"
    yield f"workflow: SHA-256 {found.workflow_sha256} (--workflow prints it)"
    yield f"seed: {found.seed}"
    yield f"prompt: {found.prompt}"
    if found.negative:
        yield f"without: {found.negative}"
    for name, value in sorted(found.variables.items()):
        yield f"variable: {name} = {value}"
    for lora in found.loras:
        left_out = "" if lora.in_workflow else ", left out of this step"
        yield f"LoRA: {lora.label} at {lora.weight:g}{left_out}, SHA-256 {lora.sha256}"
    yield f"server: {found.endpoint}, ComfyUI {found.server_version or 'of an unknown version'}"
    yield f"job: {found.job_id}, prompt id {found.prompt_id}"
    yield "duration: not known" if found.seconds is None else f"duration: {found.seconds:.2f} s"
    way = " → ".join(f"{step.id} ({step.step})" for step in found.lineage)
    yield f"lineage: {way}"
