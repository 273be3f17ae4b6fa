"""A pipeline, its steps and what a check found, in lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.screens.runs_parts import Parts
from persona_tui.widgets.data_list import Cell
from persona_tui.widgets.marks import counted, dim, say

if TYPE_CHECKING:
    from persona_tui.services.generation.pipelines import PipelineDetail, PipelineView, StepView
    from persona_tui.services.generation.placeholders import Need
    from persona_tui.services.generation.workflow_check import StepFindings

PARTS = ("Pipeline", "Check", "Variables", "Worth a look")


def pipeline_cells(view: PipelineView) -> list[Cell]:
    """The cells of a pipeline in the list."""
    return [
        view.name,
        dim(f"v{view.version}"),
        str(len(view.steps)),
        str(view.runs) if view.runs else dim("–"),
        view.persona or dim("any"),
    ]


def step_cells(step: StepView) -> list[Cell]:
    """The cells of a step."""
    return [
        str(step.position),
        step.name,
        str(step.children_per_parent),
        str(step.top_k),
        dim(f"{step.timeout} s"),
    ]


def parts_of(
    detail: PipelineDetail, position: int | None, found: Sequence[StepFindings] | None, checking: bool
) -> Parts:
    """All about a pipeline; the variables of one step where `position` names it."""
    needs = detail.asked if position is None else detail.needs[position - 1]
    yield "Pipeline", list(_about(detail.pipeline))
    yield "Check", [say("busy", "Asking the servers…")] if checking else list(_found(found))
    yield "Variables", [_need(need) for need in needs]
    yield "Worth a look", [say("warn", warning) for warning in detail.warnings]


def _about(view: PipelineView) -> Iterable[Content]:
    if view.description:
        yield Content(view.description)
    whose = view.persona or "any persona"
    cluster = f", into {view.cluster}" if view.cluster else ""
    yield dim(f"Runs are for {whose}{cluster}; {counted(view.runs, 'run')} so far.")
    outputs: Mapping[str, str] = {
        step.name: step.output_node for step in view.steps if step.output_node is not None
    }
    if outputs:
        told = ", ".join(f"{name}: node {node}" for name, node in outputs.items())
        yield dim(f"Pictures come from {told}.")


def _found(found: Sequence[StepFindings] | None) -> Iterable[Content]:
    if found is None:
        yield dim("Not checked yet.")
        return
    if not found:
        yield say("warn", "No ComfyUI server is set.")
    for step in found:
        yield say("ok" if step.runs else "error", f"step {step.position}, {step.step}, on {step.endpoint}")
        for finding in step.findings:
            mark = "❌" if finding.severity == "fail" else "⚠️"
            yield Content.assemble(f"  {mark} {finding.sentence} ", (finding.hint, "$dim"))


def _need(need: Need) -> Content:
    whose = "set by the program" if need.built_in else "set by each run"
    name = Content.styled(f"{{{{{need.name}}}}}", "$dim" if need.built_in else "bold")
    return Content.assemble(name, (f"  {need.kind}, {whose}, {', '.join(need.places[:4])}", "$dim"))
