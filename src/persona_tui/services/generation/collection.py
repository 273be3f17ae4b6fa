"""Bringing a finished job's pictures home, into our own store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from persona_tui.clients.comfyui import HistoryEntry, OutputFile
from persona_tui.errors import InvalidRequest, ServiceGarbled, ServiceRefused
from persona_tui.services.generation import jobs
from persona_tui.services.generation.bench import Bench
from persona_tui.services.generation.graph import node_order
from persona_tui.services.generation.jobs import LiveJob
from persona_tui.services.generation.keeping import Fetched, Finished, keep
from persona_tui.services.media import StoredPicture

LOOKS = 2
"""A proxy's page may have come in a picture's place."""


def wanted_files(entry: HistoryEntry, output_node: str | None) -> tuple[OutputFile, ...]:
    """The saved pictures of the output node, or of all; previews and texts are none."""
    nodes = sorted(entry.outputs, key=node_order)
    return tuple(
        file
        for node in nodes
        if output_node in (None, node)
        for file in entry.outputs[node]
        if file.type == "output"
    )


async def collect(
    bench: Bench,
    job: LiveJob,
    files: Sequence[OutputFile],
    provenance: dict[str, Any],
    *,
    linger: float = 0.0,
) -> tuple[int, ...]:
    """Fetch and keep a job's pictures; the first fills its place, further ones stand beside it.

    A job that gave no picture (a cached result whose file is gone, for one) is sent once more under another
    file prefix, and then counts as failed.

    Args:
        linger: seconds in which stored pictures may wait for others, to become candidates with them.

    Returns:
        Ids of the candidates; none when the job gave nothing or is no longer wanted.

    Raises:
        ClientError, StorageError, DatabaseError: the job stays as it is and is collected later.
    """
    pictures = await asyncio.gather(*(_fetch(bench, file) for file in files))
    fetched = tuple(Fetched(index, picture) for index, picture in enumerate(pictures) if picture is not None)
    if fetched:
        finished = Finished(job, fetched, provenance)
        return await bench.together((0, job.run_id), keep, finished, linger=linger)
    if job.attempts <= 1:
        await bench.transact(jobs.requeue, job)
    else:
        words = "The server finished the job but gave no picture."
        await bench.transact(jobs.fail, job, words, bench.options.retry)
    return ()


async def _fetch(bench: Bench, file: OutputFile) -> StoredPicture | None:
    """A file as a stored picture; None when it is gone, or no picture at each look."""
    for _ in range(LOOKS):
        try:
            data = await bench.client.view(file)
            return await asyncio.to_thread(bench.media.put, data)
        except InvalidRequest:
            continue
        except ServiceGarbled:
            return None
        except ServiceRefused as problem:
            if problem.status != 404:
                raise
            return None
    return None
