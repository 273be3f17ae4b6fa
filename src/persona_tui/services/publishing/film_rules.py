"""A film made fit for a reel or a story: held against the limits, and written anew without its metadata.

Pictures and sound are copied, not coded again. Writing anew puts the index (moov) first, as Instagram wants
it, and leaves out what cameras and generators write into films: places, devices, whole workflows.

Source of the limits: Meta, Instagram Platform, reference of `/{ig-id}/media`, reel and story specifications.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from persona_tui.errors import InvalidRequest, StorageError

if TYPE_CHECKING:
    from av.container import InputContainer

MAX_BYTES = 300_000_000
"""Meta says 300 MB and not whether it counts in thousands, so the smaller reading holds."""
LEAST_SECONDS = 3.0
MOST_SECONDS = 15 * 60.0
MOST_STORY_SECONDS = 60.0
LEAST_RATE, MOST_RATE = 23.0, 60.0
"""Frames per second."""
PICTURE_CODECS = frozenset({"h264", "hevc"})
SOUND_CODEC = "aac"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class FilmNotAccepted(InvalidRequest):
    """Instagram would refuse this film."""

    title = "Instagram would refuse it"
    hint = "Export the film again: MP4 with H.264 and AAC, 3 seconds to 15 minutes, 23 to 60 frames a second."


@dataclass(frozen=True)
class Facts:
    """What the limits are about; `sound` is None for a silent film."""

    seconds: float
    rate: float
    picture: str
    sound: str | None


def clean_film(film: Path, target: Path, *, story: bool, cover_ms: int | None = None) -> None:
    """Write the film as it goes out: MP4, index first, no metadata. It never lies in the memory as a whole.

    Args:
        target: where it is written to.
        story: it is for a story, which is shorter than a reel.
        cover_ms: the moment that is to be the cover.

    Raises:
        FilmNotAccepted: no film, or one that Instagram would refuse.
        StorageError: there is no room for it.
    """
    import av

    av.logging.set_level(None)  # FFmpeg would write over the app
    try:
        # Opened here: FFmpeg takes a path for a URL, and not every file name is UTF-8.
        with film.open("rb") as file, av.open(file, "r") as source:
            facts = _facts(source)
            for sentence in _faults(facts, film.stat().st_size, story=story, cover_ms=cover_ms):
                raise FilmNotAccepted(sentence)
            _write_anew(source, target)
    except FilmNotAccepted:
        raise
    except Exception as problem:  # FFmpeg's errors, and what damaged files make of its figures
        if isinstance(problem, OSError) and problem.errno in _NO_ROOM:
            raise StorageError("There is no room for the film on its way out.") from None
        if isinstance(problem, OSError) and not isinstance(problem, av.FFmpegError):
            raise
        raise FilmNotAccepted("That is no film that can be read to its end.") from None
    if (size := target.stat().st_size) > MAX_BYTES:
        raise FilmNotAccepted(_too_large(size))


def _facts(film: InputContainer) -> Facts:
    if not film.streams.video:
        raise FilmNotAccepted("There is no picture in the film, only sound.")
    picture, sound = film.streams.video[0], film.streams.audio
    return Facts(
        (film.duration or 0) / 1_000_000,
        float(picture.average_rate or 0),
        picture.codec_context.name,
        sound[0].codec_context.name if sound else None,
    )


def _faults(facts: Facts, size: int, *, story: bool, cover_ms: int | None) -> Iterator[str]:
    most = MOST_STORY_SECONDS if story else MOST_SECONDS
    if size > MAX_BYTES:
        yield _too_large(size)
    if not LEAST_SECONDS <= facts.seconds <= most:
        kind = "story" if story else "reel"
        yield f"The film runs {facts.seconds:.1f} s; a {kind} takes {LEAST_SECONDS:.0f} to {most:.0f} s."
    if not LEAST_RATE <= round(facts.rate, 2) <= MOST_RATE:
        wanted = f"{LEAST_RATE:.0f} to {MOST_RATE:.0f}"
        yield f"The film has {facts.rate:.2f} frames a second; Instagram takes {wanted}."
    if facts.picture not in PICTURE_CODECS:
        yield f"The film's pictures are coded as {facts.picture}; Instagram takes H.264 and HEVC."
    if facts.sound not in {None, SOUND_CODEC}:
        yield f"The film's sound is coded as {facts.sound}; Instagram takes AAC."
    if cover_ms is not None and cover_ms > facts.seconds * 1000:
        yield f"The cover is taken at {cover_ms / 1000:.1f} s, the film ends at {facts.seconds:.1f} s."


def _too_large(size: int) -> str:
    return f"The film has {size:,} bytes; Instagram takes {MAX_BYTES:,}."


def _write_anew(source: InputContainer, target: Path) -> None:
    """The first picture and sound streams in a fresh MP4. FFmpeg moves the index within a file only."""
    import av

    streams = [source.streams.video[0], *source.streams.audio[:1]]
    options = {"movflags": "faststart", "fflags": "bitexact"}
    with av.open(str(target), "w", format="mp4", options=options) as made:
        copies = {stream.index: made.add_stream_from_template(stream) for stream in streams}
        for copy in copies.values():
            copy.metadata.clear()
        for packet in source.demux(streams):
            if packet.dts is None:  # the demuxer's empty packet at the end
                continue
            packet.stream = copies[packet.stream.index]
            made.mux(packet)


__all__ = ["FilmNotAccepted", "clean_film"]
