"""iTerm2's inline pictures (OSC 1337): https://iterm2.com/documentation-images.html."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from persona_tui.terminal.picture import scaled

if TYPE_CHECKING:
    from PIL.Image import Image


def encode(image: Image, columns: int, rows: int, *, width: int, height: int, quality: int = 85) -> str:
    """Draw the picture from the cursor's cell on, as a JPEG.

    Args:
        columns, rows: cells that it fills; it is stretched to them.
        width, height: pixels that are sent.
        quality: of the JPEG, 1 to 95.
    """
    file = io.BytesIO()
    scaled(image, width, height).save(file, "JPEG", quality=quality)
    data = file.getvalue()
    keys = f"inline=1;size={len(data)};width={columns};height={rows};preserveAspectRatio=0;doNotMoveCursor=1"
    return f"\x1b]1337;File={keys}:{base64.standard_b64encode(data).decode()}\x07"
