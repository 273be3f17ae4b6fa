"""A screen of characters, as far as what Textual and tmux write needs it, with the placeholders on it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from persona_tui.terminal.placeholders import NUMERALS, PLACEHOLDER
from tests.terminal.decoders import KittyTerminal

_TOKEN = re.compile(
    r"\x1b\[(?P<private>[?>=]?)(?P<numbers>[\d;:]*)(?P<end>[ $]?[@-~])"
    r"|\x1b[_P\]][^\x1b\x07]*(?:\x1b\\|\x07)"
    r"|\x1b[()].|\x1b[ -~]"
    r"|(?P<char>[^\x1b])",
    re.DOTALL,
)


@dataclass
class TextScreen:
    """Columns and rows of cells; a cell is its characters and the number of its foreground colour."""

    columns: int
    rows: int
    cells: dict[tuple[int, int], tuple[str, int | None]] = field(default_factory=dict)
    _x: int = 0
    _y: int = 0
    _colour: int | None = None
    _saved: tuple[int, int] = (0, 0)
    _region: tuple[int, int] | None = None

    def feed(self, text: str) -> TextScreen:
        for token in _TOKEN.finditer(text):
            if token["char"]:
                self._put(token["char"])
            elif token["end"] and not token["private"]:
                self._control(token["end"], token["numbers"])
            elif token.group() == "\x1b7":
                self._saved = self._x, self._y
            elif token.group() == "\x1b8":
                self._x, self._y = self._saved
        return self

    def _put(self, char: str) -> None:
        if char == "\r":
            self._x = 0
        elif char == "\n":
            self._y = min(self._y + 1, self.rows - 1)
        elif char == "\b":
            self._x -= 1
        elif unicodedata.combining(char):
            before = self._x - 1, self._y
            text, colour = self.cells[before]
            self.cells[before] = text + char, colour
        elif char >= " ":
            self.cells[self._x, self._y] = char, self._colour
            self._x += 1

    def _control(self, end: str, told: str) -> None:
        numbers = [int(number or 0) for number in re.split("[;:]", told)]
        first = max(1, numbers[0])
        match end:
            case "H":
                self._y, self._x = first - 1, max(1, ([*numbers, 1])[1]) - 1
            case "A" | "B":
                self._y += first if end == "B" else -first
            case "C" | "D":
                self._x += first if end == "C" else -first
            case "G":
                self._x = first - 1
            case "d":
                self._y = first - 1
            case "J" if numbers[0] == 2:
                self.cells.clear()
            case "K" | "X":
                last = self.columns if end == "K" else self._x + first
                for x in range(self._x, last):
                    self.cells.pop((x, self._y), None)
            case "m":
                if numbers[0] in (0, 39) and len(numbers) == 1:
                    self._colour = None
                if (at := told.find("38;5;")) >= 0:
                    self._colour = int(re.match(r"\d+", told[at + 5 :])[0])  # type: ignore[index]

    def pictures(self, terminal: KittyTerminal) -> Mapping[int, tuple[int, int, Image.Image]]:
        """Id → column and row at which it stands, and the picture as its cells show it, in its own pixels."""
        corners: dict[int, set[tuple[int, int]]] = {}
        canvases: dict[int, NDArray[np.uint8]] = {}
        for (x, y), (text, image_id) in self.cells.items():
            if text[0] != PLACEHOLDER or len(text) < 3 or image_id not in terminal.fitted:
                continue
            row, column = NUMERALS.index(text[1]), NUMERALS.index(text[2])
            columns, rows = terminal.fitted[image_id]
            pixels = np.asarray(terminal.images[image_id].convert("RGB"))
            canvas = canvases.setdefault(image_id, np.zeros_like(pixels))
            height, width = pixels.shape[:2]
            part = np.s_[
                row * height // rows : (row + 1) * height // rows,
                column * width // columns : (column + 1) * width // columns,
            ]
            canvas[part] = pixels[part]
            corners.setdefault(image_id, set()).add((x - column, y - row))
        assert all(len(found) == 1 for found in corners.values()), "cells of one picture at two places"
        return {
            image_id: (*min(corners[image_id]), Image.fromarray(canvas))
            for image_id, canvas in canvases.items()
        }
