"""Hundreds of acts in random order on some runs, by operator, night mode and engine: the rules hold."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.services.generation import gates, jobs, night, run_acts, runs
from persona_tui.services.generation.deletion import delete_run
from persona_tui.services.generation.jobs import RetryPolicy, live_jobs
from persona_tui.services.library.clusters import create_cluster
from tests.database.growing import SERVER, add_persona, add_run, finish, take
from tests.database.test_generation_gates import three_steps

STEPS = 180

RULES = {
    "an open place is one that may be filled, and no other": """
        SELECT s.id FROM generation_slots s JOIN pipeline_run_steps st ON st.id = s.run_step_id
        LEFT JOIN image_candidates p ON p.id = s.parent_id
        LEFT JOIN gate_members g ON g.run_step_id = p.run_step_id AND g.image_candidate_id = p.id
        WHERE s.state IN ('open', 'withdrawn') AND (s.state = 'open') <> (
          st.approved_at IS NULL AND (st.position = 1 OR p.status = 'active' AND g.id IS NOT NULL)
          AND NOT EXISTS (SELECT FROM image_candidates i WHERE i.slot_id = s.id AND i.status = 'active'))""",
    "nothing is made for a shut gate, a passed one or a picture that does not go on": """
        SELECT s.id FROM generation_slots s JOIN pipeline_run_steps st ON st.id = s.run_step_id
        LEFT JOIN image_candidates p ON p.id = s.parent_id
        LEFT JOIN gate_members g ON g.run_step_id = p.run_step_id AND g.image_candidate_id = p.id
        WHERE s.state = 'busy' AND NOT (
          st.approved_at IS NULL AND (st.position = 1 OR p.status = 'active' AND g.id IS NOT NULL))""",
    "a place is busy with exactly one live job": """
        SELECT s.id FROM generation_slots s WHERE (s.state = 'busy') <> (1 = (
          SELECT count(*) FROM comfyui_jobs j WHERE j.slot_id = s.id
            AND j.state IN ('queued', 'submitting', 'submitted', 'running', 'storing')))""",
    "a place is filled by an active picture": """
        SELECT s.id FROM generation_slots s WHERE s.state = 'filled' AND NOT EXISTS (
          SELECT FROM image_candidates i WHERE i.slot_id = s.id AND i.status = 'active')""",
    "an active picture grew from one that goes on": """
        SELECT i.id FROM image_candidates i JOIN image_candidates p ON p.id = i.parent_id
        LEFT JOIN gate_members g ON g.run_step_id = p.run_step_id AND g.image_candidate_id = p.id
        WHERE i.status = 'active' AND (p.status <> 'active' OR g.id IS NULL)""",
    "a gate is passed with members of whom one is left": """
        SELECT st.id FROM pipeline_run_steps st WHERE (st.approved_at IS NOT NULL) <> EXISTS (
          SELECT FROM gate_members g JOIN image_candidates i ON i.id = g.image_candidate_id
          WHERE g.run_step_id = st.id AND i.status = 'active')""",
    "a shut gate has no members": """
        SELECT st.id FROM pipeline_run_steps st JOIN gate_members g ON g.run_step_id = st.id
        WHERE st.approved_at IS NULL""",
    "gates are passed in their order": """
        SELECT st.id FROM pipeline_run_steps st JOIN pipeline_run_steps b
          ON b.run_id = st.run_id AND b.position = st.position - 1
        WHERE st.approved_at IS NOT NULL AND b.approved_at IS NULL""",
    "what a person or the night mode approved says so": """
        SELECT id FROM pipeline_run_steps WHERE (approved_at IS NULL) <> (approved_by = '')
          OR (approved_by = 'night mode') <> (approval_reason <> '')""",
    "an ended run has no live job": """
        SELECT j.id FROM comfyui_jobs j JOIN pipeline_runs r ON r.id = j.run_id
        WHERE r.status IN ('completed', 'cancelled')
          AND j.state IN ('queued', 'submitting', 'submitted', 'running', 'storing')""",
    "an ended run is dated, another is not": """
        SELECT id FROM pipeline_runs
        WHERE (status IN ('completed', 'cancelled')) <> (finished_at IS NOT NULL)""",
    "a completed run has its winner, of the last step": """
        SELECT r.id FROM pipeline_runs r WHERE r.status = 'completed' AND NOT EXISTS (
          SELECT FROM image_candidates i JOIN pipeline_run_steps st ON st.id = i.run_step_id
          WHERE i.run_id = r.id AND i.winner AND st.position = 3)""",
    "the winner alone is linked to the cluster": """
        SELECT i.id FROM image_candidates i LEFT JOIN cluster_candidates m ON m.image_candidate_id = i.id
        WHERE i.winner <> (m.id IS NOT NULL)""",
    "a rejected picture knows with whom it went, an active one nothing": """
        SELECT id FROM image_candidates WHERE (status = 'rejected') <> (provenance ? 'rejected_with')
          OR status = 'active' AND provenance ? 'shut_gates'""",
    "a run that makes pictures has something to make, one that waits has a picture": """
        SELECT r.id FROM pipeline_runs r CROSS JOIN LATERAL (
          SELECT count(*) FILTER (WHERE s.state IN ('open', 'busy')) AS busy,
            (SELECT count(*) FROM image_candidates i
             WHERE i.run_step_id = st.id AND i.status = 'active') AS here
          FROM (SELECT id FROM pipeline_run_steps WHERE run_id = r.id
                ORDER BY approved_at IS NOT NULL,
                  CASE WHEN approved_at IS NULL THEN position ELSE -position END
                LIMIT 1) st
          LEFT JOIN generation_slots s ON s.run_step_id = st.id GROUP BY st.id) now
        WHERE r.status IN ('pending', 'running') AND now.busy = 0
          OR r.status = 'waiting' AND (now.busy > 0 OR now.here = 0)""",
}
"""What must hold at each commit → a query that finds what breaks it."""


class Walk:
    """Runs of three steps, and one who does anything to them."""

    def __init__(self, session: Session, seed: int) -> None:
        self.session = session
        self.rng = random.Random(seed)
        self.done: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        persona = add_persona(session)
        cluster = create_cluster(session, persona, {"name": "Tea"})
        self._plan = {
            "persona_id": persona,
            "cluster_id": cluster.id,
            "pipeline": three_steps(session),
            "steps": {1: {"children_per_parent": 3}, 2: {"children_per_parent": 1}},
        }
        self.begin()
        self.begin()

    def gate(self) -> int:
        """A step to approve: mostly one that can be."""
        ready = (
            "approved_at IS NULL AND EXISTS (SELECT FROM image_candidates i"
            " WHERE i.run_step_id = pipeline_run_steps.id AND i.status = 'active')"
        )
        return self.any("pipeline_run_steps", ready if self.rng.random() < 0.9 else "true")

    def last_picture(self) -> int:
        """A picture to win: mostly one that can."""
        last = "run_step_id IN (SELECT id FROM pipeline_run_steps WHERE position = 3)"
        return self.any("image_candidates", last if self.rng.random() < 0.9 else "true")

    def begin(self) -> None:
        """Start a run."""
        add_run(self.session, **self._plan)

    def any(self, table: str, where: str = "true") -> int:
        """Some row's id."""
        ids = self.session.execute(text(f"SELECT id FROM {table} WHERE {where} ORDER BY id")).scalars().all()
        if not ids:
            raise NotAllowedNow("There is none.")
        return int(self.rng.choice(ids))

    def step(self) -> str:
        """Do something; what is refused changes nothing."""
        names = list(ACTS)
        (name,) = self.rng.choices(names, [ACTS[one][1] for one in names])
        before = self.picture()
        try:
            with self.session.begin_nested():
                ACTS[name][0](self)
        except (NotAllowedNow, InvalidRequest):
            assert self.picture() == before
            self.refused[name] = self.refused.get(name, 0) + 1
        else:
            self.done[name] = self.done.get(name, 0) + 1
        return name

    def picture(self) -> list[tuple[object, ...]]:
        """Pictures, gates and winners as they are."""
        rows = self.session.execute(
            text(
                "SELECT i.id, i.status, i.winner, g.rank, st.approved_by FROM image_candidates i"
                " JOIN pipeline_run_steps st ON st.id = i.run_step_id"
                " LEFT JOIN gate_members g ON g.image_candidate_id = i.id ORDER BY i.id"
            )
        )
        return [tuple(row) for row in rows]

    def finish_one(self) -> None:
        """A server is done with one of its jobs."""
        live = live_jobs(self.session, SERVER)
        if live:
            finish(self.session, self.rng.choice(live), pictures=self.rng.choice((1, 1, 1, 2)))

    def fail_one(self) -> None:
        """A server failed."""
        live = live_jobs(self.session, SERVER)
        if live:
            policy = RetryPolicy(delays=(0.0,))
            jobs.fail(self.session, self.rng.choice(live), "no", policy, permanent=self.rng.random() < 0.2)

    def reject_and_undo(self) -> None:
        """Taken back at once, a rejection changes nothing."""
        candidate = self.any("image_candidates", "status = 'active'")
        before = self.picture()
        gates.reject(self.session, candidate)
        gates.unreject(self.session, candidate)
        assert self.picture() == before

    def approve_at_night(self) -> None:
        """The night mode passes a gate with some pictures."""
        step = self.gate()
        some = f"run_step_id = {step} AND status = 'active'"
        members = sorted({self.any("image_candidates", some), self.any("image_candidates", some)})
        gates.approve_these(self.session, step, members, actor=night.ACTOR, reason="They are sharp.")


Act = Callable[[Walk], object]
ACTS: dict[str, tuple[Act, int]] = {
    "take": (lambda w: take(w.session, w.rng.randint(1, 4)), 14),
    "finish": (Walk.finish_one, 26),
    "fail": (Walk.fail_one, 2),
    "approve": (lambda w: gates.approve(w.session, w.gate(), w.rng.randint(1, 2), actor="Olga"), 10),
    "approve at night": (Walk.approve_at_night, 3),
    "undo the night": (lambda w: night.undo_night(w.session, w.any("pipeline_runs")), 2),
    "unapprove": (
        lambda w: gates.unapprove(
            w.session,
            w.any("pipeline_run_steps", "approved_at IS NOT NULL"),
            actor="Olga",
            stop=w.rng.random() < 0.5,
        ),
        6,
    ),
    "reject": (lambda w: gates.reject(w.session, w.any("image_candidates", "status = 'active'")), 7),
    "unreject": (lambda w: gates.unreject(w.session, w.any("image_candidates", "status = 'rejected'")), 7),
    "reject and undo": (Walk.reject_and_undo, 4),
    "pause": (lambda w: runs.pause_run(w.session, w.any("pipeline_runs")), 2),
    "resume": (lambda w: runs.resume_run(w.session, w.any("pipeline_runs")), 5),
    "cancel": (lambda w: runs.cancel_run(w.session, w.any("pipeline_runs")), 1),
    "reopen": (lambda w: run_acts.reopen_run(w.session, w.any("pipeline_runs")), 4),
    "winner": (lambda w: gates.choose_winner(w.session, w.last_picture(), actor="Olga"), 5),
    "unchoose": (lambda w: gates.unchoose_winner(w.session, w.any("pipeline_runs"), actor="Olga"), 2),
    "begin": (Walk.begin, 1),
    "delete": (
        lambda w: delete_run(w.session, w.any("pipeline_runs"), actor="Olga", even_used=True),
        1,
    ),
}
"""What may happen → how, and how often among the others."""


@pytest.mark.long(but=["0"])
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_in_whatever_order_the_rules_hold(session: Session, seed: int) -> None:
    walk = Walk(session, seed)
    trail: list[str] = []
    for _ in range(STEPS):
        trail.append(walk.step())
        session.expire_all()
        for rule, query in RULES.items():
            broken = session.execute(text(query)).scalars().all()
            assert not broken, (rule, broken, trail[-12:])
    assert {"winner", "approve", "approve at night", "unreject"} <= walk.done.keys(), walk.done
