"""Sending jobs: parent picture up, workflow filled, passed by the guard, committed, and only then sent."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.comfyui import WorkflowRejected
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
from persona_tui.services.generation import jobs
from persona_tui.services.generation.bench import Bench
from persona_tui.services.generation.graph import with_token
from persona_tui.services.generation.jobs import LiveJob
from persona_tui.services.generation.template import fill
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


@dataclass(frozen=True)
class Ready:
    """A job whose workflow passed the guard and is committed as what is about to be sent."""

    job: LiveJob
    workflow: Passed[Workflow]


def load_works(session: Session, job_ids: Sequence[int]) -> tuple[Work, ...]:
    """What it takes to send some jobs; those that no longer wait to be sent are left out."""
    found = {row.id: row for row in session.execute(text(_FACTS), {"ids": list(job_ids)})}
    steps = {row.step_id for row in found.values()}
    templates = {row.id: row.workflow for row in session.execute(text(_TEMPLATES), {"ids": list(steps)})}
    waiting = (job for job in jobs.find_jobs(session, job_ids) if job.state == "queued")
    return tuple(_work(job, found[job.id], templates[found[job.id].step_id]) for job in waiting)


_FACTS = """
SELECT j.id, j.seed, r.persona_id, r.name, r.prompt, r.negative, r.variables, st.pipeline_step_id AS step_id,
       coalesce(a.name, '') AS persona, coalesce(a.trigger_word, '') AS trigger_word, p.media_key, p.sha256
FROM comfyui_jobs j JOIN pipeline_runs r ON r.id = j.run_id
JOIN pipeline_run_steps st ON st.id = j.run_step_id
JOIN generation_slots s ON s.id = j.slot_id
LEFT JOIN image_candidates p ON p.id = s.parent_id LEFT JOIN personas a ON a.id = r.persona_id
WHERE j.id = ANY (:ids)
"""
_TEMPLATES = "SELECT id, workflow FROM pipeline_steps WHERE id = ANY (:ids)"
"""On its own: a workflow may be long, and the jobs of a step share it."""


def _work(job: LiveJob, row: Any, template: Mapping[str, Any]) -> Work:
    facts = RunFacts(row.name, row.prompt, row.negative, row.persona, row.trigger_word, row.variables)
    return Work(job, row.seed, row.persona_id, facts, template, row.media_key, row.sha256)


async def make_ready(bench: Bench, works: Sequence[Work]) -> tuple[Ready, ...]:
    """Fill the workflows and commit, in one transaction for all, what is about to be sent.

    What can never be sent fails at once; what is no longer wanted is put back.

    Returns:
        Those that are to be sent now.

    Raises:
        ClientError: the server did not take a parent picture; the jobs stay queued.
    """
    filled = [(work, await _filled(bench, work)) for work in works]
    whole = [(work, workflow) for work, workflow in filled if workflow is not None]
    verdicts = await bench.transact(_commit_intents, whole)
    ready = []
    for (work, _), verdict in zip(whole, verdicts, strict=True):
        if isinstance(verdict, GuardRefused):
            await _refuse(bench, work.job, verdict)
        elif verdict is None:
            await bench.transact(jobs.requeue, work.job)
        else:
            sending = replace(work.job, state="submitting", attempts=work.job.attempts + 1)
            ready.append(Ready(sending, verdict))
    return tuple(ready)


async def _filled(bench: Bench, work: Work) -> dict[str, Any] | None:
    """The workflow that is to be sent, with all that it names on the server; None when the job has failed."""
    try:
        return _fill(bench, work, await _upload_parent(bench, work))
    except (InvalidRequest, GuardRefused) as problem:
        await _refuse(bench, work.job, problem)
    except StorageError as problem:
        await bench.transact(jobs.fail, work.job, problem.message, bench.options.retry)
    return None


async def send_job(bench: Bench, ready: Ready) -> bool:
    """Send a job that is ready.

    Returns:
        Whether the server took it; when it refused, the job has failed.

    Raises:
        ClientError: the server is away or answered something else than yes or no. Where that leaves open
            whether it took the prompt, the job stays `submitting` until a look at the server tells.
    """
    return await _post(bench, ready.job, ready.workflow)


def take_back(session: Session, unsent: Sequence[Ready]) -> None:
    """Put jobs that were ready and certainly not sent back into our queue."""
    for ready in unsent:
        jobs.requeue(session, ready.job, sent=False)


async def forget_prompt(bench: Bench, prompt_id: str) -> None:
    """Take a prompt off the server, whether it waits there, runs, or is gone already."""
    with suppress(ClientError):
        await bench.client.delete_pending(prompt_id)
        await bench.client.interrupt(prompt_id)


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


def _fill(bench: Bench, work: Work, parent_image: str | None) -> dict[str, Any]:
    token = job_token(work.job.id, work.job.prompt_id)
    variables = run_variables(
        work.facts, seed=work.seed, token=token, now=bench.clock(), parent_image=parent_image
    )
    return with_token(fill(work.template, variables), token)


def _commit_intents(
    session: Session, filled: Sequence[tuple[Work, dict[str, Any]]]
) -> tuple[Passed[Workflow] | GuardRefused | None, ...]:
    """Write down what is about to be sent, and under which ids; None for a job that is no longer wanted."""
    wanted = _lock_wanted(session, [work.job for work, _ in filled])
    verdicts = tuple(
        _judged(session, work, workflow) if work.job.id in wanted else None for work, workflow in filled
    )
    passed = [
        (work.job.id, json.dumps(verdict.value))
        for (work, _), verdict in zip(filled, verdicts, strict=True)
        if isinstance(verdict, Passed)
    ]
    session.execute(
        text(
            "UPDATE comfyui_jobs j SET state = 'submitting', workflow = CAST(sent.workflow AS jsonb),"
            " attempts = attempts + 1, submitted_at = persona_now(), not_before = NULL"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:workflows AS text[])) AS sent (id, workflow)"
            " WHERE j.id = sent.id"
        ),
        {"ids": [job_id for job_id, _ in passed], "workflows": [workflow for _, workflow in passed]},
    )
    return verdicts


def _lock_wanted(session: Session, asked: Sequence[LiveJob]) -> set[int]:
    """Those of the jobs that still wait under the caller's ids, for runs that go on; locked.

    One that another transaction holds is being cancelled or taken away, and is left out.
    """
    rows = session.execute(
        text(
            "SELECT j.id FROM comfyui_jobs j JOIN pipeline_runs r ON r.id = j.run_id"
            " WHERE j.id = ANY (:ids) AND j.prompt_id = ANY (:prompts) AND j.state = 'queued'"
            " AND r.status IN ('pending', 'running') ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED"
        ),
        {"ids": [job.id for job in asked], "prompts": [job.prompt_id for job in asked]},
    )
    return set(rows.scalars())


def _judged(session: Session, work: Work, workflow: dict[str, Any]) -> Passed[Workflow] | GuardRefused:
    """The guard's verdict; a refusal is returned, so that the others' transaction goes on."""
    subject = f"comfyui_jobs:{work.job.id}"
    try:
        return guard.pass_workflow(session, workflow, persona_id=work.persona_id, subject=subject)
    except GuardRefused as problem:
        return problem


async def _post(bench: Bench, job: LiveJob, workflow: Passed[Workflow]) -> bool:
    extra = {"preview_method": "auto"} if bench.options.previews else None
    try:
        await bench.client.submit(
            workflow, prompt_id=str(job.prompt_id), client_id=bench.client_id, extra=extra
        )
    except ClientError as problem:
        if isinstance(problem, WorkflowRejected) or problem.status == TOO_LARGE:
            await _refuse(bench, job, problem)
            return False
        if not problem.sent or isinstance(problem, KeyRejected):
            await bench.transact(jobs.requeue, job, sent=False)
        raise
    return True


async def _refuse(bench: Bench, job: LiveJob, problem: PersonaError) -> None:
    await bench.transact(jobs.fail, job, problem.message, bench.options.retry, permanent=True)
