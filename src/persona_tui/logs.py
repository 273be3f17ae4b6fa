"""The log: JSON lines in a rotating file of the operator's own, without secrets.

Everything that is logged, by structlog or by a library through `logging`, passes the same last
step: it is cleaned of control characters, stripped of secrets, and cut to a bounded length.
Nothing here raises: a full disk costs log lines, never the work that was being logged.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import logging
import logging.handlers
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import structlog
from structlog.typing import EventDict, Processor
from typing_extensions import override

from persona_tui.text import clean

REDACTED = "[redacted]"

# These write whole URLs and headers, with the tokens in them.
_SILENCED = ("httpx", "httpx2", "httpcore", "httpcore2", "websockets", "google_genai")

_LONGEST_TEXT = 20_000
_LONGEST_SECRET = 4_096
_SHORTEST_SECRET = 8
_DEEPEST = 8

_FILES = 5
_FILE_SIZE = 2_000_000  # bytes

# Every repetition that may start anywhere is bounded: these run over what hostile servers send.
_WORD = (
    r"(?:token|secret|passw(?:or)?d|passphrase|(?:api|access|private)[_-]?key"
    r"|authorization|cookie|signature|credential)"
)
_NAME = rf"[\w-]{{0,40}}{_WORD}[\w-]{{0,40}}"
_SECRET_NAME = re.compile(_WORD, re.IGNORECASE)

_BY_CONTEXT = (
    (r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", ""),
    # "access_token": "…" in JSON, in the repr of a dict, or escaped inside either
    (rf"""(\\*["']{_NAME}\\*["']\s?[:,]\s?b?\\*["'])[^"'\\]+""", r"\g<1>"),
    # Authorization: …, to the end of the line
    (
        r"\b((?:proxy-)?authorization|x-goog-api-key|x-api-key|(?:set-)?cookie)(\s?[:=]\s?)[^\r\n]+",
        r"\g<1>\g<2>",
    ),
    (r"\b(bearer\s)[\w.~+/=-]{6,}", r"\g<1>"),
    (r"\b(basic\s)[\w+/=-]{16,}", r"\g<1>"),
    # access_token=… in a query, a form or a connection string
    (rf"\b({_NAME}\s?=\s?)[^&\s\"'<>,;)]+", r"\g<1>"),
    # what is a secret only in a query: ?key=…, ?code=…, the parts of signed URLs
    (r"([?&](?:key|sig|code|x-(?:amz|goog)-[\w-]{1,40}|awsaccesskeyid)=)[^&\s\"'<>]+", r"\g<1>"),
)
_BY_SHAPE = (
    r"\bAIza[\w-]{30,}",
    r"\bEAA[A-Za-z0-9]{20,}",
    r"\bIG(?:AA|Q)[\w-]{20,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\b(?:sk|hf|ghp|gho|xox[bp])[-_][\w-]{20,}",
    r"\beyJ[\w-]{8,2000}\.[\w-]{8,2000}\.[\w-]{0,2000}",
)
_PATTERNS = (
    *((re.compile(pattern, re.IGNORECASE), kept + REDACTED) for pattern, kept in _BY_CONTEXT),
    # scheme://user:password@host
    (re.compile(r"\b([a-z][a-z0-9+.-]{0,20}://)[^\s/?#\"'<>@]*@", re.IGNORECASE), rf"\g<1>{REDACTED}@"),
    *((re.compile(pattern), REDACTED) for pattern in _BY_SHAPE),
)

_secrets: set[str] = set()
_secret_pattern: re.Pattern[str] | None = None


def register_secret(value: str | None) -> None:
    """Have this text masked wherever it turns up: as it is, quoted, escaped or in base64.

    Args:
        value: a token, key or password; anything shorter than 8 characters is ignored, since masking
            it would eat ordinary words.
    """
    global _secret_pattern
    if value is None or len(value) < _SHORTEST_SECRET:
        return
    data = value.encode("utf-8", "replace")
    forms = {value, clean(value), quote(value, safe=""), quote(value), quote_plus(value)}
    forms |= {json.dumps(value)[1:-1], repr(value)[1:-1], json.dumps(repr(value)[1:-1])[1:-1]}
    forms |= {encode(data).decode().rstrip("=") for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    _secrets.update(form for form in forms if len(form) >= _SHORTEST_SECRET)
    longest_first = sorted(_secrets, key=len, reverse=True)
    _secret_pattern = re.compile("|".join(re.escape(form) for form in longest_first))


def redact(text: str) -> str:
    """The text, cleaned of control characters, with every secret in it masked, at most 20,000 characters."""
    length = len(text)
    text = clean(text[: 4 * _LONGEST_TEXT])
    if _secret_pattern is not None:
        text = _secret_pattern.sub(REDACTED, text)
    # The overhang lets a secret that lies across the cut be seen whole before the cut is made.
    text = text[: _LONGEST_TEXT + _LONGEST_SECRET]
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    if len(text) > _LONGEST_TEXT or length > 4 * _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]}… ({length} characters)"
    return text


def _is_secret(name: str, value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return False
    if isinstance(value, int | float) and "token" in name.lower():
        return False  # a count of a language model's tokens
    return _SECRET_NAME.search(name) is not None


def _safe(value: Any, depth: int = 0) -> Any:
    """The value as plain JSON without secrets; what JSON doesn't know becomes its `str`."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact(value)
    try:
        if depth < _DEEPEST:
            if isinstance(value, Mapping):
                return {redact(str(name)): _safe_item(str(name), item, depth) for name, item in value.items()}
            if isinstance(value, list | tuple | set | frozenset):
                return [_safe(item, depth + 1) for item in value]
        if isinstance(value, bytes | bytearray):
            return f"{len(value)} bytes"
        return redact(str(value))
    except Exception:  # any object may be logged, and its __str__ may do anything
        return f"unprintable {type(value).__name__}"


def _safe_item(name: str, value: Any, depth: int) -> Any:
    return REDACTED if _is_secret(name, value) else _safe(value, depth + 1)


def _words_of(problem: BaseException) -> str:
    """The traceback with causes, without local variables."""
    try:
        return "".join(traceback.format_exception(problem))
    except Exception:  # the exception's own __str__ failed
        return f"unprintable {type(problem).__name__}"


def _tell_exception(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Turn exc_info into the field `exception`."""
    info = event.pop("exc_info", None)
    if isinstance(info, tuple):
        info = info[1]
    elif info is True:
        info = sys.exc_info()[1]
    if isinstance(info, BaseException):
        event["exception"] = _words_of(info)
    return event


def _mask_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Make every key and value safe to keep; the last step before rendering."""
    own = {"_record", "_from_structlog"}
    return {name: item if name in own else _safe_item(name, item, 0) for name, item in event.items()}


def _as_json(_logger: Any, _method: str, event: EventDict) -> str:
    """One line of JSON: time, level, event and logger first."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "event", "logger") if name in event}
    return json.dumps({**first, **event}, ensure_ascii=False)


def _as_words(_logger: Any, _method: str, event: EventDict) -> str:
    """One line for a person."""
    head = f"{event.pop('timestamp', '')}  {event.pop('level', ''):<8} {event.pop('event', '')}"
    exception = event.pop("exception", "")
    fields = "".join(f"  {name}={value}" for name, value in event.items())
    return f"{head}{fields}" + (f"\n{exception}" if exception else "")


class _LogFile(logging.handlers.RotatingFileHandler):
    """A rotating file that only its owner reads, that several processes may share, and that never raises."""

    def __init__(self, path: Path) -> None:
        self.lost = 0
        self.lost_since: float | None = None
        super().__init__(
            path,
            maxBytes=_FILE_SIZE,
            backupCount=_FILES - 1,
            encoding="utf-8",
            errors="backslashreplace",
            delay=True,
        )

    def _open(self) -> Any:
        folder = Path(self.baseFilename).parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            folder.chmod(0o700)
        file = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):
            os.fchmod(file, 0o600)
        return os.fdopen(file, "a", encoding=self.encoding, errors=self.errors)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; once lines can be written again, also one that says how many could not."""
        lost_before = self.lost
        try:
            self._follow_rotation()
            super().emit(record)
        except Exception:  # the folder is gone, read-only or full
            self.handleError(record)
        if lost_before and self.lost == lost_before:
            self._confess()

    def _confess(self) -> None:
        confession = logging.makeLogRecord(
            {
                "name": __name__,
                "levelno": logging.WARNING,
                "levelname": "WARNING",
                "msg": "log lines were lost",
                "lines": self.lost,
                "seconds": round(time.time() - (self.lost_since or 0.0), 1),
            }
        )
        self.lost, self.lost_since = 0, None
        super().emit(confession)

    def handleError(self, record: logging.LogRecord) -> None:
        """Count the line as lost; the default would write to the screen that the app is drawn on."""
        self.lost += 1
        self.lost_since = self.lost_since or record.created
        if self.stream is not None:
            with contextlib.suppress(OSError):
                self.stream.close()
            self.stream = None

    @override
    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Whether the file is full already; the default formats each line twice to foresee it."""
        return self._is_full()

    def doRollover(self) -> None:
        """Rotate, unless another process has just done so."""
        with self._alone():
            self._follow_rotation()
            if self._is_full():
                super().doRollover()

    def _is_full(self) -> bool:
        try:
            return Path(self.baseFilename).stat().st_size >= self.maxBytes
        except FileNotFoundError:
            return False

    def _follow_rotation(self) -> bool:
        """Let go of a file that another process has moved away; tells whether it was so."""
        if self.stream is None:
            return False
        try:
            moved = not os.path.samestat(Path(self.baseFilename).stat(), os.fstat(self.stream.fileno()))
        except FileNotFoundError:
            moved = True
        if moved:
            self.stream.close()
            self.stream = self._open()
        return moved

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        lock = os.open(f"{self.baseFilename}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


_handlers: list[logging.Handler] = []


def configure_logging(log_file: Path, *, level: str = "INFO", console: bool = False) -> None:
    """Send structlog, `logging` and warnings to a rotating JSON file; a second call replaces the first.

    The file is created at the first line, mode 0600, in a folder of mode 0700; five files of 2 MB are
    kept. Processes may share it.

    Args:
        log_file: the newest file.
        level: DEBUG, INFO, WARNING, ERROR or CRITICAL.
        console: also write to stderr: JSON, or words where stderr is a terminal. Never with the app.
    """
    handlers: list[logging.Handler] = [_LogFile(log_file)]
    handlers[0].setFormatter(_formatter(_as_json))
    if console:
        handlers.append(logging.StreamHandler())  # stderr
        handlers[1].setFormatter(_formatter(_as_words if sys.stderr.isatty() else _as_json))
    root = logging.getLogger()
    for old in _handlers:
        root.removeHandler(old)
        old.close()
    _handlers[:] = handlers
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a handler that fails would print onto the app's screen
    for name in _SILENCED:
        _silence(logging.getLogger(name))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _silence(logger: logging.Logger) -> None:
    """Keep this logger and its children from reaching any handler."""
    logger.disabled = True
    logger.propagate = False
    logger.setLevel(logging.CRITICAL + 1)
    logger.handlers[:] = [logging.NullHandler()]


def _formatter(render: Any) -> logging.Formatter:
    stamps: tuple[Processor, ...] = (
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            *stamps,
            _tell_exception,
            _mask_secrets,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            render,
        ],
    )
