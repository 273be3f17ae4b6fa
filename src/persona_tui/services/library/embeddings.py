"""Vectors of photos and candidates alike: which model makes them, and keeping them. Two models never meet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.gpu import clip, stand_in
from persona_tui.gpu.embedding import DIMENSIONS, Vector, Weights, embed_words
from persona_tui.services.jobs import Pool
from persona_tui.services.library.pictures import PictureRef
from persona_tui.settings import Settings

_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class EmbeddingModel:
    """The model that counts now.

    Attributes:
        hash: SHA-256 of its weights and of all else that decides on a vector; kept with each vector.
        speaks: it places words among pictures, so that a text can be searched for.
        notice: why it is only the stand-in; empty for CLIP.
        hint: what to do about that.
    """

    name: str
    hash: str
    speaks: bool
    weights: Weights
    notice: str = ""
    hint: str = ""


def current_model(settings: Settings) -> EmbeddingModel:
    """CLIP where its weights are on this machine, else the stand-in. Asks no network; reads the weights once.

    Raises:
        InvalidRequest: the stand-in's package is not installed.
    """
    path = settings.clip.checkpoint or clip_place(settings)
    file = _weights_in(path)
    if file is not None:
        parts = [file, path / clip.CONFIG] if path.is_dir() else [file]
        return EmbeddingModel(clip.NAME, _hash(parts), True, Weights("clip", path))
    own = stand_in.weights_file()
    return EmbeddingModel(
        stand_in.NAME,
        _hash([own], stand_in.PROJECTION),
        False,
        Weights("stand-in", own),
        f"CLIP's weights are not at {path}: a stand-in tells pictures apart, and knows no words.",
        f"Fetch {clip.ADDRESS} (605 MB) and put it at {path}.",
    )


def clip_place(settings: Settings) -> Path:
    """Where CLIP's weights are looked for, and put by a fetch, when no checkpoint is set."""
    return (settings.models.dir or settings.data_dir / "models") / clip.FILE


def may_fetch(settings: Settings) -> bool:
    """Whether CLIP's weights are to be fetched from the model hub."""
    wanted = settings.clip.checkpoint is None and settings.clip.download and settings.environment == "live"
    return wanted and not clip_place(settings).exists()


async def text_vector(pool: Pool, settings: Settings, words: str) -> Vector:
    """The unit vector of a text, in the space of the current model's pictures.

    Raises:
        NotAllowedNow: the current model knows no words; the hint says what to fetch, and where to put it.
    """
    model = current_model(settings)
    if not model.speaks:
        raise NotAllowedNow(model.notice, title="Search by text needs CLIP", hint=model.hint)
    vector: Vector = (await pool.run(embed_words, model.weights, [words]))[0]
    return vector


def store(
    session: Session, model: EmbeddingModel, vectors: Sequence[tuple[PictureRef, Sequence[float] | Vector]]
) -> None:
    """Keep vectors; one of the same picture and model is replaced, a picture that is gone is left out.

    Raises:
        InvalidRequest: a vector has not 512 numbers, or not the length 1.
    """
    rows = [(ref, _checked(vector)) for ref, vector in vectors]
    for statement, chosen in ((_PHOTOS, _photo), (_CANDIDATES, _candidate)):
        values = [
            {"id": chosen(ref), "model": model.name, "hash": model.hash, "vector": vector}
            for ref, vector in rows
            if chosen(ref) is not None
        ]
        if values:
            session.execute(text(statement), values)


def _checked(vector: Sequence[float] | Vector) -> str:
    """The vector as pgvector reads it."""
    numbers = np.asarray(vector, dtype=np.float32)
    if numbers.shape != (DIMENSIONS,):
        raise InvalidRequest(
            f"A vector of {numbers.size} numbers can't be kept: {DIMENSIONS} are.",
            hint="Use weights of CLIP ViT-B-32.",
        )
    if not abs(float(np.linalg.norm(numbers)) - 1) < _TOLERANCE:
        raise InvalidRequest("A vector whose length is not 1 can't be kept.", hint="Embed the picture anew.")
    return "[" + ",".join(map(repr, numbers.tolist())) + "]"


def _photo(ref: PictureRef) -> int | None:
    return ref.photo_id


def _candidate(ref: PictureRef) -> int | None:
    return ref.candidate_id


_STORE = """
INSERT INTO embeddings (persona_id, {column}, model, model_hash, vector)
SELECT p.persona_id, p.id, :model, :hash, CAST(:vector AS vector) FROM {table} p WHERE p.id = :id
FOR KEY SHARE
ON CONFLICT ({column}, model_hash) DO UPDATE SET vector = excluded.vector, persona_id = excluded.persona_id
"""
_PHOTOS = _STORE.format(table="photos", column="photo_id")
_CANDIDATES = _STORE.format(table="image_candidates", column="image_candidate_id")


def _weights_in(path: Path) -> Path | None:
    """The file of weights: the path itself, or the first one in that folder."""
    if path.is_file():
        return path
    if not path.is_dir() or not (path / clip.CONFIG).is_file():
        return None
    found = (file for suffix in _SUFFIXES for file in sorted(path.glob(f"*{suffix}")))
    return next(found, None)


def _hash(files: Sequence[Path], *words: str) -> str:
    """SHA-256 over the files' own and the words."""
    stats = [(file, file.stat()) for file in files]
    parts = [_file_hash(file, stat.st_size, stat.st_mtime_ns) for file, stat in stats]
    return hashlib.sha256("\n".join([*parts, *words]).encode()).hexdigest()


@lru_cache(maxsize=32)
def _file_hash(path: Path, _size: int, _modified: int) -> str:
    """Kept until size or time of the file changes: CLIP's file takes a second."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
