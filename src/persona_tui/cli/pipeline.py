"""`persona-tui pipeline`: import, export, list, show, check."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli.frame import AsJson, group, session, show, table

if TYPE_CHECKING:
    from persona_tui.services.generation.pipeline_input import PipelineInput
    from persona_tui.services.generation.workflow_check import StepFindings

commands = group("Pipelines: chains of ComfyUI workflows.")

PipelineName = Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline's name.")]


@commands.command("import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(help="API-format workflows, or PNGs that ComfyUI saved, in the order of the steps."),
    ],
    name: Annotated[str, typer.Option(help="The pipeline's name; a new version when it exists.")],
    children: Annotated[int, typer.Option("--children", "-n", help="Pictures per parent in each step.")] = 3,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Pictures that a gate lets through.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Import a pipeline from ComfyUI's API-format files or pictures, or from one `pipeline export`."""
    from persona_tui.services.generation.pipelines import import_pipeline
    from persona_tui.services.generation.workflow_files import read_workflow

    documents = [read_workflow(file) for file in files]
    values = _exported(documents, name) or {
        "name": name,
        "steps": [
            {"name": file.stem, "workflow": document, "children_per_parent": children, "top_k": top_k}
            for file, document in zip(files, documents, strict=True)
        ],
    }
    with session() as opened:
        made = import_pipeline(opened, values)
    show(made, as_json, lambda: [f"✅ {made.name}, version {made.version}, {len(made.steps)} steps."])


def _exported(documents: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    whole = len(documents) == 1 and isinstance(documents[0].get("steps"), list)
    return {**documents[0], "name": name} if whole else None


@commands.command("export")
def export(name: PipelineName) -> None:
    """Print a pipeline as one JSON document that `pipeline import` reads."""
    from persona_tui.services.generation.pipelines import export_pipeline

    with session() as opened:
        print(export_pipeline(opened, name).model_dump_json(indent=2))


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """All pipelines."""
    from persona_tui.services.generation.pipelines import ensure_examples, list_pipelines

    with session() as opened:
        ensure_examples(opened)
        pipelines = list_pipelines(opened)
    show(
        pipelines,
        as_json,
        lambda: table(
            ["pipeline", "version", "steps", "description"],
            ([p.name, p.version, len(p.steps), p.description] for p in pipelines),
        ),
    )


@commands.command("show")
def show_(name: PipelineName, as_json: AsJson = False) -> None:
    """A pipeline's steps and the variables that they need."""
    from persona_tui.services.generation.pipelines import pipeline_detail

    with session() as opened:
        found = pipeline_detail(opened, name)
    show(
        found,
        as_json,
        lambda: [
            f"{found.pipeline.name}, version {found.pipeline.version}: {found.pipeline.description}",
            *(
                f"  {step.position}. {step.name}: {step.children_per_parent} per parent, top {step.top_k}"
                for step in found.pipeline.steps
            ),
            "variables: " + ", ".join(found.variables),
            *(f"⚠️  {warning}" for warning in found.warnings),
        ],
    )


@commands.command("check")
def check(
    name: PipelineName,
    endpoint: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="A server; otherwise all of the settings.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether the servers can run a pipeline: node classes, models, links, values. Exit 1 if not."""
    from persona_tui.services.generation.pipelines import export_pipeline

    with session() as opened:
        pipeline = export_pipeline(opened, name)
    found = asyncio.run(_check(pipeline, endpoint or []))
    show(found, as_json, lambda: _checked(found))
    if not all(step.runs for step in found):
        raise typer.Exit(1)


async def _check(pipeline: PipelineInput, endpoints: list[str]) -> list[StepFindings]:
    from persona_tui.clients.comfyui import ComfyUIClient
    from persona_tui.services.generation.workflow_check import check_pipeline
    from persona_tui.settings import load_settings

    comfyui = load_settings().comfyui
    found: list[StepFindings] = []
    for url in endpoints or comfyui.urls:
        # The key is for the servers of the settings; it is not shown to any other.
        key = comfyui.api_key if url.rstrip("/") in {known.rstrip("/") for known in comfyui.urls} else None
        async with ComfyUIClient(url, key, timeout=comfyui.timeout) as client:
            found += await check_pipeline(pipeline, client)
    return found


def _checked(found: list[StepFindings]) -> Iterator[str]:
    for step in found:
        icon = "✅" if step.runs else "❌"
        yield f"{icon} step {step.position}, {step.step}, on {step.endpoint}"
        for finding in step.findings:
            yield f"   {'❌' if finding.severity == 'fail' else '⚠️ '} {finding.sentence}"
            yield f"      {finding.hint}"
