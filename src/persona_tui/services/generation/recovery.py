"""Finding out what became of jobs, from the server's own books: at a start, after a lost connection.

In the queue? In the history? Once more both, since a prompt may have moved meanwhile. Only then, and only one
call's timeout after it was sent (a call may still be on its way), or at once where the server had taken it
and was started again since, does it count as forgotten; then its file is looked for on the server's disk, and
if that is missing too, it is written down as lost and its place gets another job (R11).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.comfyui import HistoryEntry, OutputFile, QueueState
from persona_tui.errors import ServiceGarbled, ServiceRefused
from persona_tui.models.pipeline import ComfyuiJob
from persona_tui.services.generation import jobs
from persona_tui.services.generation.bench import Bench
from persona_tui.services.generation.graph import saved_files
from persona_tui.services.generation.jobs import LiveJob, RetryPolicy
from persona_tui.services.generation.submission import forget_prompt
from persona_tui.services.generation.variables import job_token


@dataclass(frozen=True)
class Found:
    """A job whose end the server knows: its history, or the files that it left."""

    job: LiveJob
    entry: HistoryEntry | None
    files: tuple[OutputFile, ...] = ()


@dataclass(frozen=True)
class Survey:
    """What a look at the server gave."""

    queue: QueueState
    found: tuple[Found, ...]


async def survey(bench: Bench, live: Sequence[LiveJob], *, doubt: bool = False) -> Survey:
    """Look at the server, bring our jobs in line with it, and return those that have ended there.

    Prompts of jobs that were cancelled here are taken off the server.

    Args:
        live: jobs of this endpoint that nobody in this process has in hand.
        doubt: the connection was cut, so the server may have been started again: what it had taken is looked
            for at once. What was on its way to it still is given a call's timeout.

    Raises:
        ClientError: the server does not answer.
    """
    queue = await bench.client.queue()
    for prompt_id in await bench.transact(jobs.unwanted_prompts, bench.url, _prompts(queue)):
        await forget_prompt(bench, prompt_id)
    found = []
    for job in live:
        if job.state == "queued" or await _is_in(bench, queue, job):
            continue
        ended = await _ended(bench, job, doubted=job.suspect or (doubt and job.state != "submitting"))
        if ended is not None:
            found.append(ended)
    return Survey(queue, tuple(found))


def rescue_stranded(
    session: Session, configured: Sequence[str], away: Sequence[str], policy: RetryPolicy
) -> int:
    """Give up what was sent to endpoints that are no longer ours, or away and past their jobs' timeouts.

    Args:
        configured: addresses of all endpoints.
        away: those that have not answered for long.

    Returns:
        How many places others may now take.
    """
    stranded = session.execute(
        text(
            "SELECT j.id FROM comfyui_jobs j JOIN pipeline_run_steps st ON st.id = j.run_step_id"
            " JOIN pipeline_steps ps ON ps.id = st.pipeline_step_id"
            " WHERE j.state IN ('submitting', 'submitted', 'running', 'storing')"
            " AND (NOT j.endpoint = ANY (:configured) OR (j.endpoint = ANY (:away)"
            "  AND j.submitted_at + make_interval(secs => ps.timeout_seconds) < persona_now()))"
            " ORDER BY j.run_id, j.id"
        ),
        {"configured": list(configured), "away": list(away)},
    )
    rescued = 0
    for job_id in list(stranded.scalars()):
        job = jobs.find_job(session, job_id)
        rescued += job is not None and jobs.lose(session, job, policy, "Its server stayed away.")
    return rescued


def _prompts(queue: QueueState) -> tuple[str, ...]:
    return (*queue.running, *queue.pending)


async def _is_in(bench: Bench, queue: QueueState, job: LiveJob) -> bool:
    prompt_id = str(job.prompt_id)
    if prompt_id in queue.running and job.state in ("submitting", "submitted"):
        await bench.transact(jobs.move, job, (job.state,), "running")
    elif prompt_id in queue.pending and job.state == "submitting":
        await bench.transact(jobs.move, job, (job.state,), "submitted")
    return prompt_id in queue.running or prompt_id in queue.pending


async def _ended(bench: Bench, job: LiveJob, *, doubted: bool) -> Found | None:
    entry = await _history(bench, job)
    if entry is not None:
        return Found(job, entry)
    if not doubted and (job.age is None or job.age <= bench.options.timeout):
        return None
    if await _is_in(bench, await bench.client.queue(), job):
        return None
    entry = await _history(bench, job)
    if entry is not None:
        return Found(job, entry)
    files = await _look_on_disk(bench, job)
    if files:
        return Found(job, None, files)
    await bench.transact(jobs.lose, job, bench.options.retry)
    return None


async def _history(bench: Bench, job: LiveJob) -> HistoryEntry | None:
    entry = await bench.client.history(str(job.prompt_id))
    return None if entry is None or entry.status == "running" else entry


async def _look_on_disk(bench: Bench, job: LiveJob) -> tuple[OutputFile, ...]:
    workflow = await bench.transact(_sent_workflow, job)
    token = job_token(job.id, job.prompt_id)
    found = []
    for written in saved_files(workflow, job.output_node, token):
        for saved in written:
            file = OutputFile(filename=saved.filename, subfolder=saved.subfolder, type="output")
            if not await _exists(bench, file):
                break
            found.append(file)
    return tuple(found)


async def _exists(bench: Bench, file: OutputFile) -> bool:
    try:
        await bench.client.view(file)
    except ServiceGarbled:
        return False
    except ServiceRefused as problem:
        if problem.status in (400, 404):
            return False
        raise
    return True


def _sent_workflow(session: Session, job: LiveJob) -> dict[str, object]:
    return session.get_one(ComfyuiJob, job.id).workflow
