"""Which LoRA files are trained on: what was changed after its training is refused."""

from __future__ import annotations

from collections.abc import Mapping

from persona_tui.errors import InvalidRequest


def require_unchanged(name: str, told: Mapping[str, str]) -> None:
    """See by a file's notes that it is as a training left it.

    Raises:
        InvalidRequest: it was merged or resized.
    """
    if told.get("modelspec.merged_from") or _was_resized(told):
        raise InvalidRequest(
            f"{name} was merged or resized; what is trained on it would drift.",
            hint="Start from the LoRA that a training gave.",
        )


def _was_resized(told: Mapping[str, str]) -> bool:
    """Whether kohya's resize_lora.py or merge scripts wrote it: they leave words and a dynamic rank."""
    words = f"{told.get('ss_training_comment', '')} {told.get('ss_network_dim', '')}".lower()
    return any(word in words for word in ("resize", "dynamic", "merge"))
