"""All tables. Importing this package fills `metadata`."""

from persona_tui.models import (  # the modules register their tables on import
    budget,
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
    "budget",
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
