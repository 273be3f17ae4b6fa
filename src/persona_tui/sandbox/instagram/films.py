"""Judging a film by the rules of reels: MP4 or MOV, 3 s to 15 min, 23 to 60 fps, H.264 or HEVC."""

from __future__ import annotations

import io

from persona_tui.sandbox.instagram.errors import refused

MAX_BYTES = 300 * 1024 * 1024
LEAST_SECONDS, MOST_SECONDS = 3.0, 15 * 60.0
MOST_STORY_SECONDS = 60.0
LEAST_RATE, MOST_RATE = 23.0, 60.0


def judge(content: bytes, *, story: bool) -> None:
    """Refuse what breaks a rule.

    Raises:
        Refused: 352/2207026.
    """
    import av

    try:
        with av.open(io.BytesIO(content), "r") as film:
            video, sound = film.streams.video[0], film.streams.audio
            seconds = (film.duration or 0) / 1_000_000
            rate = float(video.average_rate or 0)
            codecs = {video.codec_context.name, *(one.codec_context.name for one in sound)}
            good = (
                "mp4" in film.format.name
                and len(content) <= MAX_BYTES
                and LEAST_SECONDS <= seconds <= (MOST_STORY_SECONDS if story else MOST_SECONDS)
                and LEAST_RATE <= rate <= MOST_RATE
                and codecs <= {"h264", "hevc", "aac"}
                and 0 <= content.find(b"moov") < content.find(b"mdat")
            )
    except Exception:  # decoders of foreign bytes raise anything
        raise refused(352, 2207026) from None
    if not good:
        raise refused(352, 2207026)
