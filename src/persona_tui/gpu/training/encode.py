"""Latents of pictures and embeddings of captions, made by a process that ends and so frees its memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.pictures import opened
from persona_tui.gpu.training import masks
from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.buckets import Size, buckets_for, crop_of
from persona_tui.gpu.training.cache import Cache, Index, Sample, decided_by, key_of, part_hash
from persona_tui.gpu.training.folder import Status
from persona_tui.gpu.training.manifest import Picture, read_manifest
from persona_tui.gpu.training.memory import note_peak, peak
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.gpu.training.worker import Worker

if TYPE_CHECKING:
    from torch import Tensor

    from persona_tui.gpu.training.adapters.base import Adapter, Encoders

# Raise it when a family's way of encoding changes: what was encoded in the old way is done again.
TEMPLATE = 1
_BY_CONTENT = re.compile(r"[0-9a-f]{16}")
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


@dataclass(frozen=True)
class View:
    """A picture as one bucket shows it.

    Attributes:
        crop: left, top, right, bottom in the picture's pixels.
    """

    path: Path
    sha256: str
    crop: tuple[int, int, int, int]
    bucket: Size

    @property
    def facts(self) -> dict[str, Any]:
        """What its content depends on."""
        return {"picture": self.sha256, "crop": self.crop, "bucket": self.bucket}

    def shown(self) -> Image.Image:
        """The crop in the bucket's size, upright and in RGB."""
        return _opened(self.path).resize(self.bucket, Image.Resampling.LANCZOS, box=self.crop)


def encode(worker: Worker) -> Status:
    """Encode what is missing of a run's dataset.

    Raises:
        InvalidRequest: dataset, pictures or base model can't be used.
        Interrupted: the operator wants it to rest; what was encoded stays.
    """
    run = worker.folder.run()
    cache = Cache(worker.folder.cache)
    if cache.is_complete(run):
        return "encoded"
    manifest, found = read_manifest(run.dataset)
    if found != run.dataset_hash:
        raise InvalidRequest(f"{run.dataset} has changed since the run was planned.", hint="Plan it again.")
    pictures = manifest.pictures
    if not manifest.of_role("train", "anchor"):
        raise InvalidRequest("The dataset has no picture to learn from.", hint="Add pictures to it.")
    if run.mask_loss:
        masks.require_detector()
    encoder = Encoder(run, cache, worker)
    samples = []
    for number, picture in enumerate(pictures, 1):
        worker.obey()
        samples += list(encoder.samples_of(picture))
        worker.pulse.moved(0, "encoding")
        worker.log("encoded", done=number, of=len(pictures))
    encoder.close(worker)
    keys = sorted({key for sample in samples for key in _keys(sample)})
    index = Index(
        decided_by=decided_by(run),
        samples=tuple(samples),
        files={key: cache.hash_of(key) for key in keys},
        without_face=tuple(sorted(encoder.without_face)),
    )
    worker.insist(lambda: cache.write_index(index))
    if index.without_face:
        worker.log("no_face", files=index.without_face)
    return "encoded"


def _keys(sample: Sample) -> Iterator[str]:
    told = (sample.latents, sample.prompt, sample.empty, sample.class_prompt, *sample.control, sample.mask)
    yield from (key for key in told if key is not None)


class Encoder:
    """A family's encoders over one cache; loaded when the first thing is missing from it."""

    def __init__(self, run: RunFile, cache: Cache, worker: Worker) -> None:
        import torch

        torch.set_num_threads(run.threads)
        self._run, self._cache, self._worker = run, cache, worker
        self._adapter: Adapter = adapter_of(run.family)
        self._loaded: Encoders | None = None
        text = {name: part_hash(run.base / name) for name in self._adapter.text_parts}
        self._vae = {"family": run.family, "vae": part_hash(run.base / "vae")}
        self._text = {"family": run.family, "text": text, "dtype": run.dtype, "template": TEMPLATE}
        self.without_face: set[str] = set()

    def samples_of(self, picture: Picture) -> Iterator[Sample]:
        """Encode a picture in each of its buckets.

        Raises:
            InvalidRequest: it, or a source of it, is gone, changed or no picture.
        """
        run = self._run
        path = run.dataset / picture.file
        if _sha256(path) != picture.sha256:
            raise _changed(path)
        size = _size(path)
        for bucket in buckets_for(size, run.buckets):
            view = View(path, picture.sha256, crop_of(size, bucket), bucket)
            sources = [_source(run.dataset / name, bucket) for name in picture.control]
            latents = self._latents(view)
            words = class_words(picture.caption, run.trigger, run.class_prompt) if run.preservation else None
            yield Sample(
                picture=picture.sha256,
                file=picture.file,
                role=picture.role,
                angle=picture.angle,
                bucket=bucket,
                latents=latents,
                prompt=self._prompt(picture.caption, sources),
                empty=self._prompt("", sources),
                class_prompt=None if words is None else self._prompt(words, sources),
                control=tuple(self._latents(source) for source in sources),
                mask=self._mask(view, latents) if run.mask_loss else None,
            )

    def close(self, worker: Worker) -> None:
        """Let go of the encoders, and note what they took."""
        if self._loaded is not None:
            found = peak(self._loaded.device)
            worker.insist(lambda: note_peak(worker.folder, "encode", found))
            self._loaded.close()

    def _encoders(self) -> Encoders:
        import torch

        if self._loaded is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
            dtype = torch.bfloat16 if self._run.dtype == "bf16" else torch.float32
            self._loaded = self._adapter.load_encoders(self._run.base, dtype=dtype, device=device)
        return self._loaded

    def _latents(self, view: View) -> str:
        key = key_of("latents", **view.facts, **self._vae)
        if not self._cache.has(key):
            latents = self._adapter.encode_picture(self._encoders(), _pixels(view))
            self._keep(key, {"latents": latents})
        return key

    def _prompt(self, caption: str, sources: Sequence[View]) -> str:
        seen = [source.facts for source in sources]
        key = key_of("prompt", caption=caption, sources=seen, **self._text)
        if not self._cache.has(key):
            pictures = [_pixels(source) for source in sources]
            self._keep(key, self._adapter.encode_prompt(self._encoders(), caption, pictures))
        return key

    def _mask(self, view: View, latents: str) -> str | None:
        from persona_tui.gpu.faces import MODEL

        background = self._run.mask_background
        key = key_of("mask", **view.facts, detector=MODEL, background=background)
        if not self._cache.has(key):
            face = masks.face_of(view.shown())
            if face is None:
                self.without_face.add(view.path.name)
                return None
            height, width = self._cache.load(latents)["latents"].shape[-2:]
            self._keep(key, {"mask": masks.mask_of(face, (height, width), background)})
        return key

    def _keep(self, key: str, tensors: dict[str, Tensor]) -> None:
        self._worker.insist(lambda: self._cache.put(key, tensors))


def class_words(caption: str, trigger: str, words: str) -> str:
    """The caption of somebody of the class: its words stand where the trigger word stood.

    Of `photo of ohwx person` the class's own word goes along, so that it is no person person. A caption that
    does not have the trigger as a word of its own is left for the class's words alone.
    """
    if not trigger:
        return words
    named = re.compile(rf"(?<!\w){re.escape(trigger)}(?:\s+{re.escape(words)})?(?!\w)")
    return named.sub(lambda _: words, caption) if named.search(caption) else words


@lru_cache(maxsize=4)
def _opened(path: Path) -> Image.Image:
    """A picture, held as long as its buckets are made of it."""
    return opened(path)


def _size(path: Path) -> Size:
    """An upright picture's width and height.

    Raises:
        InvalidRequest: it is no picture.
    """
    try:
        return _opened(path).size
    except _UNREADABLE:
        raise InvalidRequest(
            f"{path} is no picture that can be read.", hint="Remove it from the dataset and plan again."
        ) from None


def _source(path: Path, bucket: Size) -> View:
    """A source picture of an edit, cut to its result's bucket so that both show the same places.

    Raises:
        InvalidRequest: it is no picture, or not the one that was added.
    """
    size, digest = _size(path), _sha256(path)
    # The manifest has no hash of it: it is named by its content.
    if _BY_CONTENT.fullmatch(path.stem) and not digest.startswith(path.stem):
        raise _changed(path)
    return View(path, digest, crop_of(size, bucket), bucket)


def _changed(path: Path) -> InvalidRequest:
    return InvalidRequest(
        f"{path} has changed since the dataset was made.",
        hint="Put the picture back, or make the dataset again.",
    )


def _sha256(path: Path) -> str:
    """A file's hash.

    Raises:
        InvalidRequest: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise InvalidRequest(
            f"{path} can't be read: {problem.strerror}.", hint="Put the picture back, or plan again."
        ) from None


def _pixels(view: View) -> Tensor:
    """(3, H, W) in [-1, 1]. Never mirrored: faces are not symmetric."""
    import torch

    pixels = torch.from_numpy(np.asarray(view.shown(), dtype=np.float32))
    return pixels.permute(2, 0, 1) / 127.5 - 1
