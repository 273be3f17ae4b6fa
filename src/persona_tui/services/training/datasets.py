"""Datasets: rows that link a folder of training pictures to its persona, its consent and the library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import StringConstraints
from sqlalchemy import text
from sqlmodel import Session, col, select

from persona_tui.errors import DuplicateName, InvalidRequest, PersonaError, UnknownName
from persona_tui.gpu.training.manifest import Manifest, Picture, Role, Subject
from persona_tui.models.persona import Persona
from persona_tui.models.training import Dataset, DatasetImage
from persona_tui.services import events
from persona_tui.services.inputs import Input, Line, Name, told, validated
from persona_tui.services.safety import audit, consents
from persona_tui.services.training.dataset_files import DatasetFolder
from persona_tui.services.training.subjects import require_not_withdrawn
from persona_tui.text import clean, slug

SessionScope = Callable[[], AbstractContextManager[Session]]
Wheel = Literal["character", "editor"]
Word = Annotated[Line, StringConstraints(max_length=60)]


class DatasetInput(Input):
    """A dataset as the operator describes it.

    Attributes:
        trigger_word: None takes the persona's; an editor's captions are instructions and need none.
        consent_id: of the persona; makes the subject a real one.
        drawn: the subject is drawn; faces are not looked for.
    """

    name: Name
    wheel: Wheel = "character"
    subject: Subject = "unsaid"
    consent_id: int | None = None
    trigger_word: Word | None = None
    class_word: Word = "person"
    drawn: bool = False


@dataclass(frozen=True)
class DatasetView:
    """A dataset as it is shown.

    Attributes:
        subject: who is in it: `fictional`, `real` (then by a consent), or `unsaid`, which trains nothing.
        manifest_sha256: its content hash.
        pictures: how many there are of each role.
        runs: trainings that were made of it.
    """

    id: int
    persona_id: int
    persona: str
    name: str
    wheel: str
    subject: str
    consent_id: int | None
    trigger_word: str
    class_word: str
    folder: Path
    manifest_sha256: str
    pictures: Mapping[Role, int]
    runs: int
    created_at: datetime

    @property
    def label(self) -> str:
        """Persona and name, as commands take them."""
        return f"{self.persona}/{self.name}"


@dataclass(frozen=True)
class Opened:
    """A dataset whose folder and manifest are what the database says.

    Attributes:
        row: good within the session alone.
        sha256: the manifest's content hash.
    """

    row: Dataset
    folder: DatasetFolder
    manifest: Manifest
    sha256: str


def create_dataset(
    scope: SessionScope, root: Path, persona_id: int, values: DatasetInput | Mapping[str, Any]
) -> DatasetView:
    """Make an empty dataset: a folder below `root`, and its row.

    Raises:
        InvalidRequest: a value can't be used, there is no trigger word, or the consent does not fit.
        UnknownName: no such persona or consent.
        DuplicateName: the persona has one of that name.
        StorageError: the folder can't be made.
    """
    given = values if isinstance(values, DatasetInput) else validated(DatasetInput, values)
    with scope() as session:
        persona = _persona(session, persona_id)
        subject = _subject(session, persona, given)
        row = Dataset(
            persona_id=persona_id,
            name=given.name,
            wheel=given.wheel,
            subject=subject,
            consent_id=given.consent_id,
            trigger_word=_trigger(persona, given),
            class_word=given.class_word,
            folder=str(_free(root / slug(persona.name, "persona"), slug(given.name, "dataset"))),
        )
        session.add(row)
        with told(session, {"uq_datasets_persona_id_name": _taken(given.name)}):
            pass
        folder = DatasetFolder(Path(row.folder))
        folder.make()
        row.manifest_sha256 = folder.stage(_empty_manifest(row, persona.name, given.drawn))
        _note(session, row, "dataset.create", {"subject": subject, "consent": given.consent_id})
        dataset_id = row.id
    return settled(scope, dataset_id)


def list_datasets(session: Session, persona_id: int | None = None) -> tuple[DatasetView, ...]:
    """All datasets, or a persona's, by persona and name."""
    return _views(session, persona_id=persona_id)


def get_dataset(session: Session, dataset_id: int) -> DatasetView:
    """One dataset by its id.

    Raises:
        UnknownName: it is not there.
    """
    found = _views(session, dataset_id=dataset_id)
    if not found:
        raise _unknown(str(dataset_id))
    return found[0]


def find_dataset(session: Session, persona_id: int, name: str) -> DatasetView:
    """A persona's dataset by name.

    Raises:
        UnknownName: it has none of that name.
    """
    rows = session.exec(select(Dataset.id, Dataset.name).where(Dataset.persona_id == persona_id))
    ids = {known.lower(): dataset_id for dataset_id, known in rows}
    if name.strip().lower() not in ids:
        raise _unknown(clean(name, keep_lines=False))
    return get_dataset(session, ids[name.strip().lower()])


def open_dataset(session: Session, dataset_id: int, *, lock: bool = False) -> Opened:
    """A dataset with its manifest, which is the one that the database knows.

    Args:
        lock: nobody else changes it until the transaction ends.

    Raises:
        UnknownName: it is not there.
        InvalidRequest: its folder is gone, or the manifest was edited by hand.
        StorageError: the folder can't be written.
    """
    row = locked_row(session, dataset_id, lock=lock)
    folder = DatasetFolder(Path(row.folder))
    folder.settle(row.manifest_sha256)
    manifest, found = folder.read()
    if found != row.manifest_sha256:
        raise InvalidRequest(
            f"The manifest of {row.name} was edited by hand.",
            title="Manifest has changed",
            hint="`persona-tui dataset adopt PERSONA NAME` shows what changed and takes it over.",
        )
    return Opened(row, folder, manifest, found)


def rewrite(session: Session, opened: Opened, manifest: Manifest, action: str, **facts: Any) -> None:
    """Stage another manifest and write the rows that it stands for; `settled` after the commit ends it.

    Raises:
        StorageError: the folder can't be written.
    """
    row = opened.row
    _write_rows(session, row, manifest)
    row.manifest_sha256 = opened.folder.stage(manifest)
    session.add(row)
    session.flush()
    _note(session, row, action, facts)


def settled(scope: SessionScope, dataset_id: int) -> DatasetView:
    """Let the manifest that was committed take its place; the dataset as it is then."""
    with scope() as session:
        view = get_dataset(session, dataset_id)
    DatasetFolder(view.folder).settle(view.manifest_sha256)
    return view


def say_subject(
    scope: SessionScope, dataset_id: int, subject: Subject, consent_id: int | None = None
) -> DatasetView:
    """Say who is in a dataset's pictures.

    Raises:
        InvalidRequest: the persona is a real person and the dataset is said to be fictional; its consent was
            withdrawn, and no other one is named; the consent is withdrawn, run out, or for something else.
        UnknownName: no such dataset or consent.
    """
    with scope() as session:
        opened = open_dataset(session, dataset_id, lock=True)
        given = DatasetInput(name=opened.row.name, subject=subject, consent_id=consent_id)
        said = _subject(session, _persona(session, opened.row.persona_id), given)
        if consent_id is None:
            require_not_withdrawn(session, opened.row)
        opened.row.subject = said
        opened.row.consent_id = consent_id
        manifest = opened.manifest.model_copy(update={"subject": opened.row.subject})
        rewrite(session, opened, manifest, "dataset.subject", subject=subject, consent=consent_id)
    return settled(scope, dataset_id)


def _subject(session: Session, persona: Persona, given: DatasetInput) -> Subject:
    if given.consent_id is not None:
        if given.subject == "fictional":
            raise InvalidRequest(
                "A dataset is fictional or has a consent, not both.", hint="Leave one of them out."
            )
        consents.require_valid(session, persona.id, given.consent_id, "training")
        return "real"
    if given.subject == "fictional" and not persona.fictional:
        raise InvalidRequest(
            f"{persona.name} is a real person, so the dataset needs a consent.",
            hint="`persona-tui consent add` records one; name it with --consent.",
        )
    return given.subject


def _trigger(persona: Persona, given: DatasetInput) -> str:
    trigger = given.trigger_word if given.trigger_word is not None else persona.trigger_word
    if not trigger and given.wheel == "character":
        raise InvalidRequest(
            f"{persona.name} has no trigger word.",
            hint="Give a rare word with --trigger, such as ohwx_mira: the LoRA learns to answer to it.",
        )
    return trigger if given.wheel == "character" or given.trigger_word else ""


def _free(parent: Path, name: str) -> Path:
    """A folder of that name that is not there yet: what a moved or deleted dataset left stays as it is."""
    for number in range(1, 10_000):
        path = parent / (name if number == 1 else f"{name}-{number}")
        if not path.exists():
            return path
    raise InvalidRequest(f"{parent} has no room for another {name}.", hint="Choose another name.")


def _empty_manifest(row: Dataset, persona: str, drawn: bool) -> Manifest:
    return Manifest(
        name=row.name,
        persona=persona,
        wheel=row.wheel,
        subject=row.subject,
        trigger_word=row.trigger_word,
        class_word=row.class_word,
        drawn=drawn,
        created_at=datetime.now(UTC).replace(microsecond=0),
    )


def _write_rows(session: Session, row: Dataset, manifest: Manifest) -> None:
    """Bring the dataset's rows to what the manifest says; links and looks of those that stay are kept."""
    known = {image.sha256: image for image in session.exec(_images(row.id))}
    wanted = {picture.sha256: picture for picture in manifest.pictures}
    for sha256 in known.keys() - wanted.keys():
        session.delete(known[sha256])
    for sha256, picture in wanted.items():
        image = known.get(sha256) or DatasetImage(
            dataset_id=row.id, persona_id=row.persona_id, sha256=sha256, details={}
        )
        _fill(image, picture)
        session.add(image)


def _fill(image: DatasetImage, picture: Picture) -> None:
    image.file, image.caption, image.role = picture.file, picture.caption, picture.role
    image.angle, image.expression, image.depth = picture.angle, picture.expression, picture.depth
    told = picture.model_dump(mode="json", include={"parent", "recipe", "scores", "control"})
    image.details = {**image.details, **told}


def looks(session: Session, dataset_id: int) -> dict[str, int]:
    """Perceptual hashes of a dataset's pictures, by SHA-256."""
    images = session.exec(_images(dataset_id))
    return {image.sha256: image.details["look"] for image in images if "look" in image.details}


def _images(dataset_id: int) -> Any:
    return select(DatasetImage).where(DatasetImage.dataset_id == dataset_id)


def _persona(session: Session, persona_id: int) -> Persona:
    persona = session.get(Persona, persona_id)
    if persona is None:
        raise UnknownName("There is no such persona.", hint="`persona-tui persona list` shows them.")
    return persona


def locked_row(session: Session, dataset_id: int, *, lock: bool = True) -> Dataset:
    """A dataset's row, which nobody else changes until the transaction ends.

    Raises:
        UnknownName: it is not there.
    """
    query = select(Dataset).where(Dataset.id == dataset_id).execution_options(populate_existing=True)
    row = session.exec(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise _unknown(str(dataset_id))
    return row


def _taken(name: str) -> PersonaError:
    return DuplicateName(
        f"There is a dataset {name} already.",
        hint="Add to it, or choose another name, such as the next number.",
    )


def _unknown(name: str) -> UnknownName:
    return UnknownName(
        f"There is no dataset {name}.", hint="`persona-tui dataset status PERSONA` shows what there is."
    )


def _note(session: Session, row: Dataset, action: str, details: Mapping[str, Any]) -> None:
    audit.append(
        session,
        actor="operator",
        action=action,
        persona_id=row.persona_id,
        subject=f"datasets:{row.id}",
        content_sha256=row.manifest_sha256,
        details={"name": row.name, **details},
    )
    events.emit(session, "dataset", row.id)


_COUNTS = text(
    "SELECT d.id, p.name,"
    " (SELECT jsonb_object_agg(role, n) FROM (SELECT role, count(*) AS n FROM dataset_images i"
    "   WHERE i.dataset_id = d.id GROUP BY role) AS roles) AS pictures,"
    " (SELECT count(*) FROM training_runs r WHERE r.dataset_id = d.id) AS runs"
    " FROM datasets d JOIN personas p ON p.id = d.persona_id"
    " WHERE (CAST(:id AS bigint) IS NULL OR d.id = :id)"
    " AND (CAST(:persona AS bigint) IS NULL OR d.persona_id = :persona)"
)


def _views(
    session: Session, *, dataset_id: int | None = None, persona_id: int | None = None
) -> tuple[DatasetView, ...]:
    counted = {row.id: row for row in session.execute(_COUNTS, {"id": dataset_id, "persona": persona_id})}
    rows = session.exec(
        select(Dataset).where(col(Dataset.id).in_(counted)).execution_options(populate_existing=True)
    )
    views = [_view(row, counted[row.id]) for row in rows]
    return tuple(sorted(views, key=lambda view: (view.persona.lower(), view.name.lower())))


def _view(row: Dataset, counted: Any) -> DatasetView:
    return DatasetView(
        id=row.id,
        persona_id=row.persona_id,
        persona=counted.name,
        name=row.name,
        wheel=row.wheel,
        subject=row.subject,
        consent_id=row.consent_id,
        trigger_word=row.trigger_word,
        class_word=row.class_word,
        folder=Path(row.folder),
        manifest_sha256=row.manifest_sha256,
        pictures=counted.pictures or {},
        runs=counted.runs,
        created_at=row.created_at,
    )
