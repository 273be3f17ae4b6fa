"""Pipelines in versions, runs from their creation to their end, and the truth of their status."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from persona_tui.errors import GuardRefused, InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.models.pipeline import ComfyuiJob, PipelineStep
from persona_tui.models.safety import AuditEvent
from persona_tui.passed import content_hash
from persona_tui.services.generation import pipelines, runs
from persona_tui.services.generation.cloning import clone_run
from persona_tui.services.generation.examples import EXAMPLES
from persona_tui.services.generation.jobs import RetryPolicy, fail
from persona_tui.services.library.clusters import create_cluster
from tests.database.growing import add_persona, add_run, finish, grow, status, take

WORKFLOW: dict[str, Any] = {
    "1": {"class_type": "KSampler", "inputs": {"seed": "{{seed}}", "text": "{{mood}} {{prompt}}"}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x/{{job_id}}"}},
}
PIPELINE: dict[str, Any] = {"name": "Portraits", "steps": [{"name": "base", "workflow": WORKFLOW}]}


def changed(**values: Any) -> dict[str, Any]:
    return {**PIPELINE, "steps": [{**PIPELINE["steps"][0], **values}]}


def test_the_same_pipeline_again_is_no_new_version_and_a_changed_one_is(session: Session) -> None:
    first = pipelines.import_pipeline(session, PIPELINE)
    again = pipelines.import_pipeline(session, {**PIPELINE, "name": "portraits"})
    other = pipelines.import_pipeline(session, changed(top_k=2))

    assert (first.version, again.version, other.version) == (1, 1, 2)
    assert first.id == again.id == other.id
    assert [step.top_k for step in other.steps] == [2]
    assert [view.version for view in pipelines.list_pipelines(session)] == [2]


def test_what_is_exported_can_be_imported_and_is_the_same(session: Session) -> None:
    pipelines.import_pipeline(session, {**PIPELINE, "description": "Faces."})

    document = json.loads(pipelines.export_pipeline(session, "portraits").model_dump_json())

    assert document["steps"][0]["workflow"] == WORKFLOW
    assert pipelines.import_pipeline(session, document).version == 1
    assert pipelines.get_pipeline(session, "Portraits").description == "Faces."


def test_a_run_keeps_the_version_it_was_made_with(session: Session) -> None:
    pipelines.import_pipeline(session, PIPELINE)
    run = runs.create_run(session, {"pipeline": "Portraits", "prompt": "tea", "variables": {"mood": "calm"}})
    pipelines.import_pipeline(session, changed(children_per_parent=9))

    assert runs.run_detail(session, run.id).pipeline_version == 1
    assert runs.run_detail(session, run.id).steps[0].children_per_parent == 3


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"workflow": {"nodes": [], "links": [], "version": 0.4}}, "step 1, base, .* editor's format"),
        ({"workflow": {"1": {"class_type": "KSampler", "inputs": {}}}}, "it has no SaveImage"),
        (
            {"workflow": {**WORKFLOW, "2": {"class_type": "X", "inputs": {"{{a}}": 1}}}},
            "placeholder in a name",
        ),
        ({"output_node": "77"}, "there is no node 77"),
        ({"children_per_parent": 65}, "must be at most 64"),
    ],
)
def test_a_workflow_that_can_not_run_is_refused_with_its_step(
    session: Session, step: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        pipelines.import_pipeline(session, changed(**step))


def test_the_first_step_can_not_ask_for_a_parent(session: Session) -> None:
    workflow = {**WORKFLOW, "2": {"class_type": "LoadImage", "inputs": {"image": "{{parent_image}}"}}}

    with pytest.raises(InvalidRequest, match="the first step has no parent picture"):
        pipelines.import_pipeline(session, changed(workflow=workflow))


def test_an_imported_workflow_passes_the_guard_as_a_whole(session: Session) -> None:
    pipelines.import_pipeline(session, PIPELINE)
    hashes = session.exec(select(AuditEvent.content_sha256).where(AuditEvent.action == "guard.pass")).all()
    workflow = {
        **WORKFLOW,
        "2": {"class_type": "X", "inputs": {"text": "a child", "more": "nude"}},
    }

    assert content_hash(WORKFLOW) in hashes
    with pytest.raises(GuardRefused):
        pipelines.import_pipeline(session, changed(workflow=workflow))


def test_the_examples_are_ours_and_stay_as_the_operator_changed_them(session: Session) -> None:
    made = pipelines.ensure_examples(session)
    two_step = pipelines.export_pipeline(session, "two-step")
    pipelines.import_pipeline(session, two_step.model_copy(update={"steps": two_step.steps[:1]}))

    assert [view.name for view in made] == list(EXAMPLES)
    assert pipelines.ensure_examples(session) == ()
    assert len(pipelines.get_pipeline(session, "two-step").steps) == 1
    assert [(step.children_per_parent, step.top_k) for step in two_step.steps] == [(4, 1), (2, 1)]
    assert pipelines.pipeline_detail(session, "one-step").warnings == ()
    assert pipelines.pipeline_detail(session, "two-step").variables == (
        "job_id",
        "negative",
        "prompt",
        "seed",
    )


def test_a_pipeline_that_would_make_pictures_all_alike_is_warned_about(session: Session) -> None:
    workflow = {"9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}
    made = pipelines.import_pipeline(session, changed(workflow=workflow))

    assert pipelines.pipeline_detail(session, made.id).warnings == (
        "Step 1, base, has no {{seed}}: all its pictures will be alike.",
    )


def test_a_new_run_has_its_steps_and_the_places_of_the_first(session: Session) -> None:
    persona = add_persona(session)
    run = add_run(session, persona_id=persona, seed=7)

    assert run.status == "pending"
    assert run.name.startswith("two-step - 20")
    assert [(step.wanted, step.open, step.is_open) for step in run.steps] == [(4, 4, True), (2, 0, False)]
    assert (run.persona, run.pipeline, run.current.position) == ("Ana", "two-step", 1)
    assert runs.run_detail(session, run.id).seed == 7
    assert runs.list_runs(session, persona, ["pending"])[0].id == run.id
    assert runs.list_runs(session, persona, ["completed"]) == ()


def test_n_and_k_can_be_set_for_one_run(session: Session) -> None:
    run = add_run(session, steps={1: {"children_per_parent": 6, "top_k": 3}, 2: {"children_per_parent": 1}})

    assert [(step.children_per_parent, step.top_k, step.wanted) for step in run.steps] == [
        (6, 3, 6),
        (1, 1, 3),
    ]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"prompt": " "}, "Prompt: it is empty"),
        ({"variables": {"prompt": "x"}}, "the variable prompt is set by the program"),
        ({"variables": {"my mood": "x"}}, "no name for a variable"),
        ({"steps": {3: {"top_k": 1}}}, "has no step 3"),
        ({"seed": -1}, "must be at least 0"),
        ({"colour": "red"}, "Colour: "),
    ],
)
def test_a_run_that_can_not_be_is_refused(session: Session, values: dict[str, Any], sentence: str) -> None:
    pipelines.ensure_examples(session)

    with pytest.raises(InvalidRequest, match=sentence):
        runs.create_run(session, {"pipeline": "two-step", "prompt": "tea", **values})


def test_a_variable_without_a_value_is_told_when_the_run_is_made(session: Session) -> None:
    pipelines.import_pipeline(session, PIPELINE)

    with pytest.raises(InvalidRequest) as told:
        runs.create_run(session, {"pipeline": "Portraits", "prompt": "tea"})

    assert told.value.message == "Step 1, base: Node 1, input text: the variable {{mood}} has no value."


def test_another_personas_cluster_is_not_there(session: Session) -> None:
    ana, eva = add_persona(session), add_persona(session, "Eva")
    cluster = create_cluster(session, eva, {"name": "Beach"})
    pipelines.ensure_examples(session)

    with pytest.raises(UnknownName, match=f"no cluster {cluster.id}"):
        runs.create_run(
            session, {"pipeline": "two-step", "prompt": "tea", "persona_id": ana, "cluster_id": cluster.id}
        )


def test_the_guard_reads_prompt_negative_and_variables_together(session: Session) -> None:
    pipelines.ensure_examples(session)

    with pytest.raises(GuardRefused):
        runs.create_run(
            session, {"pipeline": "two-step", "prompt": "nude portrait", "variables": {"who": "schoolgirl"}}
        )


def test_a_status_follows_the_tree(session: Session) -> None:
    run = add_run(session)
    seen = [status(session, run.id)]
    first, second = take(session, 2)
    seen.append(status(session, run.id))
    finish(session, first)
    finish(session, second)
    seen.append(status(session, run.id))
    grow(session)
    seen.append(status(session, run.id))

    assert seen == ["pending", "running", "running", "waiting"]
    assert [view.id for view in runs.runs_waiting_for_votes(session)] == [run.id]
    step = runs.run_detail(session, run.id).current
    assert (step.active, step.in_flight, step.open, step.contest_ready) == (4, 0, 0, True)
    assert step.contest_id is not None


def test_a_paused_run_begins_nothing_and_goes_on_where_it_was(session: Session) -> None:
    run = add_run(session)
    (job,) = take(session, 1)
    runs.pause_run(session, run.id)

    assert take(session, 9) == []
    assert len(finish(session, job)) == 1
    assert status(session, run.id) == "paused"
    assert runs.resume_run(session, run.id).status == "running"
    assert len(grow(session)) == 3


def test_a_cancelled_run_takes_no_further_picture(session: Session) -> None:
    run = add_run(session)
    (job,) = take(session, 1)
    cancelled = runs.cancel_run(session, run.id)

    assert (cancelled.status, cancelled.steps[0].in_flight) == ("cancelled", 0)
    assert cancelled.finished_at is not None
    assert finish(session, job) == ()
    assert take(session, 9) == []
    with pytest.raises(NotAllowedNow):
        runs.resume_run(session, run.id)


def test_a_place_is_given_up_after_four_tries_and_resume_tries_again(session: Session) -> None:
    run = add_run(session, steps={1: {"children_per_parent": 1}})
    policy = RetryPolicy(delays=(0.0,))
    seeds = []
    for _ in range(4):
        (job,) = take(session, 1)
        seeds.append(session.get_one(ComfyuiJob, job.id).seed)
        assert fail(session, job, "Out of memory.", policy)

    failed = runs.run_detail(session, run.id)
    assert (failed.status, failed.reason) == ("failed", "Step 1: Out of memory.")
    assert (failed.current.failed, failed.current.active) == (1, 0)
    assert len(set(seeds)) == 4
    assert take(session, 1) == []
    assert runs.resume_run(session, run.id).reason == ""
    assert len(grow(session)) == 1
    assert status(session, run.id) == "waiting"


def test_a_failure_for_good_fails_the_run_and_not_the_others(session: Session) -> None:
    run, other = add_run(session), add_run(session)
    job = next(job for job in take(session, 9) if job.run_id == run.id)
    fail(session, job, "Value 0 smaller than min of 1.", RetryPolicy(), permanent=True)

    assert status(session, run.id) == "failed"
    assert runs.run_detail(session, run.id).reason == "Step 1: Value 0 smaller than min of 1."
    assert status(session, other.id) == "running"


def test_a_pipelines_step_never_changes(session: Session) -> None:
    pipelines.import_pipeline(session, PIPELINE)
    step = session.exec(select(PipelineStep)).one()

    with pytest.raises(Exception, match="append-only"):
        session.execute(text("UPDATE pipeline_steps SET name = 'x' WHERE id = :id"), {"id": step.id})


def _cloneable(session: Session) -> runs.RunView:
    """A run of a two-step pipeline with words, variables, N and K of its own."""
    second = {"name": "refine", "workflow": WORKFLOW}
    pipelines.import_pipeline(session, {**PIPELINE, "steps": [*PIPELINE["steps"], second]})
    plan = {"1": {"children_per_parent": 5}, "2": {"children_per_parent": 2, "top_k": 2}}
    values = {"pipeline": "Portraits", "prompt": "tea", "negative": "blur", "seed": 7, "steps": plan}
    return runs.create_run(session, {**values, "variables": {"mood": "calm"}})


def test_a_clone_is_the_same_run_once_more_and_the_first_one_stays(session: Session) -> None:
    first = _cloneable(session)
    runs.cancel_run(session, first.id)

    again = runs.run_detail(session, clone_run(session, first.id, {}).id)

    assert (again.prompt, again.negative, again.variables) == ("tea", "blur", {"mood": "calm"})
    assert [(step.children_per_parent, step.top_k) for step in again.steps] == [(5, 1), (2, 2)]
    assert again.status == "pending" and again.seed != 7 and again.name != ""
    assert runs.run_detail(session, first.id).status == "cancelled"


def test_changes_are_laid_over_the_old_run(session: Session) -> None:
    first = _cloneable(session)
    changes = {
        "prompt": "coffee",
        "seed": 7,
        "steps": {2: {"children_per_parent": 4}},
        "variables": {"mood": 3},
    }

    again = runs.run_detail(session, clone_run(session, first.id, changes).id)

    assert (again.prompt, again.negative, again.seed, again.variables) == ("coffee", "blur", 7, {"mood": "3"})
    assert [(step.children_per_parent, step.top_k) for step in again.steps] == [(5, 1), (4, 2)]


def test_a_clone_runs_on_the_newest_version_and_on_another_pipeline_with_its_plan(session: Session) -> None:
    first = _cloneable(session)
    pipelines.import_pipeline(session, PIPELINE)
    other = pipelines.import_pipeline(session, {**changed(children_per_parent=6), "name": "Other"})

    newest = clone_run(session, first.id, {})
    elsewhere = clone_run(session, first.id, {"pipeline": other.id})

    assert newest.pipeline_version == 2 and [step.children_per_parent for step in newest.steps] == [5]
    assert elsewhere.pipeline == "Other" and [step.children_per_parent for step in elsewhere.steps] == [6]


def test_what_a_clone_may_not_be_is_told_and_nothing_is_made(session: Session) -> None:
    first = _cloneable(session)
    for changes in ({"steps": {9: {"top_k": 1}}}, {"prompt": " "}, {"variables": {"seed": 1}}):
        with pytest.raises(InvalidRequest):
            clone_run(session, first.id, changes)
    with pytest.raises(UnknownName):
        clone_run(session, first.id + 1, {})
    with pytest.raises(GuardRefused):
        clone_run(session, first.id, {"prompt": "a nude 15 year old"})
    assert [run.id for run in runs.list_runs(session)] == [first.id]
