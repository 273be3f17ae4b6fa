"""What the signs after a lost answer mean: pure rules over what was read from Instagram.

Three signs are combined (publishing reference, A.7): the container's state, items of the account that were
not there before, and the quota used. No sign alone is trusted: states are read late or wrong, listings
show up minutes later, and the account's owner may post by phone meanwhile. An item is never taken for ours
because it is the newest. Where it shows no words, as stories do and reels under Instagram Login, it must be
of the kind that was sent, carry the same label, and have been made between the sending and the moment when
the container was known to be published.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from persona_tui.clients.instagram_facts import ContainerState, MediaFacts
from persona_tui.services.publishing.policy import CONTAINER_OVER, ReconcilePolicy


class Likeness(StrEnum):
    """How much an item speaks for being the post."""

    WORDS = "words"
    """It carries the post's caption or alternative text."""
    LABEL = "label"
    """It shows no words, but the same AI label."""
    OPEN = "open"
    """Nothing that can be read speaks for or against it."""


@dataclass(frozen=True)
class Expected:
    """What was sent.

    Attributes:
        caption, alt_text: '' where the kind of post has none.
        kind: single, carousel, story or reel.
        pictures: how many; more than one in a carousel alone.
    """

    caption: str
    alt_text: str
    is_ai_generated: bool
    kind: str = "single"
    pictures: int = 1


@dataclass(frozen=True)
class Reading:
    """What one look showed; None: that part could not be read.

    Attributes:
        candidates: items that may be the post, by id.
        quota: posts used of the account's quota.
    """

    at: datetime
    container: ContainerState | None
    candidates: Mapping[str, Likeness] | None
    quota: int | None

    def as_json(self) -> dict[str, Any]:
        """The reading as it is kept in `publish_replies`, but for its time."""
        candidates = None if self.candidates is None else {k: str(v) for k, v in self.candidates.items()}
        return {"container": self.container, "candidates": candidates, "quota": self.quota}

    @classmethod
    def from_json(cls, at: datetime, body: Mapping[str, Any]) -> Reading:
        """The reading that was kept."""
        candidates = body.get("candidates")
        state = body.get("container")
        return cls(
            at,
            ContainerState(state) if state is not None else None,
            None if candidates is None else {k: Likeness(v) for k, v in candidates.items()},
            body.get("quota"),
        )


@dataclass(frozen=True)
class Sent:
    """What is known of the sending.

    Attributes:
        made_at: when the container was made.
        quota_before: posts used right before the first sending.
    """

    made_at: datetime
    quota_before: int | None


@dataclass(frozen=True)
class Bound:
    """It is published, and it is this item."""

    media_id: str
    by: Likeness


@dataclass(frozen=True)
class SendAgain:
    """It is not published: the same container is sent again."""


@dataclass(frozen=True)
class Ask:
    """A person must decide."""

    reason: str


@dataclass(frozen=True)
class Wait:
    """Nothing can be said yet."""


Judgement = Bound | SendAgain | Ask | Wait


def likeness(item: MediaFacts, expected: Expected) -> Likeness | None:
    """How much the item speaks for being the post; None: it is another one."""
    if not _is_of_kind(item, expected):
        return None
    for shown, sent in ((item.caption, expected.caption), (item.alt_text, expected.alt_text)):
        if shown:
            return Likeness.WORDS if sent and _plain(shown) == _plain(sent) else None
    if item.is_ai_generated is None:
        return Likeness.OPEN
    if item.is_ai_generated != expected.is_ai_generated:
        return None
    return Likeness.LABEL if item.is_ai_generated else Likeness.OPEN


def _is_of_kind(item: MediaFacts, expected: Expected) -> bool:
    """Whether the item is such media as was sent; what it does not tell speaks for it."""
    products, types = _SHOWS_AS[expected.kind]
    if item.media_type not in types | {""} or item.media_product_type not in products | {""}:
        return False
    return expected.kind != "carousel" or item.children is None or len(item.children) == expected.pictures


_SHOWS_AS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "single": (frozenset({"FEED", "AD"}), frozenset({"IMAGE"})),
    "carousel": (frozenset({"FEED", "AD"}), frozenset({"CAROUSEL_ALBUM"})),
    "reel": (frozenset({"REELS", "FEED"}), frozenset({"VIDEO"})),
    "story": (frozenset({"STORY"}), frozenset({"IMAGE", "VIDEO"})),
}
"""Kind of post → `media_product_type` and `media_type` of what comes of it."""


def candidates_in(
    items: Iterable[MediaFacts],
    expected: Expected,
    *,
    known: Collection[str],
    since: datetime,
    until: datetime | None = None,
) -> dict[str, Likeness]:
    """The listed items that may be the post.

    Args:
        known: ids that were listed before the sending, are bound to other posts, or may be.
        since: the sending, less what Instagram's clock may be behind.
        until: when its container was known to be published, and what that clock may be ahead: what shows no
            words of ours and was made later is something else. None: that is not known.
    """
    found: dict[str, Likeness] = {}
    for item in items:
        if item.id in known or (item.timestamp is not None and item.timestamp < since):
            continue
        alike = likeness(item, expected)
        later = until is not None and item.timestamp is not None and item.timestamp > until
        if alike is not None and not (later and alike is not Likeness.WORDS):
            found[item.id] = alike
    return found


def judge(readings: Sequence[Reading], sent: Sent, now: datetime, policy: ReconcilePolicy) -> Judgement:
    """What the readings since the last sending say together, the newest last."""
    latest = readings[-1]
    ours = [media_id for media_id, alike in (latest.candidates or {}).items() if alike is Likeness.WORDS]
    if len(ours) == 1:
        return Bound(ours[0], Likeness.WORDS)
    if len(ours) > 1:
        return Ask(f"{len(ours)} items of the account carry this post's words: choose the one that it is.")
    over = now >= sent.made_at + CONTAINER_OVER
    signs = [reading for reading in readings if _is_published_sign(reading, sent)]
    if signs:
        return _published_somewhere(readings, signs[0].at, now, policy, over=over)
    if over:
        return Ask("Nobody could find out in 25 hours whether it was published. Look at the account.")
    if any(reading.candidates for reading in readings):
        return Wait()
    return _unpublished(readings, sent, policy)


def _published_somewhere(
    readings: Sequence[Reading], since: datetime, now: datetime, policy: ReconcilePolicy, *, over: bool
) -> Judgement:
    """Instagram counts it as published; which item is it?"""
    seen = readings[-1].candidates
    only = _only_candidate(readings[-1])
    if only is not None and _settled(readings, only, policy):
        return Bound(only, Likeness.LABEL)
    # More looks help as long as the listing is late or unreadable, or shows one that must only settle.
    patience = policy.ask_unseen if not seen or only is not None else policy.ask_published
    if over or now - since >= patience:
        return Ask("It is published, but its item on the account can't be told apart: adopt the right one.")
    return Wait()


def _unpublished(readings: Sequence[Reading], sent: Sent, policy: ReconcilePolicy) -> Judgement:
    """No sign speaks for publication: is that proven by now?"""
    if _spans(readings, policy, ContainerState.FINISHED, sent):
        return SendAgain()
    if _spans(readings, policy, ContainerState.EXPIRED, sent):
        return Ask("Its container expired, and nothing shows that it was published. Look at the account.")
    if _spans(readings, policy, ContainerState.ERROR, sent):
        return Ask("Instagram could not publish it, and nothing shows that it did. Look at the account.")
    return Wait()


def _spans(readings: Sequence[Reading], policy: ReconcilePolicy, state: ContainerState, sent: Sent) -> bool:
    """Whether each of the three parts was read often enough, over enough time, without anything new.

    Parts that could not be read in one look are made up for by others, but the newest look must be whole.
    """
    latest = readings[-1]
    whole = latest.container is state and latest.candidates is not None and latest.quota is not None
    if not whole or sent.quota_before is None:
        return False
    parts = (
        [reading.at for reading in readings if reading.container is state],
        [reading.at for reading in readings if reading.candidates is not None],
        [reading.at for reading in readings if reading.quota is not None],
    )
    return all(len(seen) >= policy.quiet_reads and seen[-1] - seen[0] >= policy.quiet_for for seen in parts)


def _is_published_sign(reading: Reading, sent: Sent) -> bool:
    more = reading.quota is not None and sent.quota_before is not None and reading.quota > sent.quota_before
    return more or reading.container is ContainerState.PUBLISHED


def _only_candidate(reading: Reading) -> str | None:
    """The one item that may be the post, if it at least carries the same label."""
    if reading.candidates is None or list(reading.candidates.values()) != [Likeness.LABEL]:
        return None
    return next(iter(reading.candidates))


def _settled(readings: Sequence[Reading], media_id: str, policy: ReconcilePolicy) -> bool:
    """Whether this item has been the only possible one for long enough."""
    since = readings[-1].at
    for reading in reversed(readings):
        if reading.candidates is not None and _only_candidate(reading) != media_id:
            break
        since = reading.at
    return readings[-1].at - since >= policy.settle


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


__all__ = [
    "Ask",
    "Bound",
    "Expected",
    "Judgement",
    "Likeness",
    "Reading",
    "SendAgain",
    "Sent",
    "Wait",
    "candidates_in",
    "judge",
    "likeness",
]
