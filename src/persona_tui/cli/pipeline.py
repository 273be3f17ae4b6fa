"""`persona-tui pipeline`: import, export, list, show, check, edit, set, delete."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from persona_tui.cli.frame import AsJson, group, note, resources, session, show, table
from persona_tui.cli.pipeline_change import PipelineName, delete, edit, set_

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.generation.declared import Declared
    from persona_tui.services.generation.pipelines import PipelineDetail
    from persona_tui.services.generation.workflow_check import StepFindings

SOON = 3.0
"""Seconds that an import waits for a server which it does not need; it only tells the variables' kinds."""

commands = group("Pipelines: chains of ComfyUI workflows.")
commands.command("edit")(edit)
commands.command("set")(set_)
commands.command("delete")(delete)

Endpoints = Annotated[
    list[str] | None,
    typer.Option("--endpoint", metavar="URL", help="A ComfyUI server; otherwise those of the settings."),
]


@commands.command("import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(help="Workflows that ComfyUI saved or exported, or PNGs, in the order of the steps."),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            help="The pipeline's name, or the one in its file; a new version when it exists.",
            show_default=False,
        ),
    ] = None,
    children: Annotated[int, typer.Option("--children", "-n", help="Pictures per parent in each step.")] = 3,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Pictures that a gate lets through.")] = 1,
    timeout: Annotated[int, typer.Option(help="Seconds that one picture may take.")] = 600,
    persona: Annotated[str | None, typer.Option(help="Default persona of its runs.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Default cluster of its runs.")] = None,
    endpoint: Endpoints = None,
    as_json: AsJson = False,
) -> None:
    """Import a pipeline from workflows or pictures of ComfyUI, or from one `pipeline export`."""
    from persona_tui.services.generation.pipeline_files import from_documents, in_api_format
    from persona_tui.services.generation.pipelines import import_pipeline, pipeline_detail
    from persona_tui.services.generation.workflow_files import read_workflow

    documents = [(file.stem, read_workflow(file)) for file in files]
    defaults = {"name": name, "children_per_parent": children, "top_k": top_k, "timeout": timeout}
    file = from_documents(documents, defaults)
    around = {"persona": persona, "cluster": cluster}
    named = {field: value for field, value in around.items() if value is not None}
    with resources() as opened:
        declared = asyncio.run(_declared(opened, endpoint, needed=file.asks_for_server))
        if file.asks_for_server and declared is not None:
            file = in_api_format(file, declared)
        with opened.database.session_scope() as writing:
            made = import_pipeline(writing, {**file.values, **named}, declared)
            warnings = (*file.warnings, *pipeline_detail(writing, made.id).warnings)
    for warning in warnings:
        note(f"⚠️  {warning}")
    show(made, as_json, lambda: [f"✅ {made.name}, version {made.version}, {len(made.steps)} steps."])


async def _declared(opened: Resources, endpoint: list[str] | None, *, needed: bool) -> Declared | None:
    """What a server declares: of the settings' only where it is needed or one answers soon."""
    from persona_tui.services.generation.asking import declared_by_any, declared_if_any

    urls = endpoint or opened.settings.comfyui.urls
    if needed or endpoint:
        return await declared_by_any(urls, opened.comfyui_client)
    try:
        return await asyncio.wait_for(declared_if_any(urls, opened.comfyui_client), SOON)
    except TimeoutError:
        return None


@commands.command("export")
def export(
    name: PipelineName,
    step: Annotated[
        int | None, typer.Option("--step", "-s", metavar="N", help="Only this step's bare workflow.")
    ] = None,
) -> None:
    """Print a pipeline as one JSON document that `pipeline import` reads."""
    import json

    from persona_tui.errors import InvalidRequest
    from persona_tui.services.generation.pipelines import export_pipeline

    with session() as opened:
        found = export_pipeline(opened, name)
    if step is None:
        print(found.model_dump_json(indent=2))
        return
    if not 1 <= step <= len(found.steps):
        raise InvalidRequest(
            f"The pipeline {found.name} has no step {step}.", hint=f"Its steps are 1 to {len(found.steps)}."
        )
    print(json.dumps(found.steps[step - 1].workflow, indent=2, ensure_ascii=False))


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
            ["pipeline", "version", "steps", "runs", "persona", "cluster", "description"],
            (
                [p.name, p.version, len(p.steps), p.runs, p.persona, p.cluster, p.description]
                for p in pipelines
            ),
        ),
    )


@commands.command("show")
def show_(name: PipelineName, as_json: AsJson = False) -> None:
    """A pipeline's steps and the variables that they need."""
    from persona_tui.services.generation.pipelines import pipeline_detail

    with session() as opened:
        found = pipeline_detail(opened, name)
    show(found, as_json, lambda: _shown(found))


def _shown(found: PipelineDetail) -> Iterator[str]:
    pipeline = found.pipeline
    yield f"{pipeline.name}, version {pipeline.version}: {pipeline.description}"
    if pipeline.persona is not None:
        yield f"for {pipeline.persona}{f', cluster {pipeline.cluster}' if pipeline.cluster else ''}"
    for step, needs in zip(pipeline.steps, found.needs, strict=True):
        output = f", pictures of node {step.output_node}" if step.output_node else ""
        yield (
            f"  {step.position}. {step.name}: {step.children_per_parent} per parent, top {step.top_k},"
            f" {step.timeout} s{output}"
        )
        for need in needs:
            whose = "set by the program" if need.built_in else "set by each run"
            yield f"       {{{{{need.name}}}}}  {need.kind}, {whose}  {', '.join(need.places)}"
    for warning in found.warnings:
        yield f"⚠️  {warning}"


@commands.command("check")
def check(name: PipelineName, endpoint: Endpoints = None, as_json: AsJson = False) -> None:
    """Say whether the servers can run a pipeline: node classes, models, links, values. Exit 1 if not."""
    from persona_tui.services.generation.pipelines import export_pipeline, remember_types
    from persona_tui.services.generation.workflow_check import check_on_servers

    with resources() as opened:
        with opened.database.session_scope() as reading:
            pipeline = export_pipeline(reading, name)
        urls = endpoint or opened.settings.comfyui.urls
        found, declared = asyncio.run(check_on_servers(pipeline, urls, opened.comfyui_client))
        if declared is not None:
            with opened.database.session_scope() as writing:
                remember_types(writing, name, declared)
    show(found, as_json, lambda: _checked(found))
    if not found or not all(step.runs for step in found):
        raise typer.Exit(1)


def _checked(found: Sequence[StepFindings]) -> Iterator[str]:
    if not found:
        yield "❌ No ComfyUI server is set: name one with --endpoint URL."
    for step in found:
        icon = "✅" if step.runs else "❌"
        yield f"{icon} step {step.position}, {step.step}, on {step.endpoint}"
        for finding in step.findings:
            yield f"   {'❌' if finding.severity == 'fail' else '⚠️ '} {finding.sentence}"
            yield f"      {finding.hint}"
