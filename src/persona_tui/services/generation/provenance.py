"""Where a picture comes from: the workflow that was sent for it, seed, LoRAs, server and lineage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.services.generation.lineage import lineage_of
from persona_tui.services.generation.run_loras import loras_of
from persona_tui.services.generation.template import Value
from persona_tui.services.generation.tree import CandidateView, get_candidate, list_candidates


@dataclass(frozen=True)
class LoraOrigin:
    """A LoRA of the picture's run.

    Attributes:
        label: `name@version`.
        sha256: of its file.
        in_workflow: the workflow that was sent names it; a step that can't use it leaves it out.
    """

    label: str
    weight: float
    sha256: str
    in_workflow: bool


@dataclass(frozen=True)
class Provenance:
    """All that is known of how a picture was made.

    Attributes:
        prompt_id: under which the server knew the job.
        workflow: exactly what was sent.
        workflow_sha256: of its canonical JSON (sorted keys, no blanks, UTF-8).
        variables: what its placeholders were replaced by.
        endpoint, server_version: of the server that made it; empty where that is not known.
        seconds: that the server took, where somebody watched.
        lineage: the pictures that led to it, the first step's first, itself last.
    """

    candidate: CandidateView
    run: str
    pipeline: str
    pipeline_version: int
    job_id: int
    prompt_id: str
    prompt: str
    negative: str
    seed: int
    workflow: Mapping[str, Any]
    workflow_sha256: str
    variables: Mapping[str, Value]
    loras: tuple[LoraOrigin, ...]
    endpoint: str
    server_version: str
    seconds: float | None
    submitted_at: datetime | None
    finished_at: datetime | None
    lineage: tuple[CandidateView, ...]


_ORIGIN = """
SELECT r.name AS run, p.name AS pipeline, v.number AS pipeline_version, j.id AS job_id, j.prompt_id,
       r.prompt, r.negative, j.workflow, j.variables, j.submitted_at, j.finished_at,
       coalesce(nullif(i.provenance ->> 'endpoint', ''), j.endpoint) AS endpoint,
       coalesce(i.provenance ->> 'server_version', '') AS server_version,
       CAST(i.provenance ->> 'seconds' AS double precision) AS seconds
FROM image_candidates i
JOIN comfyui_jobs j ON j.id = i.job_id
JOIN pipeline_runs r ON r.id = i.run_id
JOIN pipeline_versions v ON v.id = r.pipeline_version_id
JOIN pipelines p ON p.id = v.pipeline_id
WHERE i.id = :candidate
"""


def provenance_of(session: Session, candidate_id: int) -> Provenance:
    """How a picture was made.

    Raises:
        UnknownName: there is no such picture.
    """
    run_id = get_candidate(session, candidate_id).run_id
    lineage = lineage_of(list_candidates(session, run_id), candidate_id)
    facts = dict(session.execute(text(_ORIGIN), {"candidate": candidate_id}).one()._mapping)
    written = json.dumps(facts["workflow"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    loras = tuple(
        LoraOrigin(lora.label, lora.weight, lora.sha256, json.dumps(lora.server_name)[1:-1] in written)
        for lora in loras_of(session, run_id)
    )
    return Provenance(
        **{**facts, "prompt_id": str(facts["prompt_id"])},
        candidate=lineage[-1],
        seed=lineage[-1].seed,
        workflow_sha256=hashlib.sha256(written.encode()).hexdigest(),
        loras=loras,
        lineage=lineage,
    )
