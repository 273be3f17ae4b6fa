"""Instagram's errors as data: what each code and subcode means, and what to do about it.

HTTP status says nearly nothing (Graph answers 400 to almost all), and Meta's user texts come in the
account's language: only code and subcode are ever compared. Sources: Meta's error reference for content
publishing, and field reports of other publishing tools where Meta is silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum, auto

from persona_tui.errors import ClientError, KeyRejected, PersonaError, ServiceRefused


class InstagramError(ServiceRefused):
    """Instagram answered with an error.

    Attributes:
        fbtrace_id: Meta's name for the request, for its support.
        is_transient: Meta says that the same call may succeed later.
        user_message: Meta's words for a person, in the account's language, cleaned; for display only.
        regain_after: how long Instagram asks to wait, when its usage headers said so.
    """

    title = "Instagram said no"
    hint = "Look at the post's attempts; `persona-tui account check` asks Instagram again."

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: int | None = None,
        subcode: int | None = None,
        fbtrace_id: str | None = None,
        is_transient: bool = False,
        user_message: str = "",
        regain_after: timedelta | None = None,
    ) -> None:
        super().__init__(message, status=status, code=code, subcode=subcode)
        self.fbtrace_id = fbtrace_id
        self.is_transient = is_transient
        self.user_message = user_message
        self.regain_after = regain_after


class InstagramTokenRejected(InstagramError, KeyRejected):
    """Instagram no longer takes the account's token."""

    title = "Instagram token rejected"
    hint = "Connect the account again with `persona-tui account add`; its posts stay due."


class Step(StrEnum):
    """Where in a post's way the call stood."""

    CREATE = "create"
    """Making a container."""
    STATUS = "status"
    """Reading a container for which no publish call was ever sent."""
    PUBLISH = "publish"
    """`media_publish`."""
    READ = "read"
    """Any other read: the account, listings, and everything after a publish call was sent."""


class Verdict(StrEnum):
    """What the publisher does next."""

    RETRY = auto()
    """The same call again, later and less often."""
    RETRY_CREATE = auto()
    """A new container, after a pause; the media host is worth a look."""
    NEW_CONTAINER = auto()
    """This container is finished with: make another (never once a publish call was sent, R13)."""
    POLL = auto()
    """Not ready: read the container's status again, then publish the same one."""
    WAIT = auto()
    """Throttled: no call at all for the time given; calling on prolongs the throttle."""
    QUOTA = auto()
    """The day's posts are used up: wait until the oldest leaves the window. Not a failure."""
    CHECK_ACCESS = auto()
    """Token, permission or id is wrong: check the account first, then make a new container."""
    PAUSE_TOKEN = auto()
    """The token is dead: pause the account, keep its posts due, ask for a new login."""
    STOP = auto()
    """Instagram restricts the account: stop it and tell the operator."""
    FIX = auto()
    """This post can't go out as it is."""
    IGNORE = auto()
    """The read failed in a way that says nothing about the post."""
    AMBIGUOUS = auto()
    """It may have been published: never send again before it is reconciled."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What to do after a failed call.

    Attributes:
        verdict: what to do about this post.
        cause: what the error means by itself. Differs from `verdict` at the publish step, where a dead
            token also pauses the account while the post is reconciled.
        sentence: for the operator.
        wait: how long to leave the account alone, where that is known.
    """

    verdict: Verdict
    cause: Verdict
    sentence: str
    wait: timedelta | None = None


_A_DAY, _AN_HOUR = timedelta(hours=24), timedelta(hours=1)
_THROTTLED = "Instagram asks for fewer calls."
_NO_PERMISSION = "The token does not have the permission for this."
_LOGIN_OVER = "The account's token is no longer valid."
_LOGIN_CHECK = "Instagram wants the account's owner to log in and confirm."

# (code, subcode) → verdict and sentence; subcode None stands for all others of the code.
_TABLE: dict[tuple[int, int | None], tuple[Verdict, str]] = {
    (-2, 2207003): (Verdict.RETRY_CREATE, "Instagram's download of the picture took too long."),
    (-2, 2207020): (Verdict.NEW_CONTAINER, "The media container has expired."),
    (-2, None): (Verdict.RETRY_CREATE, "Instagram could not take the picture in."),
    (-1, 2207001): (Verdict.RETRY, "Instagram had an internal error."),
    (-1, 2207032): (Verdict.RETRY_CREATE, "Instagram could not make the media container."),
    (-1, 2207053): (Verdict.NEW_CONTAINER, "Instagram's upload failed for an unknown reason."),
    (-1, None): (Verdict.RETRY, "Instagram had an internal error."),
    (1, None): (Verdict.RETRY, "Instagram had an unknown error."),
    (2, None): (Verdict.RETRY, "Instagram's service is down for the moment."),
    (3, None): (Verdict.STOP, _NO_PERMISSION),
    (4, 2207051): (Verdict.STOP, "Instagram has restricted this activity: it suspects spam."),
    (4, None): (Verdict.WAIT, _THROTTLED),
    (9, None): (Verdict.QUOTA, "The account's posts for these 24 hours are used up."),
    (10, None): (Verdict.STOP, _NO_PERMISSION),
    (17, None): (Verdict.WAIT, _THROTTLED),
    (20, 1772107): (Verdict.AMBIGUOUS, "Instagram did the work but refused to describe it."),
    (24, 2207006): (Verdict.CHECK_ACCESS, "Instagram does not find the media: permission, token or id."),
    (24, 2207008): (Verdict.NEW_CONTAINER, "The media container is gone or has expired."),
    (24, None): (Verdict.CHECK_ACCESS, "Instagram does not find what was asked for."),
    (25, None): (Verdict.STOP, "The account is restricted: its owner must open the Instagram app."),
    (32, None): (Verdict.WAIT, _THROTTLED),
    (100, 33): (Verdict.CHECK_ACCESS, "The object does not exist, or the token may not see it."),
    (100, 2207023): (Verdict.FIX, "Instagram does not know this kind of media."),
    (100, 2207028): (Verdict.FIX, "A carousel needs two to ten pictures."),
    (100, 2207040): (Verdict.FIX, "The caption names more than 20 accounts."),
    (100, None): (Verdict.FIX, "Instagram refuses a parameter of this post."),
    (102, None): (Verdict.PAUSE_TOKEN, _LOGIN_OVER),
    (190, 458): (Verdict.PAUSE_TOKEN, "The account's owner has removed the app."),
    (190, 459): (Verdict.PAUSE_TOKEN, _LOGIN_CHECK),
    (190, 460): (Verdict.PAUSE_TOKEN, "The token died with a change of the account's password."),
    (190, 463): (Verdict.PAUSE_TOKEN, "The account's token has expired."),
    (190, 464): (Verdict.PAUSE_TOKEN, _LOGIN_CHECK),
    (190, 467): (Verdict.PAUSE_TOKEN, _LOGIN_OVER),
    (190, 492): (Verdict.PAUSE_TOKEN, "The account's owner has no role on its Page any more."),
    (190, None): (Verdict.PAUSE_TOKEN, _LOGIN_OVER),
    (341, None): (Verdict.WAIT, _THROTTLED),
    (352, None): (Verdict.FIX, "Instagram does not take this video format."),
    (368, None): (Verdict.STOP, "Instagram has blocked the account for a while."),
    (506, None): (Verdict.AMBIGUOUS, "Instagram sees a duplicate: it may be published already."),
    (613, None): (Verdict.WAIT, _THROTTLED),
    (9004, None): (Verdict.RETRY_CREATE, "Instagram could not fetch the picture from its address."),
    (9007, None): (Verdict.POLL, "The media is not ready to be published."),
    (36000, None): (Verdict.FIX, "The picture's file is too large."),
    (36001, None): (Verdict.FIX, "The picture's format is not JPEG as Instagram takes it."),
    (36003, None): (Verdict.FIX, "The picture's shape is outside 4:5 to 1.91:1."),
    (36004, None): (Verdict.FIX, "The caption is too long or has too many hashtags."),
    (80001, None): (Verdict.WAIT, _THROTTLED),
    (80002, None): (Verdict.WAIT, _THROTTLED),
}

# Subcodes whose code has but one meaning; a container's status names only the subcode.
_CODE_OF_SUBCODE = {
    2207052: 9004,
    2207027: 9007,
    2207004: 36000,
    2207005: 36001,
    2207009: 36003,
    2207010: 36004,
    2207026: 352,
    2207042: 9,
    2207050: 25,
}

# Stops that end by themselves.
_STOPS_FOR_A_DAY = frozenset({(4, 2207051), (368, None)})
# At a read after the publish call these speak of the read or the container, not of the post.
_SAYS_NOTHING_OF_THE_POST = frozenset(
    {
        Verdict.RETRY_CREATE,
        Verdict.NEW_CONTAINER,
        Verdict.POLL,
        Verdict.QUOTA,
        Verdict.CHECK_ACCESS,
        Verdict.FIX,
    }
)


def classify(error: BaseException, step: Step) -> Ruling:
    """What to do after `error` was raised by a call at `step`.

    At `Step.PUBLISH` anything is AMBIGUOUS except what surely left nothing on the wire: a client error
    with `sent=False`, and a refusal by the last look (any `PersonaError` that is no `ClientError`).
    """
    if _surely_not_sent(error):
        sentence = error.message if isinstance(error, PersonaError) else ""
        return Ruling(Verdict.RETRY, Verdict.RETRY, f"Nothing was sent. {sentence}")
    cause, sentence, wait = _meaning(error)
    if step is Step.PUBLISH:
        return Ruling(Verdict.AMBIGUOUS, cause, f"It may have been published. {sentence}", wait)
    if step is Step.READ and cause in _SAYS_NOTHING_OF_THE_POST:
        return Ruling(Verdict.IGNORE, cause, sentence, wait)
    return Ruling(cause, cause, sentence, wait)


def container_ruling(subcode: int | None) -> Ruling:
    """What to do about an unpublished container whose status is ERROR with this subcode."""
    for (_, known), (verdict, sentence) in _TABLE.items():
        if known is not None and known == subcode:
            return Ruling(verdict, verdict, sentence)
    if subcode in _CODE_OF_SUBCODE:
        verdict, sentence = _TABLE[_CODE_OF_SUBCODE[subcode], None]
        return Ruling(verdict, verdict, sentence)
    unknown = Verdict.NEW_CONTAINER
    return Ruling(unknown, unknown, "Instagram could not make the media ready, and does not say why.")


def is_known(code: int, subcode: int | None) -> bool:
    """Whether the table has a row for this pair, or for all subcodes of the code."""
    return _row(code, subcode) is not None


def sentence_for(code: int | None, subcode: int | None) -> str:
    """One sentence on what the pair means."""
    row = _row(code, subcode) if code is not None else None
    return row[1] if row else "Instagram gives a reason that is not known here."


def _surely_not_sent(error: BaseException) -> bool:
    if isinstance(error, ClientError):
        return not error.sent
    return isinstance(error, PersonaError)


def _meaning(error: BaseException) -> tuple[Verdict, str, timedelta | None]:
    if not isinstance(error, ServiceRefused) or error.code is None:
        if isinstance(error, KeyRejected):
            return Verdict.PAUSE_TOKEN, _LOGIN_OVER, None
        return Verdict.RETRY, "The call broke off without an answer that can be read.", None
    row = _row(error.code, error.subcode)
    if row is None:
        transient = isinstance(error, InstagramError) and error.is_transient
        verdict = Verdict.RETRY if transient else Verdict.FIX
        return verdict, f"Instagram answered with error {error.code}, which is not known here.", None
    verdict, sentence = row
    return verdict, sentence, _wait(error, verdict)


def _row(code: int, subcode: int | None) -> tuple[Verdict, str] | None:
    if 200 <= code <= 299:
        return Verdict.STOP, _NO_PERMISSION
    return _TABLE.get((code, subcode)) or _TABLE.get((code, None))


def _wait(error: ServiceRefused, verdict: Verdict) -> timedelta | None:
    if verdict is Verdict.WAIT:
        asked = error.regain_after if isinstance(error, InstagramError) else None
        return asked or _AN_HOUR
    if {(error.code, error.subcode), (error.code, None)} & _STOPS_FOR_A_DAY:
        return _A_DAY
    return None
