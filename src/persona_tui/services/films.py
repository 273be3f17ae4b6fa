"""Films: their facts, and the frame in their middle as a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from persona_tui.services.decoding import MAX_PIXELS, Unreadable

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

MOST_FRAMES = 2_000
"""So many are decoded from the keyframe before the middle at most; then the last of them is taken."""


@dataclass(frozen=True)
class FilmFacts:
    """What a film says about itself.

    Attributes:
        format: of the container: MP4 or MOV.
        width: pixels, as it is shown: after its rotation; height likewise.
        seconds: how long it runs.
        details: codec, frames per second, codec of the sound (None: silent).
    """

    format: str
    width: int
    height: int
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)


def middle_frame(film: Path | BytesIO) -> tuple[FilmFacts, Image.Image]:
    """The film's facts and the frame shown at half its time, upright.

    A film can only be entered at a keyframe, so it is decoded from the one before.

    Raises:
        Unreadable: no film, a damaged one, or one with too large frames.
    """
    import av

    av.logging.set_level(None)  # FFmpeg would write over the app
    try:
        # Opened here: FFmpeg takes a path for a URL, and not every file name is UTF-8.
        with film.open("rb") if isinstance(film, Path) else film as file, av.open(file, "r") as container:
            frame, seconds = _middle(container)
            shown: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
            picture = shown.rotate(frame.rotation, expand=True)
            return _facts(container, picture, seconds), picture
    except (av.FFmpegError, EOFError, ValueError, IndexError):
        raise Unreadable("That is no film that can be read.", hint="Use MP4 or MOV.") from None


def _middle(container: InputContainer) -> tuple[VideoFrame, float]:
    if not container.streams.video:
        raise Unreadable("There is no picture in the film, only sound.", hint="Use MP4 or MOV.")
    stream = container.streams.video[0]
    if stream.width * stream.height > MAX_PIXELS or not stream.width:
        raise Unreadable(f"The film has frames of {stream.width}×{stream.height} pixels, too many to handle.")
    base = float(stream.time_base or 0)
    start = (stream.start_time or 0) * base
    seconds = (stream.duration or 0) * base or (container.duration or 0) / 1_000_000
    middle = start + seconds / 2
    if base and seconds:
        container.seek(int(middle / base), stream=stream)
    chosen: VideoFrame | None = None
    for count, frame in enumerate(container.decode(stream), 1):
        if chosen is None or frame.time is None or frame.time <= middle:
            chosen = frame
        if frame.time is None or frame.time >= middle or count >= MOST_FRAMES:
            break
    if chosen is None:
        raise Unreadable("There is no frame in the film that can be read.", hint="Use MP4 or MOV.")
    return chosen, seconds


def _facts(container: InputContainer, picture: Image.Image, seconds: float) -> FilmFacts:
    stream = container.streams.video[0]
    sound = container.streams.audio
    rate = stream.average_rate
    brand = container.metadata.get("major_brand", "")
    return FilmFacts(
        format="MOV" if brand.strip() == "qt" else "MP4",
        width=picture.width,
        height=picture.height,
        seconds=round(seconds, 3),
        details={
            "codec": stream.codec_context.name,
            "frames_per_second": round(float(rate), 3) if rate else None,
            "sound": sound[0].codec_context.name if sound else None,
        },
    )
