"""A post's pictures and films made ready in the pool; the same bytes in, the same file out, whoever asks."""

from __future__ import annotations

from asyncio import to_thread
from pathlib import Path

from persona_tui.services.media import MediaStore
from persona_tui.services.publishing import pooled
from persona_tui.services.publishing.hands import Pool
from persona_tui.services.publishing.prepare import PreparedPicture
from persona_tui.services.publishing.staging import Material, Source

PREPARE_SECONDS = 90.0
FILM_SECONDS = 600.0


class Preparer:
    """Makes the files of one post; nothing is done twice for the shape that a carousel shares.

    Raises from its calls: `PersonaError` (the picture can't be read, or its original is gone).
    """

    def __init__(self, media: MediaStore, pool: Pool, material: Material) -> None:
        self._media = media
        self._pool = pool
        self._material = material
        self._shape: float | None = None

    async def picture(self, source: Source) -> PreparedPicture:
        """The JPEG that goes out for a still."""
        format = self._material.format
        data = await to_thread(self._media.get, source.media_key)
        if format.kind == "story":
            given = (data, source.provenance, format.fit, source.faces)
            return await self._pool.run(pooled.prepare_story, *given, timeout=PREPARE_SECONDS)
        aspect = await self._shape_of_first() if format.kind == "carousel" and source.position > 1 else None
        return await self._feed(source, data, aspect)

    async def film(self, source: Source, folder: Path) -> Path:
        """The MP4 that goes out, made in `folder`."""
        format = self._material.format
        original = await to_thread(self._media.fetch, source.media_key, folder)
        target = folder / "film.mp4"
        given = (original, target, format.kind == "story", format.cover_ms)
        await self._pool.run(pooled.prepare_film, *given, timeout=FILM_SECONDS)
        return target

    async def _shape_of_first(self) -> float:
        """Width to height of the first picture as it goes out: Instagram crops the others to it."""
        if self._shape is None:
            first = self._material.sources[0]
            data = await to_thread(self._media.get, first.media_key)
            self._shape = (await self._feed(first, data, None)).aspect
        return self._shape

    async def _feed(self, source: Source, data: bytes, aspect: float | None) -> PreparedPicture:
        given = (data, source.provenance, aspect, self._material.format.fit, source.faces)
        picture = await self._pool.run(pooled.prepare, *given, timeout=PREPARE_SECONDS)
        if source.position == 1:
            self._shape = picture.aspect
        return picture


__all__ = ["Preparer"]
