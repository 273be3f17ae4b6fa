"""All tables. Importing this package fills `metadata`."""

from persona_tui.models import (  # the modules register their tables on import
    library,
    lora,
    persona,
    pipeline,
    post,
    safety,
    system,
    training,
    voting,
    warning,
)
from persona_tui.models.base import metadata

__all__ = [
    "library",
    "lora",
    "metadata",
    "persona",
    "pipeline",
    "post",
    "safety",
    "system",
    "training",
    "voting",
    "warning",
]
