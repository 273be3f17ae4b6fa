"""Fetching a picture or film as Meta's crawler does, and judging pictures by the rules of the feed."""

from __future__ import annotations

import io
import ipaddress

import httpx
from PIL import Image

from persona_tui.sandbox.instagram.errors import Refused, refused

FETCHER = "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"
MAX_BYTES = 8 * 1024 * 1024
MIN_ASPECT, MAX_ASPECT = 0.8, 1.91
MOST_PIXELS = 60_000_000
_FETCH_LIMIT, _FILM_LIMIT = 64 * 1024 * 1024, 512 * 1024 * 1024
_KNOWN = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000")


def make_fetcher() -> httpx.AsyncClient:
    """The crawler's client: no redirects, no proxies, no credentials."""
    headers = {"User-Agent": FETCHER, "Accept": "*/*"}
    return httpx.AsyncClient(headers=headers, follow_redirects=False, trust_env=False)


async def fetch(fetcher: httpx.AsyncClient, url: str, *, seconds: float, film: bool = False) -> bytes:
    """The bytes at a public address; the stand-in's world is loopback, nothing else is reached.

    Raises:
        Refused: with 9004/2207052 or, after a timeout, -2/2207003.
    """
    if not url.isascii() or not _is_loopback(url):
        raise unfetchable(url)
    content = bytearray()
    try:
        async with fetcher.stream("GET", url, timeout=seconds) as response:
            kind = response.headers.get("content-type", "")
            if response.status_code != 200 or not kind.startswith("video/" if film else "image/"):
                raise unfetchable(url)
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > (_FILM_LIMIT if film else _FETCH_LIMIT):
                    raise refused(36000, 2207004)
    except httpx.TimeoutException:
        raise refused(-2, 2207003) from None
    except httpx.HTTPError:
        raise unfetchable(url) from None
    return bytes(content)


def judge(content: bytes, *, story: bool = False) -> tuple[int, int]:
    """Refuse what breaks a rule of the feed: JPEG, 8 MiB, 4:5 to 1.91:1 (a story: any shape), RGB or grey.

    Returns:
        Width and height in pixels.

    Raises:
        Refused: 36000/2207004, 36001/2207005, 36003/2207009 or, when it is no picture, 9004/2207052.
    """
    if len(content) > MAX_BYTES:
        raise refused(36000, 2207004)
    Image.init()
    try:
        with Image.open(io.BytesIO(content), formats=_KNOWN) as picture:
            kind, mode, (width, height) = picture.format, picture.mode, picture.size
            if kind != "JPEG" or mode not in {"RGB", "L"}:
                raise refused(36001, 2207005)
            if width * height > MOST_PIXELS:
                raise refused(36000, 2207004)
            picture.load()
    except Refused:
        raise
    except Exception:  # decoders of foreign bytes raise anything
        raise refused(9004, 2207052) from None
    if not story and not MIN_ASPECT <= width / height <= MAX_ASPECT:
        raise refused(36003, 2207009)
    return width, height


def unfetchable(url: str) -> Refused:
    """9004/2207052, whose words repeat the whole address, as Meta's do."""
    return refused(9004, 2207052, f"The media could not be fetched from this URI: {url}")


def _is_loopback(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
        return parsed.scheme == "http" and ipaddress.ip_address(parsed.host).is_loopback
    except (ValueError, httpx.InvalidURL):
        return False
