"""Sending a job: parent picture up, workflow filled, passed by the guard, committed, and only then sent."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Session

from persona_tui.clients.comfyui import Submitted, WorkflowRejected
from persona_tui.errors import (
    ClientError,
    GuardRefused,
    InvalidRequest,
    KeyRejected,
    PersonaError,
    ServiceRefused,
    StorageError,
)
from persona_tui.passed import Passed, Workflow
from persona_tui.services.generation import boots, jobs, run_loras
from persona_tui.services.generation.barring import note_fit, pass_on
from persona_tui.services.generation.bench import Bench
from persona_tui.services.generation.capabilities import is_lack
from persona_tui.services.generation.graph import with_token
from persona_tui.services.generation.injection import inject
from persona_tui.services.generation.jobs import LiveJob
from persona_tui.services.generation.lora_desk import LoraDesk
from persona_tui.services.generation.lora_placing import LoraNotListed
from persona_tui.services.generation.template import Value, fill
from persona_tui.services.generation.variables import RunFacts, job_token, run_variables
from persona_tui.services.safety import guard

UNREADABLE, TOO_LARGE = 400, 413
"""Statuses with which a server says that it will never take this."""


@dataclass(frozen=True)
class Work:
    """All that is needed to send one job.

    Attributes:
        template: the step's workflow with its placeholders.
        parent_key, parent_sha256: where the parent picture lies; None in step 1.
    """

    job: LiveJob
    seed: int
    persona_id: int | None
    facts: RunFacts
    template: Mapping[str, Any]
    parent_key: str | None
    parent_sha256: str | None


async def send_job(bench: Bench, job_id: int) -> LiveJob | None:
    """Send a job that was claimed; what can never be sent fails at once.

    Returns:
        The job as it was sent; None when it was not, or is no longer wanted.

    Raises:
        ClientError: the server is away or answered something else than yes or no. Where that leaves open
            whether it took the prompt, the job stays `submitting` until a look at the server tells.
    """
    work = await bench.transact(load_work, job_id)
    if work is None:
        return None
    try:
        work = await _with_loras(bench, work)
        parent_image = await _upload_parent(bench, work)
        filled = _fill(bench, work, parent_image)
        if not await bench.capabilities.fits(work.job.run_step_id, filled.workflow):
            await pass_on(bench, work.job)
            return None
        await note_fit(bench, work.job)
        intent = await bench.transact(_commit_intent, work, filled)
    except LoraNotListed as problem:
        bench.capabilities.bar(work.job.run_step_id, problem.probe, problem.message.rstrip("."))
        await pass_on(bench, work.job)
        return None
    except (InvalidRequest, GuardRefused) as problem:
        await _refuse(bench, work.job, problem)
        return None
    except StorageError as problem:
        await bench.transact(jobs.fail, work.job, problem.message, bench.options.retry)
        return None
    if intent is None:
        await bench.transact(jobs.requeue, work.job)
        return None
    submitted = await _post(bench, work.job, intent.workflow)
    if submitted is None:
        return None
    noted = await bench.transact(
        boots.note_submitted, work.job, bench.url, submitted.number, intent.highest_number
    )
    if noted.restarted:
        bench.doubts.set()
    if not noted.wanted:
        await forget_prompt(bench, str(work.job.prompt_id))
        return None
    return replace(work.job, state="submitted", attempts=work.job.attempts + 1)


async def forget_prompt(bench: Bench, prompt_id: str) -> None:
    """Take a prompt off the server, whether it waits there, runs, or is gone already."""
    with suppress(ClientError):
        await bench.client.delete_pending(prompt_id)
        await bench.client.interrupt(prompt_id)


def load_work(session: Session, job_id: int) -> Work | None:
    """What it takes to send a job; None when it no longer waits to be sent."""
    job = jobs.find_job(session, job_id)
    if job is None or job.state != "queued":
        return None
    row = session.execute(
        text(
            "SELECT j.seed, r.persona_id, r.name, r.prompt, r.negative, r.variables, ps.workflow,"
            " coalesce(a.name, '') AS persona, coalesce(a.trigger_word, '') AS trigger_word,"
            " EXISTS (SELECT FROM run_loras u WHERE u.run_id = r.id) AS has_loras,"
            " p.media_key, p.sha256"
            " FROM comfyui_jobs j JOIN pipeline_runs r ON r.id = j.run_id"
            " JOIN pipeline_run_steps st ON st.id = j.run_step_id"
            " JOIN pipeline_steps ps ON ps.id = st.pipeline_step_id"
            " JOIN generation_slots s ON s.id = j.slot_id"
            " LEFT JOIN image_candidates p ON p.id = s.parent_id LEFT JOIN personas a ON a.id = r.persona_id"
            " WHERE j.id = :id"
        ),
        {"id": job_id},
    ).one()
    facts = RunFacts(
        row.name,
        row.prompt,
        row.negative,
        row.persona,
        row.trigger_word,
        row.variables,
        run_loras.loras_of(session, job.run_id) if row.has_loras else (),
    )
    return Work(job, row.seed, row.persona_id, facts, row.workflow, row.media_key, row.sha256)


async def _with_loras(bench: Bench, work: Work) -> Work:
    """The work with its LoRAs on the server, under the server's names."""
    desk = bench.endpoint.desk or LoraDesk.over(bench.client)
    loras, template = await desk.prepare(work.job, work.facts.loras, work.template)
    return replace(work, facts=replace(work.facts, loras=loras), template=template)


async def _upload_parent(bench: Bench, work: Work) -> str | None:
    if work.parent_key is None or work.parent_sha256 is None:
        return None
    known = bench.uploads.get(work.parent_sha256)
    if known is not None:
        return known
    picture = await asyncio.to_thread(bench.media.get, work.parent_key)
    if hashlib.sha256(picture).hexdigest() != work.parent_sha256:
        raise InvalidRequest("The parent picture's file has changed.", hint="Restore it from a backup.")
    subject = f"comfyui_jobs:{work.job.id}"
    passed = await bench.transact(
        guard.pass_picture, picture, purpose="generator", persona_id=work.persona_id, subject=subject
    )
    suffix = work.parent_key.rpartition(".")[2]
    try:
        name = await bench.client.upload_image(passed, f"persona-tui-{work.parent_sha256[:32]}.{suffix}")
    except ServiceRefused as problem:
        if problem.status not in (UNREADABLE, TOO_LARGE):
            raise
        raise InvalidRequest(f"The parent picture was refused: {problem.message}") from None
    bench.uploads[work.parent_sha256] = name
    return name


@dataclass(frozen=True)
class Filled:
    """A workflow as it is to be sent, and what its placeholders were replaced by."""

    workflow: dict[str, Any]
    variables: dict[str, Value]


@dataclass(frozen=True)
class Intent:
    """What was written down before a prompt is sent; `highest_number`: see `boots`."""

    workflow: Passed[Workflow]
    highest_number: float | None


def _fill(bench: Bench, work: Work, parent_image: str | None) -> Filled:
    token = job_token(work.job.id, work.job.prompt_id)
    variables = run_variables(
        work.facts, seed=work.seed, token=token, now=bench.clock(), parent_image=parent_image
    )
    workflow = inject(work.template, fill(work.template, variables), work.facts.loras)
    return Filled(with_token(workflow, token), variables)


def _commit_intent(session: Session, work: Work, filled: Filled) -> Intent | None:
    """Write down what is about to be sent, and under which id; None when it is no longer wanted."""
    taken = session.execute(
        text(
            "UPDATE comfyui_jobs j SET state = 'submitting', workflow = :workflow, variables = :variables,"
            " attempts = attempts + 1, submitted_at = persona_now(), not_before = NULL"
            " FROM pipeline_runs r WHERE r.id = j.run_id AND r.status IN ('pending', 'running')"
            " AND j.id = :id AND j.prompt_id = :prompt AND j.state = 'queued' RETURNING j.endpoint"
        ).bindparams(bindparam("workflow", type_=JSONB), bindparam("variables", type_=JSONB)),
        {
            "workflow": filled.workflow,
            "variables": filled.variables,
            "id": work.job.id,
            "prompt": work.job.prompt_id,
        },
    ).scalar_one_or_none()
    if taken is None:
        return None
    subject = f"comfyui_jobs:{work.job.id}"
    before = boots.highest_number(session, taken)
    passed = guard.pass_workflow(session, filled.workflow, persona_id=work.persona_id, subject=subject)
    return Intent(passed, before)


async def _post(bench: Bench, job: LiveJob, workflow: Passed[Workflow]) -> Submitted | None:
    """Send it; None when the server will never take it."""
    extra = {"preview_method": "auto"} if bench.options.previews else None
    try:
        return await bench.client.submit(
            workflow, prompt_id=str(job.prompt_id), client_id=bench.client_id, extra=extra
        )
    except ClientError as problem:
        if isinstance(problem, WorkflowRejected) and is_lack(problem):
            bench.capabilities.bar(job.run_step_id, workflow.value, problem.message.rstrip("."))
            await pass_on(bench, job)
            return None
        if isinstance(problem, WorkflowRejected) or problem.status == TOO_LARGE:
            await _refuse(bench, job, problem)
            return None
        if not problem.sent or isinstance(problem, KeyRejected):
            await bench.transact(jobs.requeue, job, sent=False)
        raise


async def _refuse(bench: Bench, job: LiveJob, problem: PersonaError) -> None:
    await bench.transact(jobs.fail, job, problem.message, bench.options.retry, permanent=True)
