"""The /api/jobs view of queue and history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persona_tui.sandbox.comfyui.prompt_queue import PromptQueue, QueueItem

STATUSES = ("pending", "in_progress", "completed", "failed")
ENDS = ("execution_success", "execution_error", "execution_interrupted")


class BadQuery(Exception):
    """A query parameter of /api/jobs that can't be used; the message goes into the answer."""


def _without_none(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if value is not None}


def _metadata(extra_data: Mapping[str, Any]) -> dict[str, Any]:
    workflow = extra_data.get("extra_pnginfo", {}).get("workflow", {})
    return {"create_time": extra_data.get("create_time"), "workflow_id": workflow.get("id")}


def _waiting_job(item: QueueItem, status: str) -> dict[str, Any]:
    job = {"id": item.prompt_id, "status": status, "priority": item.number, "outputs_count": 0}
    return _without_none(job | _metadata(item.extra_data))


def _done_job(prompt_id: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    priority, _, _, extra_data, _ = entry["prompt"]
    messages: dict[str, Any] = dict(entry["status"]["messages"])
    end: dict[str, Any] = next((messages[event] for event in ENDS if event in messages), {})
    files = [
        {**file, "nodeId": node, "mediaType": kind}
        for node, output in entry["outputs"].items()
        for kind, listed in output.items()
        for file in listed
    ]
    shown = next((file for file in files if file["type"] == "output"), files[0] if files else None)
    return _without_none(
        {
            "id": prompt_id,
            "status": "completed" if entry["status"]["status_str"] == "success" else "failed",
            "priority": priority,
            "execution_start_time": messages.get("execution_start", {}).get("timestamp"),
            "execution_end_time": end.get("timestamp"),
            "execution_error": messages.get("execution_error"),
            "outputs_count": len(files),
            "preview_output": shown,
            **_metadata(extra_data),
        }
    )


def one_job(queue: PromptQueue, prompt_id: str) -> dict[str, Any] | None:
    """One job in full; None where none goes by that id."""
    entry = queue.history.get(prompt_id)
    if entry is not None:
        workflow = {"prompt": entry["prompt"][2], "extra_data": entry["prompt"][3]}
        return _done_job(prompt_id, entry) | {
            "outputs": entry["outputs"],
            "execution_status": entry["status"],
            "workflow": workflow,
        }
    if queue.running is not None and queue.running.prompt_id == prompt_id:
        return _waiting_job(queue.running, "in_progress")
    return next(
        (_waiting_job(item, "pending") for item in queue.pending if item.prompt_id == prompt_id), None
    )


def list_jobs(queue: PromptQueue, query: Mapping[str, str]) -> dict[str, Any]:
    """The answer of GET /api/jobs.

    Raises:
        BadQuery: a parameter can't be used.
    """
    wanted = _statuses(query.get("status"))
    sort_by, order = query.get("sort_by", "created_at").lower(), query.get("sort_order", "desc").lower()
    if sort_by not in {"created_at", "execution_duration"}:
        raise BadQuery("sort_by must be 'created_at' or 'execution_duration'")
    if order not in {"asc", "desc"}:
        raise BadQuery("sort_order must be 'asc' or 'desc'")
    limit, offset = _limit(query.get("limit")), max(0, _integer(query.get("offset", "0"), "offset"))
    jobs = [_waiting_job(queue.running, "in_progress")] if queue.running is not None else []
    jobs += [_waiting_job(item, "pending") for item in queue.pending]
    jobs += [_done_job(prompt_id, entry) for prompt_id, entry in queue.history.items()]
    jobs = [job for job in jobs if job["status"] in wanted]
    if query.get("workflow_id"):
        jobs = [job for job in jobs if job.get("workflow_id") == query["workflow_id"]]
    jobs.sort(key=_duration if sort_by == "execution_duration" else _created, reverse=order == "desc")
    page = jobs[offset:] if limit is None else jobs[offset : offset + limit]
    more = offset + len(page) < len(jobs)
    return {
        "jobs": page,
        "pagination": {"offset": offset, "limit": limit, "total": len(jobs), "has_more": more},
    }


def _statuses(asked: str | None) -> list[str]:
    if not asked:
        return list(STATUSES)
    named = [word.strip().lower() for word in asked.split(",") if word.strip()]
    unknown = [word for word in named if word not in STATUSES]
    if unknown:
        raise BadQuery(f"Invalid status value(s): {', '.join(unknown)}. Valid values: {', '.join(STATUSES)}")
    return named


def _limit(asked: str | None) -> int | None:
    if asked is None:
        return None
    limit = _integer(asked, "limit")
    if limit <= 0:
        raise BadQuery("limit must be a positive integer")
    return limit


def _integer(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadQuery(f"{name} must be an integer") from None


def _created(job: Mapping[str, Any]) -> float:
    return float(job.get("create_time", 0))


def _duration(job: Mapping[str, Any]) -> float:
    start, end = job.get("execution_start_time", 0), job.get("execution_end_time", 0)
    return float(end - start) if start and end else 0.0
