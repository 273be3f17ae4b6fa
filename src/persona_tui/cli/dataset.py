"""`persona-tui dataset`: create, add, status, captions, role, remove, subject, adopt, export."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from persona_tui.cli.frame import AsJson, PersonaName, group, note, persona_of, plain, resources, show, table

if TYPE_CHECKING:
    from persona_tui.gpu.training.manifest import Manifest, Role, Subject
    from persona_tui.resources import Resources
    from persona_tui.services.training.adding import PictureOutcome
    from persona_tui.services.training.dataset_check import Finding
    from persona_tui.services.training.datasets import DatasetView
    from persona_tui.services.training.thresholds import Threshold

commands = group("Datasets: folders of pictures that LoRAs are trained on.")

DatasetName = Annotated[str, typer.Argument(metavar="NAME", help="The dataset's name.")]
Files = Annotated[list[str], typer.Argument(metavar="FILE…", help="Pictures by file name or hash.")]
ConsentId = Annotated[int | None, typer.Option("--consent", help="The consent of who is in the pictures.")]
IsFictional = Annotated[bool, typer.Option("--fictional", help="Nobody real is in the pictures.")]


@commands.command("create")
def create(
    persona: PersonaName,
    name: DatasetName,
    fictional: IsFictional = False,
    consent: ConsentId = None,
    wheel: Annotated[str, typer.Option(help="character, or editor for pairs of pictures.")] = "character",
    trigger: Annotated[
        str | None, typer.Option(help="The word that calls it; otherwise the persona's.")
    ] = None,
    class_word: Annotated[str, typer.Option("--class", help="What the subject is one of.")] = "person",
    drawn: Annotated[
        bool, typer.Option("--drawn", help="It is a drawn character: no face is looked for.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make an empty dataset. Say who is in it: --fictional, or --consent."""
    from persona_tui.services.training.datasets import create_dataset

    values: dict[str, Any] = {
        "name": name, "wheel": wheel, "subject": "fictional" if fictional else "unsaid",
        "consent_id": consent, "trigger_word": trigger, "class_word": class_word, "drawn": drawn,
    }  # fmt: skip
    with resources() as opened:
        scope = opened.database.session_scope
        with scope() as reading:
            owner = persona_of(reading, persona)
        made = create_dataset(scope, opened.settings.data_dir / "datasets", owner.id, values)
    show(made, as_json, lambda: [f"✅ {made.label} lies in {made.folder}.", *_unsaid(made)])


@commands.command("add")
def add(
    persona: PersonaName,
    name: DatasetName,
    paths: Annotated[list[Path] | None, typer.Argument(help="Files, folders, or another dataset's.")] = None,
    photo: Annotated[list[int] | None, typer.Option(help="A photo of the library.")] = None,
    candidate: Annotated[list[int] | None, typer.Option(help="A picture of a run.")] = None,
    caption: Annotated[str | None, typer.Option(help="Of all; otherwise NAME.txt beside each.")] = None,
    role: Annotated[str | None, typer.Option(help="train, held_out or anchor; otherwise split.")] = None,
    angle: Annotated[str, typer.Option(help="Such as front, half-left, profile-left.")] = "",
    expression: Annotated[str, typer.Option(help="Such as neutral, smiling.")] = "",
    depth: Annotated[int | None, typer.Option(help="0 a source, 1 edited, 2 generated.")] = None,
    control: Annotated[Path | None, typer.Option(help="Of an editor: the sources' folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Copy pictures into a dataset. Some are held out, to judge likeness by."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.inputs import validated
    from persona_tui.services.library.pictures import PictureRef
    from persona_tui.services.training.adding import AddInput, add_pictures, sources_at, sources_of

    given = validated(
        AddInput,
        {"caption": caption, "role": role, "angle": angle, "expression": expression, "depth": depth,
         "control": control},
    )  # fmt: skip
    refs = [PictureRef(photo_id=one) for one in photo or ()]
    refs += [PictureRef(candidate_id=one) for one in candidate or ()]
    if not refs and not paths:
        raise InvalidRequest("Nothing to add was named.", hint="Name files, folders, --photo or --candidate.")
    with resources() as opened:
        scope = opened.database.session_scope
        view = _found(opened, persona, name)
        sources = list(sources_at(paths or (), given))
        with scope() as reading:
            sources += sources_of(reading, opened.media, view.persona_id, refs, given)
        added = add_pictures(scope, view.id, sources, _say if not as_json else lambda _: None)
    words = [("added", "added"), ("already there", "already there"), ("failed", "left out")]
    counts = {told: added.count(cast(Any, outcome)) for outcome, told in words}
    show(
        {"dataset": added.dataset, "counts": counts, "pictures": added.outcomes},
        as_json,
        lambda: [
            ", ".join(f"{count} {word}" for word, count in counts.items()) + f": {_roles(added.dataset)}."
        ],
    )
    if counts["left out"]:
        raise typer.Exit(1)


def _say(outcome: PictureOutcome) -> None:
    if outcome.outcome != "added":
        icon = "❌" if outcome.outcome == "failed" else "ℹ️ "
        print(f"{icon} {outcome.label}: {outcome.sentence or outcome.outcome}", file=sys.stderr)


@commands.command("status")
def status(
    persona: PersonaName,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One dataset; otherwise all.")] = None,
    pictures: Annotated[bool, typer.Option("--pictures", help="List its pictures too.")] = False,
    as_json: AsJson = False,
) -> None:
    """What a persona's datasets hold, and what speaks against training on one."""
    from persona_tui.services.training.thresholds import thresholds_of

    with resources() as opened:
        if name is None:
            _show_all(opened, persona, as_json)
            return
        view = _found(opened, persona, name)
        manifest, findings = _checked(opened, view)
        with opened.database.session_scope() as reading:
            thresholds = thresholds_of(reading, view.persona_id)
    told = {"dataset": view, "drawn": manifest.drawn, "findings": findings, "thresholds": thresholds}
    show(
        told
        | (
            {"pictures": [plain(one.model_dump(mode="json")) for one in manifest.pictures]}
            if pictures
            else {}
        ),
        as_json,
        lambda: _about(view, findings, thresholds, manifest, pictures),
    )
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def _checked(opened: Resources, view: DatasetView) -> tuple[Manifest, tuple[Finding, ...]]:
    from persona_tui.gpu.training.run_file import RunFile
    from persona_tui.services.training.dataset_check import check_dataset
    from persona_tui.services.training.datasets import looks, open_dataset

    with opened.database.session_scope() as reading:
        dataset = open_dataset(reading, view.id)
        known = looks(reading, view.id)
    buckets = RunFile.model_fields["buckets"].default
    return dataset.manifest, check_dataset(dataset.manifest, view.folder, known, buckets)


def _show_all(opened: Resources, persona: str, as_json: bool) -> None:
    from persona_tui.services.training.datasets import list_datasets

    with opened.database.session_scope() as reading:
        owner = persona_of(reading, persona)
        datasets = list_datasets(reading, owner.id)
    if not datasets and not as_json:
        note(f"{owner.name} has no dataset yet. `persona-tui dataset create` makes one.")
    show(
        datasets,
        as_json,
        lambda: table(
            ["dataset", "wheel", "who", "trigger", "pictures", "runs"],
            ([one.name, one.wheel, one.subject, one.trigger_word, _roles(one), one.runs] for one in datasets),
        ),
    )


def _about(
    view: DatasetView,
    findings: Sequence[Finding],
    thresholds: Sequence[Threshold],
    manifest: Manifest,
    pictures: bool,
) -> Iterator[str]:
    who = f"real, by consent {view.consent_id}" if view.consent_id else view.subject
    yield f"{view.label}: {view.wheel}, {_roles(view)}"
    yield f"who: {who}   trigger word: {view.trigger_word or 'none'}   class: {view.class_word or 'none'}"
    if manifest.drawn:
        yield "drawn: likeness goes by the whole figure, faces are not looked for"
    yield f"folder: {view.folder}"
    yield f"content: {view.manifest_sha256}"
    yield from _unsaid(view)
    for one in thresholds:
        by = f"found from {one.pairs} pairs" if one.pairs else "a usual value"
        words = f"likeness from {one.least:.2f} on counts as {view.persona}'s"
        yield f"{words}: {by} ({one.scorer}, training {one.run_id})"
    for finding in findings:
        yield f"{'❌' if finding.level == 'error' else '⚠️ '} {finding.sentence}"
        if finding.hint:
            yield f"   {finding.hint}"
    if not findings:
        yield "✅ Nothing speaks against training on it."
    if pictures:
        yield from table(
            ["file", "role", "angle", "expression", "depth", "caption"],
            (
                [one.file, one.role, one.angle, one.expression, one.depth, one.caption]
                for one in manifest.pictures
            ),
        )


@commands.command("captions")
def captions(
    persona: PersonaName,
    name: DatasetName,
    files: Annotated[list[str] | None, typer.Argument(metavar="[FILE…]", help="Which pictures.")] = None,
    write: Annotated[str | None, typer.Option(help="The caption of these pictures.")] = None,
    mend: Annotated[bool, typer.Option("--mend", help="Put the trigger word into all, once.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write captions, or mend all of them."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.training.dataset_acts import mend_captions, write_caption

    if mend == (write is not None) or (write is not None and not files):
        raise InvalidRequest("Say which: --mend, or FILE with --write.", hint="One of the two.")
    with resources() as opened:
        scope, view = opened.database.session_scope, _found(opened, persona, name)
        if write is not None:
            changed, count = write_caption(scope, view.id, files or (), write), len(files or ())
        else:
            changed, count = mend_captions(scope, view.id)
    show(changed, as_json, lambda: [f"✅ {count} captions of {changed.label} changed."])


@commands.command("role")
def role(
    persona: PersonaName,
    name: DatasetName,
    files: Files,
    give: Annotated[str, typer.Option(help="train, held_out or anchor.")],
    as_json: AsJson = False,
) -> None:
    """Hold pictures out, or let them be learnt from."""
    from persona_tui.services.inputs import validated
    from persona_tui.services.training.adding import AddInput
    from persona_tui.services.training.dataset_acts import give_role

    wanted = validated(AddInput, {"role": give}).role
    with resources() as opened:
        view = _found(opened, persona, name)
        changed = give_role(opened.database.session_scope, view.id, files, cast("Role", wanted))
    show(changed, as_json, lambda: [f"✅ {changed.label}: {_roles(changed)}."])


@commands.command("remove")
def remove(persona: PersonaName, name: DatasetName, files: Files, as_json: AsJson = False) -> None:
    """Take pictures out of a dataset; earlier runs keep theirs."""
    from persona_tui.services.training.dataset_acts import remove_pictures

    with resources() as opened:
        view = _found(opened, persona, name)
        changed, count = remove_pictures(opened.database.session_scope, view.id, files)
    show(changed, as_json, lambda: [f"✅ {count} taken out of {changed.label}: {_roles(changed)} left."])


@commands.command("subject")
def subject(
    persona: PersonaName,
    name: DatasetName,
    fictional: IsFictional = False,
    consent: ConsentId = None,
    drawn: Annotated[
        bool | None,
        typer.Option(
            "--drawn/--photographed", help="Whether likeness goes by the whole figure, or by faces."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say who is in the pictures: nobody real, or somebody who consented; and whether they are drawn."""
    from persona_tui.services.training.dataset_acts import say_drawn
    from persona_tui.services.training.datasets import say_subject

    said: Subject = "fictional" if fictional else "unsaid"
    with resources() as opened:
        scope, changed = opened.database.session_scope, _found(opened, persona, name)
        if drawn is not None:
            changed = say_drawn(scope, changed.id, drawn)
        if drawn is None or fictional or consent is not None:
            changed = say_subject(scope, changed.id, said, consent)
    told = {True: ", drawn", False: ", photographed", None: ""}[drawn]
    show(changed, as_json, lambda: [f"✅ {changed.label}: {changed.subject}{told}.", *_unsaid(changed)])


@commands.command("adopt")
def adopt(
    persona: PersonaName,
    name: DatasetName,
    folder: Annotated[Path | None, typer.Option(help="Where it lies now.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take over a folder that was moved, or a manifest that was edited by hand."""
    from persona_tui.services.training.dataset_acts import adopt as take_over

    with resources() as opened:
        view = _found(opened, persona, name)
        adopted = take_over(opened.database.session_scope, view.id, folder)
    show(adopted, as_json, lambda: [f"✅ {one}" for one in adopted.changes or ("Nothing had changed.",)])


@commands.command("export")
def export(
    persona: PersonaName,
    name: DatasetName,
    folder: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    as_json: AsJson = False,
) -> None:
    """Copy a dataset, with each caption as text beside its picture, for other trainers."""
    from persona_tui.services.training.datasets import open_dataset

    with resources() as opened:
        view = _found(opened, persona, name)
        with opened.database.session_scope() as reading:
            dataset = open_dataset(reading, view.id)
        target = folder.expanduser().absolute()
        dataset.folder.export(target, dataset.manifest)
    show({"dataset": view, "folder": target}, as_json, lambda: [f"✅ {view.label} was copied to {target}."])


def _found(opened: Resources, persona: str, name: str) -> DatasetView:
    from persona_tui.services.training.datasets import find_dataset

    with opened.database.session_scope() as reading:
        return find_dataset(reading, persona_of(reading, persona).id, name)


def _roles(view: DatasetView) -> str:
    words = {"train": "to learn from", "anchor": "anchors", "held_out": "held out"}
    told = [
        f"{view.pictures[cast('Role', role)]} {word}" for role, word in words.items() if role in view.pictures
    ]
    return ", ".join(told) or "no pictures"


def _unsaid(view: DatasetView) -> Iterator[str]:
    if view.subject == "unsaid":
        yield "❌ It does not say who is in it, so nothing is trained on it."
        yield "   `dataset subject PERSONA NAME --fictional`, or --consent with the id of one."
