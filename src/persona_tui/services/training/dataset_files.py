"""A dataset's folder: pictures by content, and the manifest that is staged before the database commits."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from persona_tui.errors import InvalidRequest, StorageError
from persona_tui.gpu.training.manifest import (
    FILE_NAME,
    Manifest,
    as_bytes,
    read_manifest,
    sha256_of,
)
from persona_tui.services.decoding import decode, orientation_of
from persona_tui.services.library.near import perceptual_hash
from persona_tui.services.media import write_durably

PICTURES = "pictures"
SNAPSHOTS = "snapshots"
_AS_THEY_ARE = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
"""What a trainer reads without further libraries."""


@dataclass(frozen=True)
class Prepared:
    """A picture as the dataset keeps it: upright sRGB, in a format that every trainer reads.

    Attributes:
        sha256: of `data`.
        look: perceptual hash.
    """

    data: bytes
    sha256: str
    suffix: str
    width: int
    height: int
    look: int


def prepare(data: bytes) -> Prepared:
    """Decode a picture to its end; one that is turned, not sRGB or of a rarer format is written anew as PNG.

    Raises:
        Unreadable: no picture, a broken one, or one of over 120 megapixels.
    """
    facts, small = decode(data, 768)
    if facts.format not in _AS_THEY_ARE or facts.details or not _is_upright(data):
        _, whole = decode(data, max(facts.width, facts.height))
        out = io.BytesIO()
        whole.convert("RGB").save(out, "PNG", compress_level=4)
        data, suffix = out.getvalue(), "png"
    else:
        suffix = _AS_THEY_ARE[facts.format]
    digest = hashlib.sha256(data).hexdigest()
    return Prepared(data, digest, suffix, facts.width, facts.height, perceptual_hash(small))


def _is_upright(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as image:
        return orientation_of(image) == 1


class DatasetFolder:
    """The folder of one dataset. After a kill, too, its manifest is what the database committed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make the folder.

        Raises:
            StorageError: it can't be made.
        """
        try:
            (self.path / PICTURES).mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise StorageError(f"The folder {self.path} can't be made: {problem.strerror}.") from None

    def keep(self, picture: Prepared) -> str:
        """Put a picture in; its name below the folder. One that is there already stays.

        Raises:
            StorageError: disk full, read-only, no permission.
        """
        name = f"{PICTURES}/{picture.sha256[:16]}.{picture.suffix}"
        path = self.path / name
        if not (path.is_file() and path.stat().st_size == len(picture.data)):
            write_durably(path, picture.data)
        return name

    def stage(self, manifest: Manifest) -> str:
        """Write the next manifest beside the present one; its SHA-256, for the database to commit.

        Raises:
            StorageError: it can't be written.
        """
        data = as_bytes(manifest)
        digest = sha256_of(data)
        for abandoned in self.path.glob(f".{FILE_NAME}.*.next"):
            abandoned.unlink(missing_ok=True)
        write_durably(self._staged(digest), data)
        return digest

    def settle(self, committed: str) -> None:
        """Let a staged manifest that the database has committed take the place of the present one.

        Raises:
            StorageError: the folder can't be written.
        """
        try:
            self._staged(committed).replace(self.path / FILE_NAME)
        except FileNotFoundError:  # settled already, or the folder was moved
            return
        except OSError as problem:
            raise StorageError(f"{self.path} can't be written: {problem.strerror}.") from None

    def _staged(self, digest: str) -> Path:
        return self.path / f".{FILE_NAME}.{digest[:16]}.next"

    def read(self) -> tuple[Manifest, str]:
        """The manifest and its SHA-256.

        Raises:
            InvalidRequest: the folder is gone, or the manifest can't be used.
        """
        return read_manifest(self.path)

    def snapshot(self, manifest_sha256: str) -> Path:
        """A folder that holds the dataset as it is now and for good: the manifest, and its pictures as links.

        Raises:
            InvalidRequest: the manifest is another one by now.
            StorageError: it can't be written.
        """
        manifest, found = self.read()
        if found != manifest_sha256:
            raise InvalidRequest(f"The dataset in {self.path} changed meanwhile.", hint="Try again.")
        target = self.path / SNAPSHOTS / found[:16]
        if not (target / FILE_NAME).is_file():
            _copied(self.path, target, manifest, linked=True)
        return target

    def export(self, target: Path, manifest: Manifest) -> None:
        """Copy the dataset into a new folder, each caption once more as text beside its picture.

        Raises:
            InvalidRequest: there is something at `target` already.
            StorageError: it can't be written, or a picture is gone or another one.
        """
        if target.exists():
            raise InvalidRequest(f"{target} is there already.", hint="Name a folder that is not.")
        _copied(self.path, target, manifest, linked=False)


def _copied(source: Path, target: Path, manifest: Manifest, *, linked: bool) -> None:
    """Copy pictures and manifest under another name, and give the whole its own at the end."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        (part / PICTURES).mkdir(parents=True)
        for picture in manifest.pictures:
            for name in (picture.file, *picture.control):
                _placed(source / name, part / name, linked=linked)
            if not linked and picture.caption:
                (part / picture.file).with_suffix(".txt").write_text(picture.caption + "\n", "utf-8")
        write_durably(part / FILE_NAME, as_bytes(manifest))
        part.rename(target)
    except OSError as problem:
        raise StorageError(f"{target} can't be written: {problem.strerror}.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _placed(source: Path, target: Path, *, linked: bool) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_file():
        raise StorageError(
            f"The picture {source.name} is gone from {source.parent}.", hint="Put it back, or take it out."
        )
    if linked:
        with suppress(OSError):  # a file system without such links
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def strays(folder: Path, manifest: Manifest) -> dict[str, str]:
    """Pictures that are not what the manifest says: file → why. Reads all of them."""
    wanted = {picture.file: picture.sha256 for picture in manifest.pictures}
    # Control pictures are named by their content.
    wanted |= {name: Path(name).stem for picture in manifest.pictures for name in picture.control}
    wrong = {}
    for name, expected in wanted.items():
        try:
            with (folder / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as problem:
            wrong[name] = f"it can't be read ({problem.strerror})"
            continue
        if not digest.startswith(expected):
            wrong[name] = "its bytes are others than those that were added"
    return wrong
