"""Rows that posts hang on, and a picture for each."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.services.publishing.attempts import open_attempt

if TYPE_CHECKING:
    from tests.support.publishing import World


def picture(seed: int, chunks: Mapping[str, str] | None = None) -> bytes:
    """A PNG of noise that no other seed has, with these text chunks."""
    noise = np.random.default_rng(seed).integers(0, 255, (10, 8, 3), dtype=np.uint8)
    info = PngInfo()
    for name, words in (chunks or {}).items():
        info.add_text(name, words)
    out = io.BytesIO()
    Image.fromarray(noise).resize((320, 400), Image.Resampling.NEAREST).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def make_persona(session: Session, name: str) -> int:
    """A persona's row."""
    return int(
        session.execute(
            text("INSERT INTO personas (name, age, zone) VALUES (:name, 27, 'Europe/Berlin') RETURNING id"),
            {"name": name},
        ).scalar_one()
    )


def make_candidate(session: Session, persona_id: int, key: str, sha256: str) -> int:
    """A generated picture with all that it hangs on: pipeline, run, step, slot, job."""

    def insert(table: str, **values: Any) -> int:
        columns, places = ", ".join(values), ", ".join(f":{name}" for name in values)
        statement = f"INSERT INTO {table} ({columns}) VALUES ({places}) RETURNING id"
        return int(session.execute(text(statement), values).scalar_one())

    pipeline = insert("pipelines", name=f"p{sha256[:16]}")
    version = insert("pipeline_versions", pipeline_id=pipeline, number=1)
    step = insert("pipeline_steps", pipeline_version_id=version, position=1, name="base")
    run = insert(
        "pipeline_runs", pipeline_version_id=version, persona_id=persona_id, name="r", prompt="p", seed=1
    )
    run_step = insert(
        "pipeline_run_steps",
        run_id=run,
        pipeline_version_id=version,
        pipeline_step_id=step,
        position=1,
        children_per_parent=1,
        top_k=1,
    )
    slot = insert("generation_slots", run_step_id=run_step, run_id=run, slot_no=1)
    job = insert(
        "comfyui_jobs",
        prompt_id=f"{sha256[:8]}-{sha256[8:12]}-4{sha256[13:16]}-8{sha256[17:20]}-{sha256[20:32]}",
        run_id=run,
        run_step_id=run_step,
        slot_id=slot,
        endpoint="http://127.0.0.1:1",
        workflow=json.dumps({}),
        seed=1,
    )
    return insert(
        "image_candidates",
        run_id=run,
        run_step_id=run_step,
        persona_id=persona_id,
        slot_id=slot,
        job_id=job,
        media_key=key,
        sha256=sha256,
        width=80,
        height=100,
        seed=1,
    )


_WAY = (
    "claimed",
    "staged",
    "creating",
    "container",
    "publishable",
    "sending",
    "unknown",
    "reconciling",
    "needs_human",
)


def drive_to(world: World, post_id: int, state: str, *, lease: str = "2 minutes", owner: str = "") -> None:
    """Walk a post along the publisher's way by plain SQL, under its fence, as far as `state`."""
    with world.db.session_scope() as session:
        while True:
            here, fence = session.execute(
                text("SELECT state, fence FROM scheduling_posts WHERE id = :id"), {"id": post_id}
            ).one()
            if here == state:
                return
            target = _WAY[_WAY.index(here) + 1] if here in _WAY else _WAY[0]
            if target == "claimed":
                fence += 1
                open_attempt(session, post_id, environment="sandbox", fence=fence, owner=owner)
            if target == "sending":
                sent = "UPDATE publish_attempts SET sent_at = persona_now(), quota_before = 0"
                session.execute(text(f"{sent} WHERE post_id = :id"), {"id": post_id})
            if target == "container":
                made = "creation_id = '1799000000' || id, container_created_at = persona_now(),"
            else:
                made = ""
            session.execute(text("SELECT set_config('persona.fence', :fence, true)"), {"fence": str(fence)})
            session.execute(
                text(
                    f"UPDATE scheduling_posts SET {made} state = :state, fence = :fence,"
                    " lease_owner = :owner, lease_until = persona_now() + CAST(:lease AS interval)"
                    " WHERE id = :id"
                ),
                {"id": post_id, "state": target, "fence": fence, "lease": lease, "owner": owner},
            )
