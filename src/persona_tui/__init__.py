"""persona-tui: one terminal application for one person who runs AI personas."""

__version__ = "0.1.0"
