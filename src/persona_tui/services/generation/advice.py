"""What to do about a job that failed, read from the words that it left."""

from __future__ import annotations

import re

_MISSING = (
    "Put it on the server, or name another one in the pipeline; `persona-tui pipeline check` tells all."
)
_WORKFLOW = "Mend the workflow, import it again and clone the run: a run keeps its pipeline's version."

_ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"out of memory|outofmemory|not enough memory|alloc",
        "The card's memory was full: end what else uses it, or make smaller pictures; then retry.",
    ),
    (
        r"took longer than",
        "Give the step a longer timeout in its pipeline, or see what slows the server down; then retry.",
    ),
    (
        r"server ended",
        "The server ends while it works on this, most often for want of memory: see its own log.",
    ),
    (r"does not have|has no node class|it has none|no such", _MISSING),
    (
        r"refused the key|\b40[13]\b",
        "Set comfyui.api_key to the server's key, or let the proxy pass you; then retry.",
    ),
    (r"guard|not allowed", "The guard refused it: clone the run with another prompt."),
    (r"upload of that size|\b413\b", "Start the server with a larger --max-upload-size; then retry."),
    (r"no space|disk", "Make room on the disk; then retry."),
    (
        r"does not answer|unreachable|refused the connection|can't be reached",
        "Start the server, or correct comfyui.urls; waiting jobs go on by themselves.",
    ),
    (
        r"no picture|no output",
        "See that the step's output node saves a picture each time; a cached answer may have none.",
    ),
    (r"^node .*\(|is linked to|rejected the workflow|class_type|placeholder|variable", _WORKFLOW),
)


def advice(words: str) -> str:
    """One sentence on what to do.

    Args:
        words: what the server, or the program, said of the failure.
    """
    said = words.lower()
    found = (what for pattern, what in _ADVICE if re.search(pattern, said))
    return next(found, "Retry; if it fails again, the server's own log says more.")
