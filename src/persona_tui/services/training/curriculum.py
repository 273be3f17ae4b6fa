"""The phases of a training: which pictures are learnt from first, such as heads and then the whole figure."""

from __future__ import annotations

from collections.abc import Sequence

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.manifest import Manifest
from persona_tui.gpu.training.run_file import Phase, RunFile

_FORM = 'Write each as NAME@FIRST_STEP=ANGLE,ANGLE: --phase "head@1=front,profile" --phase "all@400".'


def phases_of(words: Sequence[str]) -> tuple[Phase, ...]:
    """Phases as a command names them: `head@1=front,profile`, or `all@400` for pictures of every angle.

    Raises:
        InvalidRequest: one can't be read.
    """
    return tuple(sorted(map(_phase, words), key=lambda phase: phase.first_step))


def _phase(words: str) -> Phase:
    begins, _, angles = words.partition("=")
    name, _, first = begins.rpartition("@")
    if not name.strip() or not first.strip().isascii() or not first.strip().isdecimal() or int(first) < 1:
        raise InvalidRequest(f"{words!r} is no phase.", hint=_FORM)
    named = tuple(angle.strip() for angle in angles.split(",") if angle.strip())
    return Phase(name=name.strip()[:60], first_step=int(first), angles=named)


def require_pictures(run: RunFile, manifest: Manifest) -> None:
    """See that each phase of a recipe comes, and has pictures.

    Raises:
        InvalidRequest: one has none, or begins after the last step.
    """
    angles = {picture.angle for picture in manifest.of_role("train", "anchor")}
    known = ", ".join(sorted(angles - {""})) or "none: give them with `dataset add --angle`"
    for phase in run.phases:
        if phase.angles and not angles.intersection(phase.angles):
            raise InvalidRequest(
                f"The phase {phase.name} has no picture to learn from: none is of {', '.join(phase.angles)}.",
                hint=f"Angles of {manifest.name}: {known}.",
            )
        if phase.first_step > run.steps:
            raise InvalidRequest(
                f"The phase {phase.name} begins at step {phase.first_step}, after the last one, {run.steps}.",
                hint="Let it begin earlier, or name more steps.",
            )
