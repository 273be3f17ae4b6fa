"""Writing somewhere on the screen without moving the cursor."""

from __future__ import annotations


def at(row: int, column: int, commands: str) -> str:
    """Carry out the commands with the cursor in that cell (from 0), then put the cursor back."""
    return f"\x1b7\x1b[{row + 1};{column + 1}H{commands}\x1b8"
