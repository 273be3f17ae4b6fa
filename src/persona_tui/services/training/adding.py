"""Adding pictures to a dataset: from files, from another dataset's folder, and from the library."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints
from sqlmodel import Session, select

from persona_tui.database.driver import rows_of
from persona_tui.errors import InvalidRequest, PersonaError, UnknownName
from persona_tui.gpu.training.manifest import FILE_NAME, Picture, Role, Subject, read_manifest
from persona_tui.models.training import DatasetImage
from persona_tui.services.inputs import Input, Line
from persona_tui.services.library.files import (
    Found,
    look_into,
    read_steadily,
    require_pictures,
    shown,
    whole,
)
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.media import MediaStore
from persona_tui.services.training.captions import LONGEST, caption_beside
from persona_tui.services.training.dataset_files import DatasetFolder, Prepared, prepare
from persona_tui.services.training.datasets import (
    DatasetView,
    SessionScope,
    looks,
    open_dataset,
    rewrite,
    settled,
)
from persona_tui.services.training.splitting import Member, split
from persona_tui.services.training.subjects import require_as_fictional
from persona_tui.text import clean

Outcome = Literal["added", "already there", "failed"]
Caption = Annotated[
    str,
    AfterValidator(lambda words: clean(words, keep_lines=False)),
    StringConstraints(max_length=LONGEST),
]


class AddInput(Input):
    """What the operator says of the pictures; what is None or empty is taken from beside them.

    Attributes:
        caption: for all of them; otherwise the text file beside each, or what the library knows.
        role: None splits: some of the new ones are held out.
        control: a folder with the editor's source pictures, under the same names as their results.
        depth: None: 0 for files and photos, 2 for pictures of runs.
    """

    caption: Caption | None = None
    role: Role | None = None
    angle: Line = ""
    expression: Line = ""
    depth: int | None = Field(default=None, ge=0, le=100)
    control: Path | None = None


@dataclass(frozen=True)
class Source:
    """A picture that is to be added, and what is known of it.

    Attributes:
        read: its bytes; raises PersonaError or OSError.
        picture: its entry as far as it can be told; file and hash are not known yet.
        role: None: the split decides.
        control: files of its source pictures.
        subject: who is in it, by the manifest that it comes from.
    """

    label: str
    read: Callable[[], bytes]
    picture: Picture
    role: Role | None = None
    ref: PictureRef | None = None
    control: tuple[Path, ...] = ()
    subject: Subject = "unsaid"


@dataclass(frozen=True)
class PictureOutcome:
    """What became of one picture."""

    label: str
    outcome: Outcome
    sentence: str = ""


@dataclass(frozen=True)
class Added:
    """What became of all of them, and the dataset as it is now."""

    dataset: DatasetView
    outcomes: tuple[PictureOutcome, ...]

    def count(self, outcome: Outcome) -> int:
        """How many ended so."""
        return sum(one.outcome == outcome for one in self.outcomes)


_UNREAD = Picture(file="unread", sha256="0" * 64)


def sources_at(paths: Iterable[Path], given: AddInput) -> tuple[Source, ...]:
    """The pictures at these paths: files, folders of them, or the folder of a dataset with all that it says.

    Raises:
        UnknownName: there is nothing at a path.
        InvalidRequest: no permission, no picture there, or a manifest that can't be used.
    """
    found: list[Source] = []
    for path in paths:
        if (path / FILE_NAME).is_file():
            found += _of_dataset(path, given)
            continue
        require_pictures(path)
        for file in look_into(path):
            if not file.is_film:
                found.append(_of_file(file, given))
    return tuple(found)


def sources_of(
    session: Session, media: MediaStore, persona_id: int, refs: Sequence[PictureRef], given: AddInput
) -> tuple[Source, ...]:
    """A persona's pictures out of the library.

    Raises:
        UnknownName: one of them is not there, or another persona's.
    """
    photos = [ref.photo_id for ref in refs if ref.photo_id is not None]
    candidates = [ref.candidate_id for ref in refs if ref.candidate_id is not None]
    values = {"persona": persona_id, "photos": photos, "candidates": candidates}
    rows = {PictureRef(row.photo_id, row.candidate_id): row for row in rows_of(session, _LIBRARY, values)}
    missing = [ref for ref in refs if ref not in rows]
    if missing:
        raise UnknownName(
            f"The persona has no {missing[0]}.", hint="`photos list` and `candidate list` show what there is."
        )
    return tuple(_of_library(ref, rows[ref], media, given) for ref in dict.fromkeys(refs))


def add_pictures(
    scope: SessionScope,
    dataset_id: int,
    sources: Sequence[Source],
    say: Callable[[PictureOutcome], None] = lambda _outcome: None,
) -> Added:
    """Copy pictures into a dataset and note all of them at once. Blocks on the disk; use a thread.

    Pictures that can't be read are left out and told; after a kill none of them is in the dataset.

    Raises:
        UnknownName, InvalidRequest: see `open_dataset` and `require_as_fictional`.
        StorageError: the folder can't be written.
    """
    with scope() as session:
        opened = open_dataset(session, dataset_id)
        for source in sources:
            require_as_fictional(opened.row, source.subject, f"The dataset of {source.label}")
        present = {picture.sha256 for picture in opened.manifest.pictures}
    outcomes: list[PictureOutcome] = []
    taken: dict[str, tuple[Source, Prepared, Picture]] = {}
    for source in sources:
        try:
            made, picture = _take(opened.folder, source, opened.manifest.wheel)
        except (PersonaError, OSError) as problem:
            outcome = PictureOutcome(source.label, "failed", _reason(problem))
        else:
            again = made.sha256 in taken or made.sha256 in present
            outcome = PictureOutcome(source.label, "already there" if again else "added")
            if not again:
                taken[made.sha256] = (source, made, picture)
        outcomes.append(outcome)
        say(outcome)
    if taken:
        with scope() as session:
            _note(session, dataset_id, taken)
    return Added(settled(scope, dataset_id), tuple(outcomes))


def _take(folder: DatasetFolder, source: Source, wheel: str) -> tuple[Prepared, Picture]:
    if wheel == "editor" and not (source.control or source.picture.control):
        raise InvalidRequest(
            "An editor learns from pairs, and this picture has no source picture.",
            hint="Name the folder of the sources with --control; the names must be the same.",
        )
    made = prepare(source.read())
    controls = tuple(folder.keep(prepare(path.read_bytes())) for path in source.control)
    picture = source.picture.model_copy(
        update={"file": folder.keep(made), "sha256": made.sha256, "control": controls}
    )
    return made, picture


def _note(session: Session, dataset_id: int, taken: dict[str, tuple[Source, Prepared, Picture]]) -> None:
    opened = open_dataset(session, dataset_id, lock=True)
    known = {picture.sha256 for picture in opened.manifest.pictures}
    new = {sha256: one for sha256, one in taken.items() if sha256 not in known}
    before = looks(session, dataset_id)
    members = [
        Member(picture.sha256, picture.role, before.get(picture.sha256), picture.parent, picture.depth)
        for picture in opened.manifest.pictures
    ]
    members += [
        Member(sha256, source.role, made.look, picture.parent, picture.depth)
        for sha256, (source, made, picture) in new.items()
    ]
    roles = split(members)
    added = [
        picture.model_copy(update={"role": source.role or roles[sha256]})
        for sha256, (source, _made, picture) in new.items()
    ]
    manifest = opened.manifest.model_copy(update={"pictures": (*opened.manifest.pictures, *added)})
    rewrite(session, opened, manifest, "dataset.add", pictures=len(added))
    for image in session.exec(select(DatasetImage).where(DatasetImage.dataset_id == dataset_id)):
        if image.sha256 in new:
            source, made, _ = new[image.sha256]
            facts = {"look": made.look, "width": made.width, "height": made.height, "source": source.label}
            image.details = {**image.details, **facts}
            if source.ref is not None:
                image.photo_id, image.image_candidate_id = source.ref.photo_id, source.ref.candidate_id
            session.add(image)


def _of_file(file: Found, given: AddInput) -> Source:
    def read() -> bytes:
        if file.problem:
            raise InvalidRequest(f"It can't be read: {file.problem}.")
        return read_steadily(file.path, whole).value

    caption = given.caption if given.caption is not None else caption_beside(file.path)
    picture = _described(given, caption, given.depth or 0)
    return Source(shown(file.below), read, picture, given.role, control=_controls(file.path, given.control))


def _controls(result: Path, folder: Path | None) -> tuple[Path, ...]:
    """The source pictures of an edit: `name.png`, or `name_1.png`, `name_2.png` … in the folder."""
    if folder is None:
        return ()
    below = {found.path.stem: found.path for found in look_into(folder) if not found.problem}
    numbered = [below[stem] for number in (1, 2, 3) if (stem := f"{result.stem}_{number}") in below]
    return tuple(numbered) or ((below[result.stem],) if result.stem in below else ())


def _of_dataset(folder: Path, given: AddInput) -> list[Source]:
    manifest, _ = read_manifest(folder)
    sources = []
    for known in manifest.pictures:
        told = {"angle": given.angle, "expression": given.expression, "caption": given.caption}
        picture = known.model_copy(update={name: value for name, value in told.items() if value})
        path = folder / known.file
        control = tuple(folder / name for name in known.control)
        sources.append(
            Source(
                known.file,
                path.read_bytes,
                picture,
                given.role or known.role,
                control=control,
                subject=manifest.subject,
            )
        )
    return sources


def _of_library(ref: PictureRef, row: Any, media: MediaStore, given: AddInput) -> Source:
    def read() -> bytes:
        if row.problem:
            raise InvalidRequest(f"{str(ref).capitalize()} {row.problem}.")
        return media.get(row.media_key)

    caption = given.caption if given.caption is not None else clean(row.caption, keep_lines=False)
    depth = given.depth if given.depth is not None else (2 if ref.candidate_id is not None else 0)
    picture = _described(given, caption, depth).model_copy(update={"recipe": row.recipe})
    return Source(str(ref), read, picture, given.role, ref)


def _described(given: AddInput, caption: str, depth: int) -> Picture:
    words = {"caption": caption[:LONGEST], "angle": given.angle, "expression": given.expression}
    return _UNREAD.model_copy(update={**words, "depth": depth})


def _reason(problem: PersonaError | OSError) -> str:
    if isinstance(problem, PersonaError):
        return problem.message
    with suppress(TypeError, ValueError):
        return f"It can't be read: {os.strerror(problem.errno or 0)}."
    return "It can't be read."


_LIBRARY = """
SELECT p.id AS photo_id, CAST(NULL AS bigint) AS candidate_id, p.media_key, p.caption, '{}'::jsonb AS recipe,
       CASE WHEN p.deleted_at IS NOT NULL THEN 'was deleted' WHEN p.kind = 'video' THEN 'is a film'
            ELSE '' END AS problem
FROM photos p WHERE p.persona_id = :persona AND p.id = ANY (:photos)
UNION ALL
SELECT NULL, c.id, c.media_key, r.prompt,
       jsonb_build_object('run', r.name, 'prompt', r.prompt, 'seed', c.seed),
       CASE WHEN c.status = 'rejected' THEN 'was rejected' ELSE '' END
FROM image_candidates c JOIN pipeline_runs r ON r.id = c.run_id
WHERE c.persona_id = :persona AND c.id = ANY (:candidates)
"""
