"""Reads pictures back out of what was written to a terminal, strictly: what a terminal would drop fails."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_COMMAND = re.compile(r"\x1b_G([^;\x1b]*)(?:;([^\x1b]*))?\x1b\\")
_SIXEL = re.compile(r'\x1bP0;1;0q"1;1;(\d+);(\d+)(.*?)\x1b\\', re.DOTALL)
_SIXEL_TOKEN = re.compile(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|([$-])")


@dataclass
class KittyTerminal:
    """The state that a terminal would have after these commands.

    Attributes:
        images: id → decoded picture.
        placements: (image id, placement id) → keys of the command that placed it.
        replies: what it answers: to commands that don't forbid it, and that a picture is not there (q=1).
        fitted: id → columns and rows that placeholders show it in.
        places: (image id, placement id) → row and column at which it was placed, from 0.
    """

    images: dict[int, Image.Image] = field(default_factory=dict)
    placements: dict[tuple[int, int], dict[str, str]] = field(default_factory=dict)
    replies: list[str] = field(default_factory=list)
    places: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    fitted: dict[int, tuple[int, int]] = field(default_factory=dict)
    _upload: tuple[int, str] | None = None

    def feed(self, text: str, at: tuple[int, int] = (0, 0)) -> KittyTerminal:
        assert _COMMAND.sub("", text) == "", "something that is no graphics command"
        for match in _COMMAND.finditer(text):
            keys = dict(pair.split("=") for pair in match[1].split(","))
            if keys.get("a") == "q":
                continue
            if keys.get("a") == "p":
                self.places[int(keys["i"]), int(keys["p"])] = at
            if "q" not in keys:
                self.replies.append(f"i={keys.get('i')};OK")
            self._run(keys, match[2] or "")
        return self

    def _run(self, keys: dict[str, str], payload: str) -> None:
        if "a" not in keys or keys["a"] == "t":
            self._transmit(keys, payload)
        elif keys["a"] == "p":
            if int(keys["i"]) not in self.images:
                assert keys["q"] == "1", "ENOENT, unheard"
                self.replies.append(f"i={keys['i']},p={keys['p']};ENOENT:no such picture")
            elif keys.get("U") == "1":
                self.fitted[int(keys["i"])] = int(keys["c"]), int(keys["r"])
            else:
                self.placements[int(keys["i"]), int(keys["p"])] = keys
        else:
            assert keys["a"] == "d"
            self._delete(keys)

    def _transmit(self, keys: dict[str, str], payload: str) -> None:
        assert len(payload) <= 4096
        if self._upload is None:
            if keys.get("m") == "0" and "i" not in keys:
                return
            assert (keys["f"], keys["t"]) == ("100", "d")
            self._upload = int(keys["i"]), ""
        else:
            assert set(keys) <= {"m", "q"}, "a command between the chunks"
        self._upload = self._upload[0], self._upload[1] + payload
        if keys.get("m", "0") == "0":
            number, data = self._upload
            self._upload = None
            try:
                image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
                image.load()
            except (OSError, SyntaxError):
                return  # EBADPNG, unheard
            self.images[number] = image

    def _delete(self, keys: dict[str, str]) -> None:
        for placement in list(self.placements):
            image, number = placement
            if keys["d"] == "a" or (image == int(keys["i"]) and number == int(keys.get("p", number))):
                del self.placements[placement]
        if keys["d"] == "I":
            self.images.pop(int(keys["i"]), None)
            self.fitted.pop(int(keys["i"]), None)


def decode_sixel(text: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(height, width, 3) of colours 0–255, and (height, width) telling which pixels were drawn."""
    match = _SIXEL.fullmatch(text)
    assert match is not None
    width, height, body = int(match[1]), int(match[2]), match[3]
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    drawn = np.zeros((height, width), dtype=bool)
    palette: dict[int, tuple[int, int, int]] = {}
    colour, x, band, position = -1, 0, 0, 0
    for token in _SIXEL_TOKEN.finditer(body):
        assert token.start() == position, f"not sixel: {body[position : token.start()]!r}"
        position = token.end()
        if token[1]:
            red, green, blue = (round(int(part) * 255 / 100) for part in token.group(2, 3, 4))
            palette[int(token[1])] = red, green, blue
        elif token[5]:
            colour = int(token[5])
        elif token[9]:
            x = 0
            band += token[9] == "-"
        else:
            length, bits = int(token[6] or 1), ord(token[7] or token[8]) - 63
            assert x + length <= width, "right of the picture"
            for bit in range(6):
                if bits >> bit & 1:
                    y = band * 6 + bit
                    assert y < height, "below the picture"
                    assert not drawn[y, x : x + length].any(), "a pixel drawn twice"
                    canvas[y, x : x + length] = palette[colour]
                    drawn[y, x : x + length] = True
            x += length
    assert position == len(body)
    return canvas, drawn
