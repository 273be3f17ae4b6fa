"""The public place from which Instagram fetches a picture: a folder that a web server shows, or a bucket.

Names are random, so that nobody finds a picture before it is published. A signed address is a secret
for as long as it lives: no error, log line or repr holds it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NoReturn
from urllib.parse import unquote, urlsplit

import httpx
import obstore
from obstore import exceptions
from obstore.store import LocalStore, S3Store

from persona_tui.clients.http import HttpService, HttpxWire, Progress
from persona_tui.errors import (
    ClientError,
    KeyRejected,
    ServiceTimeout,
    ServiceUnreachable,
    SettingsError,
    StorageError,
)
from persona_tui.passed import Passed, require_passed
from persona_tui.streams import parts

FETCHER = "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"
SIGNED_FOR = timedelta(hours=26)
"""A container lives 24 hours and may have to be made again in that time (R28)."""
SLOWEST = 250_000
"""Bytes a second (2 Mbit/s) below which a line counts as broken: what is long is waited for longer."""
UPLOAD_PART, AT_ONCE = 5 << 20, 2
"""Bytes of a part of a film's upload, the least that S3 takes, and parts under way together."""

Extension = Literal["jpg", "png", "mp4"]
_CONTENT_TYPES: Mapping[Extension, str] = {"jpg": "image/jpeg", "png": "image/png", "mp4": "video/mp4"}
_KEY = re.compile(r"[0-9a-f]{32}\.[a-z0-9]{1,5}")
_OS_ERROR = re.compile(r"os error ([0-9]{1,3})\)")
_FULL = frozenset({27, 28, 122})  # EFBIG, ENOSPC, EDQUOT


class MediaHostError(ClientError):
    """The media host does not take, show or delete a picture as it must."""

    title = "Media host failed"
    hint = "Check PERSONA_MEDIA__PUBLISH_URL and PERSONA_MEDIA__PUBLIC_BASE_URL with `persona-tui doctor`."


@dataclass(frozen=True, slots=True)
class HostedPicture:
    """A picture that can be fetched at `url`, which may be signed and is a secret then."""

    key: str
    url: str = field(repr=False)
    sha256: str
    size: int
    content_type: str = "image/jpeg"


class MediaHost:
    """Copies for Instagram's fetcher, in a folder (`file:///folder`) or a bucket (`s3://bucket/prefix`).

    Raises from its calls: `StorageError` (folder: full, read-only, no permission), `KeyRejected`,
    `ServiceUnreachable`, `ServiceTimeout`, `MediaHostError`.
    """

    def __init__(
        self,
        url: str,
        public_base_url: str | None,
        *,
        options: Mapping[str, Any] | None = None,
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Args:
        url: the store. Credentials, region and endpoint of S3 come from `options` or AWS_* variables.
        public_base_url: where the world sees it; None, for a bucket only: addresses are signed.
        options: passed to obstore's S3Store.
        timeout: seconds for a call without a body; a body is given more, by its length at `SLOWEST`.
        transport: another way to the network for `check`, for tests.

        Raises:
            SettingsError: the address is neither, or a folder without a public address.
        """
        self._base = public_base_url.rstrip("/") if public_base_url else None
        self._timeout = timeout
        self._transport = transport
        self._store: LocalStore | S3Store
        if url.startswith("s3://"):
            self._store = _bucket(url, options or {}, timeout)
        else:
            self._store = _folder(url)
            if self._base is None:
                raise SettingsError(
                    "A folder for published pictures needs the public address at which it is shown.",
                    hint="Set PERSONA_MEDIA__PUBLIC_BASE_URL.",
                )

    async def put(
        self, content: Passed[bytes] | Passed[Path], *, extension: Extension = "jpg"
    ) -> HostedPicture:
        """Store a picture, or a film from its file, under a new random name of 128 bits.

        Raises:
            InvalidRequest: the film's file is not what passed the guard any more.
        """
        require_passed(content)
        content_type = _CONTENT_TYPES[extension]
        key = f"{secrets.token_hex(16)}.{extension}"
        given: dict[str, Any] = {}
        if isinstance(self._store, S3Store):
            given["attributes"] = {"Content-Type": content_type, "Cache-Control": "no-store"}
        value = content.value
        size = value.stat().st_size if isinstance(value, Path) else len(value)
        try:
            async with asyncio.timeout(self._patience(size)):
                if isinstance(value, Path):
                    with value.open("rb") as film:
                        await obstore.put_async(
                            self._store,
                            key,
                            parts(film, content.sha256),
                            chunk_size=UPLOAD_PART,
                            max_concurrency=AT_ONCE,
                            **given,
                        )
                else:
                    await obstore.put_async(self._store, key, value, use_multipart=False, **given)
            url = await self._address(key)
        except TimeoutError:
            raise ServiceTimeout("The media host took too long to store a picture.") from None
        except (exceptions.BaseError, OSError) as problem:
            self._raise(problem, "store")
        return HostedPicture(key, url, content.sha256, size, content_type)

    async def check(self, hosted: HostedPicture) -> None:
        """Fetch the picture as Instagram will: one GET, no redirect, the right type, length and hash.

        Raises:
            MediaHostError: what is shown differs from what was stored.
        """
        split = urlsplit(hosted.url)
        base = f"{split.scheme}://{split.netloc}"
        headers = {"User-Agent": FETCHER, "Accept": "image/*, video/*"}
        wire = HttpxWire(base, headers, self._timeout, self._transport)
        service = HttpService("The media host", base, timeout=self._timeout, wire=wire)
        seen, progress = _Seen(), Progress(None)
        try:
            async with asyncio.timeout(self._patience(hosted.size)):
                with service.in_own_words(progress):
                    response = await wire.receive(hosted.url.removeprefix(base), progress, seen.take)
        except TimeoutError:
            raise ServiceTimeout("The media host did not answer in time.") from None
        finally:
            await service.aclose()
        problem = _difference(response, seen, hosted)
        if problem is not None:
            raise MediaHostError(
                f"Instagram could not fetch the picture: {problem}.", status=response.status_code
            )

    async def delete(self, key: str) -> None:
        """Remove a picture; one that is gone already is no error."""
        if not _KEY.fullmatch(key):
            raise MediaHostError("That is not the name of a hosted picture.", sent=False)
        try:
            await obstore.delete_async(self._store, key)
        except (exceptions.NotFoundError, FileNotFoundError):
            return
        except (exceptions.BaseError, OSError) as problem:
            self._raise(problem, "delete")

    def _patience(self, size: int) -> float:
        """Seconds for so many bytes."""
        return self._timeout + size / SLOWEST

    async def _address(self, key: str) -> str:
        if self._base is not None:
            return f"{self._base}/{key}"
        assert isinstance(self._store, S3Store)
        return await obstore.sign_async(self._store, "GET", key, SIGNED_FOR)

    def _raise(self, problem: Exception, act: str) -> NoReturn:
        """obstore's own words stay here: they may hold addresses, keys and whole answers."""
        if isinstance(self._store, LocalStore):
            raise _folder_error(problem, act) from None
        if isinstance(problem, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
            raise KeyRejected(f"The bucket does not let this key {act} pictures.") from None
        if isinstance(problem, exceptions.NotFoundError):
            raise MediaHostError("The bucket does not exist.") from None
        words = str(problem)  # its kind stands in the debug text alone
        if "kind: Connect," in words:
            raise ServiceUnreachable("The bucket can't be reached.", sent=False) from None
        if "kind: Timeout," in words:
            raise ServiceTimeout(f"The bucket took too long to {act} a picture.") from None
        raise MediaHostError(f"The bucket could not {act} a picture.") from None


def _folder(url: str) -> LocalStore:
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not path.is_absolute():
        raise SettingsError("The store for published pictures must be file:///folder or s3://bucket/prefix.")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise StorageError(f"The folder {path} can't be made: {problem.strerror}.") from None
    return LocalStore(prefix=path)


def _bucket(url: str, options: Mapping[str, Any], timeout: float) -> S3Store:
    parts = urlsplit(url)
    if not parts.netloc or parts.query or parts.fragment:
        raise SettingsError("The bucket's address must look like s3://bucket/prefix.")
    try:
        return S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            **{
                # Of one request: a picture whole, or one part of a film beside others.
                "client_options": {
                    "timeout": f"{timeout + AT_ONCE * UPLOAD_PART / SLOWEST:.0f}s",
                    "connect_timeout": "10s",
                },
                "retry_config": {"max_retries": 2, "retry_timeout": timedelta(seconds=timeout)},
                **options,
            },
        )
    except exceptions.BaseError:
        raise SettingsError("The bucket's settings can't be used; check the AWS_* variables.") from None


def _folder_error(problem: Exception, act: str) -> StorageError:
    found = _OS_ERROR.search(str(problem))
    number = int(found.group(1)) if found else getattr(problem, "errno", None)
    if number in _FULL:
        return StorageError(
            f"The media folder is full: a picture could not be {act}d.", hint="Free some space there."
        )
    if isinstance(problem, PermissionError | exceptions.PermissionDeniedError) or number in {1, 13, 30}:
        return StorageError(
            f"No permission to {act} pictures in the media folder.", hint="Check the folder's permissions."
        )
    return StorageError(f"A picture could not be {act}d in the media folder.")


class _Seen:
    """What was shown, of which nothing is kept but its length and hash."""

    def __init__(self) -> None:
        self.size = 0
        self.digest = hashlib.sha256()

    def take(self, part: bytes) -> None:
        self.size += len(part)
        self.digest.update(part)


def _difference(response: httpx.Response, seen: _Seen, hosted: HostedPicture) -> str | None:
    """What is wrong with the answer, in words; None when it is the picture."""
    if response.is_redirect:
        return "its address redirects"
    if response.status_code != 200:
        return f"its address answers {response.status_code}"
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != hosted.content_type:
        return f"it is shown as another type than {hosted.content_type}"
    if seen.size != hosted.size:
        return f"it has {seen.size:,} bytes instead of {hosted.size:,}"
    if seen.digest.hexdigest() != hosted.sha256:
        return "its content differs from what was stored"
    return None


__all__ = ["FETCHER", "SIGNED_FOR", "HostedPicture", "MediaHost", "MediaHostError"]
