"""Changes of a dataset: captions, roles, drawn or not, pictures taken out, changes by hand taken over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import select

from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.gpu.training.manifest import FILE_NAME, Manifest, Picture, Role
from persona_tui.models.training import Dataset, DatasetImage
from persona_tui.services.training.captions import mended
from persona_tui.services.training.dataset_files import DatasetFolder, prepare, strays
from persona_tui.services.training.datasets import (
    DatasetView,
    Opened,
    SessionScope,
    locked_row,
    open_dataset,
    rewrite,
    settled,
)
from persona_tui.services.training.subjects import require_as_fictional


@dataclass(frozen=True)
class Adopted:
    """A dataset after its folder's own state was taken over, and what differed, in sentences."""

    dataset: DatasetView
    changes: tuple[str, ...]


def say_drawn(scope: SessionScope, dataset_id: int, drawn: bool) -> DatasetView:
    """Say whether a dataset's subject is drawn; further trainings measure likeness accordingly.

    Raises:
        UnknownName: no such dataset.
        InvalidRequest, StorageError: as `open_dataset`.
    """
    with scope() as session:
        opened = open_dataset(session, dataset_id, lock=True)
        manifest = opened.manifest.model_copy(update={"drawn": drawn})
        rewrite(session, opened, manifest, "dataset.drawn", drawn=drawn)
    return settled(scope, dataset_id)


def mend_captions(scope: SessionScope, dataset_id: int) -> tuple[DatasetView, int]:
    """Bring the trigger word into every caption exactly once, and write plain captions where there are none.

    Returns:
        The dataset, and how many captions changed.
    """

    def mend(picture: Picture, manifest: Manifest) -> Picture:
        caption = mended(picture.caption, manifest.trigger_word, manifest.class_word)
        return picture.model_copy(update={"caption": caption})

    return _changed(scope, dataset_id, None, mend, "dataset.captions")


def write_caption(scope: SessionScope, dataset_id: int, names: Sequence[str], caption: str) -> DatasetView:
    """Give pictures a caption.

    Raises:
        UnknownName: the dataset has no such picture.
    """
    changed = _changed(
        scope,
        dataset_id,
        names,
        lambda one, _: one.model_copy(update={"caption": caption}),
        "dataset.captions",
    )
    return changed[0]


def give_role(scope: SessionScope, dataset_id: int, names: Sequence[str], role: Role) -> DatasetView:
    """Hold pictures out, or let them be learnt from.

    Raises:
        UnknownName: the dataset has no such picture.
    """
    changed = _changed(
        scope, dataset_id, names, lambda one, _: one.model_copy(update={"role": role}), "dataset.roles"
    )
    return changed[0]


def remove_pictures(scope: SessionScope, dataset_id: int, names: Sequence[str]) -> tuple[DatasetView, int]:
    """Take pictures out; their files stay for the snapshots of earlier runs.

    Raises:
        UnknownName: the dataset has no such picture.
    """
    return _changed(scope, dataset_id, names, lambda _one, _: None, "dataset.remove")


def adopt(scope: SessionScope, dataset_id: int, folder: Path | None = None) -> Adopted:
    """Take over what was changed by hand: a moved folder, or an edited manifest.

    Who is in the pictures is never taken from a file.

    Args:
        folder: where the dataset lies now; None where it did.

    Raises:
        UnknownName: no such dataset.
        InvalidRequest: the folder holds no dataset or another one, its files do not fit, or its manifest says
            that somebody real is in a dataset that is said to be fictional.
        StorageError: the folder can't be written.
    """
    with scope() as session:
        row = locked_row(session, dataset_id)
        place = DatasetFolder((folder or Path(row.folder)).expanduser().absolute())
        # One folder may be written in several ways: by a link, or by "..".
        others = session.exec(select(Dataset.name, Dataset.folder).where(Dataset.id != dataset_id))
        target = place.path.resolve()
        other = next((name for name, path in others if Path(path).resolve() == target), None)
        if other is not None:
            raise InvalidRequest(
                f"{place.path} is the folder of another dataset, {other}.",
                hint=f"Name the folder that {row.name} was moved to.",
            )
        place.settle(row.manifest_sha256)
        manifest, found = place.read()
        if (manifest.name, manifest.wheel) != (row.name, row.wheel):
            raise InvalidRequest(
                f"{place.path} holds the dataset {manifest.name} ({manifest.wheel}),"
                f" not {row.name} ({row.wheel}).",
                hint="Name the folder of this one, or add its pictures with `dataset add`.",
            )
        require_as_fictional(row, manifest.subject, str(place.path))
        wrong = strays(place.path, manifest)
        if wrong:
            name, why = next(iter(wrong.items()))
            raise InvalidRequest(
                f"{len(wrong)} file{'s' * (len(wrong) > 1)} do not fit {FILE_NAME}, such as {name}: {why}.",
                hint="Add new pictures with `dataset add`, which notes their hashes.",
            )
        images = {
            image.sha256: image
            for image in session.exec(select(DatasetImage).where(DatasetImage.dataset_id == dataset_id))
        }
        changes = [f"It lies in {place.path} now."] if str(place.path) != row.folder else []
        changes += _differences(images, manifest) if found != row.manifest_sha256 else []
        row.folder, row.trigger_word, row.class_word = (
            str(place.path),
            manifest.trigger_word,
            manifest.class_word,
        )
        manifest = manifest.model_copy(update={"subject": row.subject})
        rewrite(session, Opened(row, place, manifest, found), manifest, "dataset.adopt", changes=changes)
        for image in session.exec(select(DatasetImage).where(DatasetImage.dataset_id == dataset_id)):
            if "look" not in image.details:
                made = prepare((place.path / image.file).read_bytes())
                image.details = {
                    **image.details,
                    "look": made.look,
                    "width": made.width,
                    "height": made.height,
                }
                session.add(image)
    return Adopted(settled(scope, dataset_id), tuple(changes))


def _differences(images: dict[str, DatasetImage], manifest: Manifest) -> list[str]:
    now = {picture.sha256: picture for picture in manifest.pictures}
    kept = [(images[sha256], now[sha256]) for sha256 in images.keys() & now.keys()]
    counts = {
        "came in": len(now.keys() - images.keys()),
        "went out": len(images.keys() - now.keys()),
        "got another caption": sum(image.caption != picture.caption for image, picture in kept),
        "got another role": sum(image.role != picture.role for image, picture in kept),
    }
    told = [f"{count} picture{'s' * (count > 1)} {words}." for words, count in counts.items() if count]
    return told or ["The manifest's other entries changed."]


def _changed(
    scope: SessionScope,
    dataset_id: int,
    names: Sequence[str] | None,
    change: Callable[[Picture, Manifest], Picture | None],
    action: str,
) -> tuple[DatasetView, int]:
    """Change some pictures or all; None takes a picture out."""
    with scope() as session:
        opened = open_dataset(session, dataset_id, lock=True)
        wanted = None if names is None else {_meant(opened.manifest, name) for name in names}
        pictures: list[Picture] = []
        count = 0
        for picture in opened.manifest.pictures:
            new: Picture | None = picture
            if wanted is None or picture.sha256 in wanted:
                new = change(picture, opened.manifest)
            count += new != picture
            if new is not None:
                pictures.append(new)
        if count:
            manifest = opened.manifest.model_copy(update={"pictures": tuple(pictures)})
            rewrite(session, opened, manifest, action, pictures=count)
    return settled(scope, dataset_id), count


def _meant(manifest: Manifest, name: str) -> str:
    """The hash of the picture that is meant: by its file's name, or the beginning of its hash."""
    found = [
        one.sha256
        for one in manifest.pictures
        if name in (one.file, Path(one.file).name) or (len(name) >= 6 and one.sha256.startswith(name))
    ]
    if len(found) != 1:
        raise UnknownName(
            f"The dataset has no picture {name}.", hint="`dataset status PERSONA NAME --pictures` lists them."
        )
    return found[0]
