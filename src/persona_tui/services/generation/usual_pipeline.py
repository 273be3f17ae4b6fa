"""Which pipeline makes a persona's pictures where nobody names one."""

from __future__ import annotations

from sqlmodel import Session

from persona_tui.services.generation.pipelines import list_pipelines, pipeline_detail
from persona_tui.services.generation.run_loras import plan_loras
from persona_tui.services.loras.registry import list_loras

USUAL = "two-step"


def usual_pipeline(session: Session, persona_id: int | None) -> str:
    """Its name: `USUAL`, or where that can't use the persona's primary character LoRA the first that can.

    A run whose workflow is of another family leaves the LoRA out, and shows somebody else.
    """
    likenesses = {
        lora.id
        for lora in list_loras(session)
        for user in lora.users
        if user.persona_id == persona_id and user.primary and lora.model_type == "character"
    }
    if not likenesses:
        return USUAL
    names = sorted((pipeline.name for pipeline in list_pipelines(session)), key=lambda name: name != USUAL)
    return next((name for name in names if likenesses & _used(session, persona_id, name)), USUAL)


def _used(session: Session, persona_id: int | None, pipeline: str) -> set[int]:
    """The LoRAs that the persona's run of a pipeline would use."""
    detail = pipeline_detail(session, pipeline)
    names = [step.name for step in detail.pipeline.steps]
    plan = plan_loras(session, persona_id, None, list(zip(names, detail.workflows, strict=True)))
    return {use.lora_model_id for use in plan.loras}
