"""The pipelines that come with the program; see `examples/` beside this file."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

EXAMPLES = ("one-step", "two-step", "no-model", "flux-portrait", "qwen-image", "qwen-edit")
"""Names of files; each is its pipeline's name."""
DELETED = "pipeline.delete"
"""The audit trail's word for a pipeline that the operator deleted; such an example does not come back."""


def example(name: str) -> dict[str, Any]:
    """One example as `import_pipeline` takes it."""
    found: dict[str, Any] = json.loads((files(__package__) / "examples" / f"{name}.json").read_text("utf-8"))
    return found
