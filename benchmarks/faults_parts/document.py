"""docs/reliability.json, and the page made of it."""

from __future__ import annotations

from benchmarks.faults_parts.book import Book


def keep(book: Book, seed: int) -> None:
    """Write the rows of a full run."""


def write_document() -> None:
    """Write docs/reliability.md."""
