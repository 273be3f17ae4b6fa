"""What clean() lets through must not move a cursor, change a colour or hide a character."""

from __future__ import annotations

import os
import pty
import random
import termios
import unicodedata
from pathlib import Path

import pytest

from persona_tui.text import clean

FORBIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}

SEQUENCES = [
    "\x1b[31m",
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x1b]52;c;ZXZpbA==\x1b\\",
    "\x1bPq#0~~\x1b\\",
    "\x1b_Ga=T,f=100;AAAA\x1b\\",
    "\x1b^private\x1b\\",
    "\x1bXstart\x1b\\",
    "\x1bc",
    "\x1b(0",
    "\x9b31m",
    "\x9d0;title\x9c",
    "\x90q~\x9c",
    "\x1b[?1049h",
    "\x1b#8",
]


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_an_escape_sequence_goes_with_its_payload(sequence: str) -> None:
    assert clean(f"before{sequence}after") == "beforeafter"


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_a_sequence_cut_or_broken_anywhere_leaves_no_control(sequence: str) -> None:
    for cut in range(len(sequence) + 1):
        for filler in ("", "\x1b", "\x00", "\u200b", "\x1b[", "\r"):
            assert_harmless(clean(sequence[:cut] + filler + sequence[cut:]))


def test_every_control_format_and_private_character_is_removed() -> None:
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character) not in FORBIDDEN_CATEGORIES or character in "\n\t":
            continue
        assert clean(f"a{character}b").strip("\n") in {"ab", "a\nb", "a"}, f"U+{code:04X}"


@pytest.mark.parametrize(
    "invisible", ["\u034f", "\u115f", "\u3164", "\uffa0", "\ufe01", "\U000e0101", "\U000e0041"]
)
def test_an_invisible_letter_or_selector_is_removed(invisible: str) -> None:
    assert clean(f"pay{invisible}pal") == "paypal"


@pytest.mark.parametrize(
    "text", ["👩‍🚀", "❤️‍🔥", "🏳️‍🌈", "1️⃣", "™", "©️", "👍🏽", "é", "नमस्ते", "日本語", "שלום", "مرحبا"]
)
def test_emoji_and_scripts_stay_as_they_are(text: str) -> None:
    assert clean(f"see {text} here") == f"see {text} here"


@pytest.mark.parametrize(
    "text", ["a\u200db", "日\u200d本", "a\ufe0fb", "\u200d\u200d", "❤\ufe0f\ufe0f\ufe0f!"]
)
def test_a_joiner_or_selector_away_from_emoji_is_removed(text: str) -> None:
    cleaned = clean(text)
    assert "\u200d" not in cleaned
    assert cleaned.count("\ufe0f") <= 1


def test_line_ends_of_every_kind_part_the_words() -> None:
    assert clean("a\r\nb\rc\x0bd\x0ce\x85f\u2028g\u2029h\ti") == "a\nb\nc\nd\ne\nf\ng\nh\ti"
    assert clean("  a\r\n\t b\u2028c ", keep_lines=False) == "a b c"


def test_cleaning_twice_changes_nothing_more() -> None:
    for text in random_texts(random.Random(7), 400):
        once = clean(text)
        assert clean(once) == once


def test_a_long_hostile_text_is_cleaned_in_one_pass() -> None:
    hostile = "\x1b[" * 200_000 + "\x1b]" + "0;" * 200_000
    assert_harmless(clean(hostile))


def test_random_bytes_and_sequences_leave_the_terminal_as_it_was(tmp_path: Path) -> None:
    """What is printed comes out of a real pty byte for byte: nothing was a command, nothing was answered."""
    printed = "\n".join(clean(text) for text in random_texts(random.Random(11), 300))
    controller, terminal = pty.openpty()
    try:
        before = termios.tcgetattr(terminal)
        received = through_pty(controller, terminal, printed.encode())
        assert termios.tcgetattr(terminal) == before
    finally:
        os.close(controller)
        os.close(terminal)
    assert received.replace(b"\r\n", b"\n") == printed.encode()
    assert_harmless(received.replace(b"\r\n", b"\n").decode())


def through_pty(controller: int, terminal: int, data: bytes) -> bytes:
    received = bytearray()
    for start in range(0, len(data), 1024):
        block = data[start : start + 1024]
        os.write(terminal, block)
        expected = len(block) + block.count(b"\n")
        while expected > 0:
            part = os.read(controller, expected)
            received += part
            expected -= len(part)
    return bytes(received)


def random_texts(rng: random.Random, count: int) -> list[str]:
    """Random bytes read as UTF-8 and Latin-1, and words with sequences, halves and odd characters between."""
    odd = [
        "\u202e",
        "\u200d",
        "\ufe0f",
        "👩",
        "\x00",
        "\x07",
        "\x1b",
        "\x9b",
        "\ud83d",
        "\U000e0041",
        "\r",
        "é",
    ]
    texts = []
    for number in range(count):
        if number % 3 == 0:
            texts.append(rng.randbytes(rng.randrange(400)).decode("latin-1"))
        elif number % 3 == 1:
            texts.append(rng.randbytes(rng.randrange(400)).decode("utf-8", "surrogateescape"))
        else:
            parts = [rng.choice([*SEQUENCES, *odd, "word "]) for _ in range(rng.randrange(30))]
            texts.append("".join(part[: rng.randrange(len(part)) + 1] for part in parts))
    return texts


def assert_harmless(text: str) -> None:
    for character in text:
        if character in "\n\t\u200d":
            continue
        assert unicodedata.category(character) not in FORBIDDEN_CATEGORIES, f"U+{ord(character):04X}"
