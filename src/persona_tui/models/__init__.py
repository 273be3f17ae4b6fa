"""All tables. Importing this package fills `metadata`."""

from persona_tui.models import (  # the modules register their tables on import
    account,
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
    "account",
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
