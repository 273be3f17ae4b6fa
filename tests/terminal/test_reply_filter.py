"""Replies vanish and keys stay, wherever the input happens to be cut."""

from __future__ import annotations

import itertools
import random

import pytest

from persona_tui.terminal.reply_filter import ReplyFilter

REPLIES = [
    "\x1b_Gi=31;OK\x1b\\",
    "\x1b_Gi=31;EINVAL:unsupported\x1b\\",
    "\x1bP>|kitty(0.26.5)\x1b\\",
    "\x1b[?62;22c",
    "\x1b[?1;2c",
    "\x1b[6;20;10t",
    "\x1b[4;864;1278t",
    "\x1b[8;48;142t",
]
KEYS = [
    "a",
    "1",
    "é",
    "\x1b[A",
    "\x1b[1;2R",
    "\x1b[3~",
    "\x1bOP",
    "\x1ba",
    "\r",
    "\x1b[<0;10;20M",
    "\x1b[200~pasted\x1b[201~",
    "\x1b[?2026;2$y",
    "\x1b[12;40R",
    "\x1b[97;5u",
    "\x1b[I",
]


def fed(pieces: list[str]) -> str:
    reply_filter = ReplyFilter()
    return "".join(reply_filter.feed(piece) for piece in pieces) + reply_filter.release()


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_between_keys_vanishes_at_every_cut(reply: str) -> None:
    text = f"x{reply}\x1b[Ay"
    for first, second in itertools.combinations(range(len(text) + 1), 2):
        assert fed([text[:first], text[first:second], text[second:]]) == "x\x1b[Ay"


@pytest.mark.parametrize("key", KEYS)
def test_a_key_passes_at_every_cut(key: str) -> None:
    text = f"x{key}{REPLIES[0]}{key}"
    for cut in range(len(text) + 1):
        assert fed([text[:cut], text[cut:]]) == f"x{key}{key}"


def test_all_replies_at_once_byte_by_byte_leave_only_the_keys() -> None:
    rng = random.Random(2)
    for _ in range(50):
        parts = [
            (rng.choice(REPLIES), False) if rng.random() < 0.5 else (rng.choice(KEYS), True)
            for _ in range(20)
        ]
        text = "".join(part for part, _ in parts)
        assert fed(list(text)) == "".join(part for part, is_key in parts if is_key)


def test_an_unfinished_sequence_is_held_and_given_back() -> None:
    reply_filter = ReplyFilter()
    assert reply_filter.feed("a\x1b_Gi=3") == "a"
    assert reply_filter.held == "\x1b_Gi=3"
    assert reply_filter.release() == "\x1b_Gi=3"
    assert reply_filter.held == ""
    assert reply_filter.feed("b") == "b"


def test_a_lone_escape_is_held_only_while_replies_may_come() -> None:
    reply_filter = ReplyFilter()
    assert reply_filter.feed("\x1b") == ""
    assert reply_filter.release() == "\x1b"
    reply_filter.hold_escape = False
    assert reply_filter.feed("\x1b") == "\x1b"
    assert reply_filter.held == ""


def test_an_endless_reply_is_not_held_for_ever() -> None:
    reply_filter = ReplyFilter()
    given = "".join(reply_filter.feed(piece) for piece in ["\x1b_G", *["x" * 100] * 50])
    assert given.startswith("\x1b_G")
    assert len(given + reply_filter.held) == 3 + 5000
    assert len(reply_filter.held) <= 1024
