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
from persona_tui.services.generation.barring import hand_over, note_fit, pass_on
from persona_tui.services.generation.bench import Bench
from persona_tui.services.generation.boots import Taken
from persona_tui.services.generation.capabilities import is_lack
from persona_tui.services.generation.graph import with_token
from persona_tui.services.generation.injection import inject
from persona_tui.services.generation.jobs import LiveJob
from persona_tui.services.generation.lora_desk import LoraDesk
from persona_tui.services.generation.lora_placing import LoraNotListed
from persona_tui.services.generation.lora_use import LoraUse
from persona_tui.services.generation.template import Value, asks_for, fill, in_step
from persona_tui.services.generation.variables import PARENT_IMAGE, RunFacts, job_token, run_variables
from persona_tui.services.safety import guard
from persona_tui.services.safety.guard import Asked

UNREADABLE, TOO_LARGE = 400, 413
"""Statuses with which a server says that it will never take this."""


@dataclass(frozen=True)
class Work:
    """All that is needed to send one job.

    Attributes:
        position, step: place and name of the step.
        template: the step's workflow with its placeholders.
        parent_key, parent_sha256: where the parent picture lies; None in step 1.
    """

    job: LiveJob
    seed: int
    persona_id: int | None
    facts: RunFacts
    position: int
    step: str
    template: Mapping[str, Any]
    parent_key: str | None
    parent_sha256: str | None


@dataclass(frozen=True)
class Ready:
    """A job whose workflow passed the guard and is committed as what is about to be sent."""

    job: LiveJob
    workflow: Passed[Workflow]
    highest_number: float | None
    """See `boots`: as it was before the job is sent."""


def load_works(session: Session, job_ids: Sequence[int]) -> tuple[Work, ...]:
    """What it takes to send some jobs; those that no longer wait to be sent are left out."""
    found = {row.id: row for row in session.execute(text(_FACTS), {"ids": list(job_ids)})}
    steps = {row.step_id for row in found.values()}
    templates = {row.id: row.workflow for row in session.execute(text(_TEMPLATES), {"ids": list(steps)})}
    loras = run_loras.loras_by_run(session, list({row.run_id for row in found.values()}))
    waiting = (job for job in jobs.find_jobs(session, job_ids) if job.state == "queued")
    return tuple(
        _work(job, found[job.id], templates[found[job.id].step_id], loras.get(job.run_id, ()))
        for job in waiting
    )


_FACTS = """
SELECT j.id, j.run_id, j.seed, r.persona_id, r.name, r.prompt, r.negative, r.variables,
       st.pipeline_step_id AS step_id, st.position, ps.name AS step,
       coalesce(a.name, '') AS persona, coalesce(a.trigger_word, '') AS trigger_word, p.media_key, p.sha256
FROM comfyui_jobs j JOIN pipeline_runs r ON r.id = j.run_id
JOIN pipeline_run_steps st ON st.id = j.run_step_id
JOIN pipeline_steps ps ON ps.id = st.pipeline_step_id
JOIN generation_slots s ON s.id = j.slot_id
LEFT JOIN image_candidates p ON p.id = s.parent_id LEFT JOIN personas a ON a.id = r.persona_id
WHERE j.id = ANY (:ids)
"""
_TEMPLATES = "SELECT id, workflow FROM pipeline_steps WHERE id = ANY (:ids)"
"""On its own: a workflow may be long, and the jobs of a step share it."""


def _work(job: LiveJob, row: Any, template: Mapping[str, Any], loras: tuple[LoraUse, ...]) -> Work:
    facts = RunFacts(row.name, row.prompt, row.negative, row.persona, row.trigger_word, row.variables, loras)
    return Work(
        job,
        row.seed,
        row.persona_id,
        facts,
        row.position,
        row.step,
        template,
        row.media_key,
        row.sha256,
    )


async def make_ready(bench: Bench, works: Sequence[Work]) -> tuple[Ready, ...]:
    """Fill the workflows and commit, in one transaction for all, what is about to be sent.

    What can never be sent fails at once; what is no longer wanted is put back.

    Returns:
        Those that are to be sent now.

    Raises:
        ClientError: the server did not take a parent picture; the jobs stay queued.
    """
    whole: list[tuple[Work, Filled]] = []
    elsewhere: set[int] = set()
    for work in works:
        if work.job.run_step_id in elsewhere:  # unasked: what its step's first job found is told once
            await bench.transact(hand_over, work.job)
        elif (filled := await _filled(bench, work, elsewhere)) is not None:
            whole.append((work, filled))
    intents = await bench.transact(_commit_intents, whole, bench.url)
    ready = []
    for (work, _), verdict in zip(whole, intents.verdicts, strict=True):
        if isinstance(verdict, GuardRefused):
            await _refuse(bench, work.job, verdict)
        elif verdict is None:
            await bench.transact(jobs.requeue, work.job)
        else:
            sending = replace(work.job, state="submitting", attempts=work.job.attempts + 1)
            ready.append(Ready(sending, verdict, intents.highest_number))
    return tuple(ready)


async def _filled(bench: Bench, work: Work, elsewhere: set[int]) -> Filled | None:
    """What is to be sent, with all that it names on the server; None when it failed or goes elsewhere.

    Args:
        elsewhere: gets the run step, if it can't run here.
    """
    try:
        work = await _with_loras(bench, work)
        filled = _fill(bench, work, await _upload_parent(bench, work))
        if not await bench.capabilities.fits(work.job.run_step_id, filled.workflow):
            elsewhere.add(work.job.run_step_id)
            await pass_on(bench, work.job)
            return None
        await note_fit(bench, work.job)
        return filled
    except LoraNotListed as problem:
        bench.capabilities.bar(work.job.run_step_id, problem.probe, problem.message.rstrip("."))
        elsewhere.add(work.job.run_step_id)
        await pass_on(bench, work.job)
    except (InvalidRequest, GuardRefused) as problem:
        await _refuse(bench, work.job, problem)
    except StorageError as problem:
        await bench.transact(jobs.fail, work.job, problem.message, bench.options.retry)
    return None


async def send_job(bench: Bench, ready: Ready) -> Taken | None:
    """Send a job that is ready.

    Returns:
        What the server told when it took it; None when it refused and the job has failed, or goes elsewhere.

    Raises:
        ClientError: the server is away or answered something else than yes or no. Where that leaves open
            whether it took the prompt, the job stays `submitting` until a look at the server tells.
    """
    submitted = await _post(bench, ready.job, ready.workflow)
    return None if submitted is None else Taken(ready.job, submitted.number, ready.highest_number)


def take_back(session: Session, unsent: Sequence[Ready]) -> None:
    """Put jobs that were ready and certainly not sent back into our queue."""
    for ready in unsent:
        jobs.requeue(session, ready.job, sent=False)


async def forget_prompt(bench: Bench, prompt_id: str) -> None:
    """Take a prompt off the server, whether it waits there, runs, or is gone already."""
    with suppress(ClientError):
        await bench.client.delete_pending(prompt_id)
        await bench.client.interrupt(prompt_id)


async def _with_loras(bench: Bench, work: Work) -> Work:
    """The work with its LoRAs on the server, under the server's names."""
    desk = bench.endpoint.desk or LoraDesk.over(bench.client)
    loras, template = await desk.prepare(work.job, work.facts.loras, work.template)
    return replace(work, facts=replace(work.facts, loras=loras), template=template)


async def _upload_parent(bench: Bench, work: Work) -> str | None:
    if work.parent_key is None or work.parent_sha256 is None or not asks_for(work.template, PARENT_IMAGE):
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
class Intents:
    """What was written down before some prompts are sent; `highest_number`: see `boots`.

    Attributes:
        verdicts: the guard's, one for each job; None for a job that is no longer wanted.
    """

    verdicts: tuple[Passed[Workflow] | GuardRefused | None, ...]
    highest_number: float | None


def _fill(bench: Bench, work: Work, parent_image: str | None) -> Filled:
    token = job_token(work.job.id, work.job.prompt_id)
    path = None if work.parent_key is None else bench.media.path(work.parent_key)
    variables = run_variables(
        work.facts,
        seed=work.seed,
        token=token,
        now=bench.clock(),
        parent_image=parent_image,
        parent_image_path=None if path is None else str(path.absolute()),
    )
    try:
        filled = fill(work.template, variables)
    except InvalidRequest as problem:
        raise in_step(problem, work.position, work.step) from None
    workflow = inject(work.template, filled, work.facts.loras)
    return Filled(with_token(workflow, token), variables)


def _commit_intents(session: Session, filled: Sequence[tuple[Work, Filled]], endpoint: str) -> Intents:
    """Write down what is about to be sent, and under which ids."""
    wanted = _lock_wanted(session, [work.job for work, _ in filled])
    asked = {
        work.job.id: Asked(one.workflow, work.persona_id, f"comfyui_jobs:{work.job.id}")
        for work, one in filled
        if work.job.id in wanted
    }
    judged = dict(zip(asked, guard.pass_workflows(session, list(asked.values())), strict=True))
    verdicts = tuple(judged.get(work.job.id) for work, _ in filled)
    passed = [
        (work.job.id, json.dumps(verdict.value), json.dumps(one.variables))
        for (work, one), verdict in zip(filled, verdicts, strict=True)
        if isinstance(verdict, Passed)
    ]
    session.execute(
        text(
            "UPDATE comfyui_jobs j SET state = 'submitting', workflow = CAST(sent.workflow AS jsonb),"
            " variables = CAST(sent.variables AS jsonb), attempts = attempts + 1,"
            " submitted_at = persona_now(), not_before = NULL"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:workflows AS text[]), CAST(:variables AS text[]))"
            " AS sent (id, workflow, variables)"
            " WHERE j.id = sent.id"
        ),
        {
            "ids": [job_id for job_id, _, _ in passed],
            "workflows": [workflow for _, workflow, _ in passed],
            "variables": [variables for _, _, variables in passed],
        },
    )
    return Intents(verdicts, boots.highest_number(session, endpoint))


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
