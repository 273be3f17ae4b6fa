"""Pipelines that are there: defaults, variables by step, changes, drafts, and deleting."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import DuplicateName, GuardRefused, InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.services.generation import pipelines, runs
from persona_tui.services.generation.editing import open_draft, read_draft, store_draft
from persona_tui.services.generation.examples import EXAMPLES
from persona_tui.services.generation.pipeline_acts import change_pipeline, change_step, delete_pipeline
from persona_tui.services.library.clusters import create_cluster
from persona_tui.services.planning.personas import delete_persona
from tests.database.growing import add_persona

SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x/{{job_id}}"}}
WORKFLOW: dict[str, Any] = {
    "1": {
        "class_type": "KSampler",
        "inputs": {"seed": "{{seed}}", "steps": "{{steps}}", "text": "{{prompt}}"},
    },
    "9": SAVE,
}
CHILD: dict[str, Any] = {
    **WORKFLOW,
    "2": {"class_type": "LoadImage", "inputs": {"image": "{{parent_image_path}}"}},
}
PIPELINE: dict[str, Any] = {
    "name": "Portraits",
    "steps": [{"name": "base", "workflow": WORKFLOW}, {"name": "more", "workflow": CHILD}],
}
DECLARED: dict[str, Any] = {
    "KSampler": {"input": {"required": {"seed": ["INT", {}], "steps": ["INT", {}], "text": ["STRING", {}]}}},
}


@pytest.fixture
def made(session: Session) -> pipelines.PipelineView:
    """A pipeline of two steps."""
    return pipelines.import_pipeline(session, PIPELINE)


def test_each_step_says_which_variables_it_needs(session: Session, made: pipelines.PipelineView) -> None:
    base, more = pipelines.pipeline_detail(session, made.id).needs

    assert [need.name for need in base] == ["job_id", "prompt", "seed", "steps"]
    assert [need.name for need in more] == ["job_id", "parent_image_path", "prompt", "seed", "steps"]
    assert {need.name for need in base if not need.built_in} == {"steps"}


def test_a_step_that_takes_the_parent_by_its_path_ignores_nothing(
    session: Session, made: pipelines.PipelineView
) -> None:
    assert pipelines.pipeline_detail(session, made.id).warnings == ()
    with pytest.raises(InvalidRequest, match=r"step 1, more, .* uses \{\{parent_image_path\}\}"):
        pipelines.import_pipeline(session, {**PIPELINE, "steps": PIPELINE["steps"][1:]})


def test_what_a_server_says_of_inputs_is_kept_and_makes_no_version(
    session: Session, made: pipelines.PipelineView
) -> None:
    own = {"class_type": "KSampler", "inputs": {"text": "{{mood}}"}}
    steps = [{"name": "base", "workflow": {**WORKFLOW, "1": own}}]
    pipelines.import_pipeline(session, {**PIPELINE, "steps": steps})
    again = pipelines.import_pipeline(session, {**PIPELINE, "steps": steps}, DECLARED)

    assert again.version == 2
    kinds = {need.name: need.kind for need in pipelines.pipeline_detail(session, made.id).asked}
    assert kinds["mood"] == "text"


def test_the_words_of_a_run_become_what_its_placeholders_take(
    session: Session, made: pipelines.PipelineView
) -> None:
    plan = {"pipeline": made.id, "prompt": "tea"}
    run = runs.create_run(session, {**plan, "variables": {"steps": "12"}})

    assert runs.run_detail(session, run.id).variables == {"steps": 12}
    with pytest.raises(InvalidRequest, match="The variable steps takes a whole number"):
        runs.create_run(session, {**plan, "variables": {"steps": "many"}})


def test_a_variable_without_a_value_names_step_node_and_input(
    session: Session, made: pipelines.PipelineView
) -> None:
    with pytest.raises(
        InvalidRequest, match=r"Step 1, base: Node 1, input steps: the variable \{\{steps\}\}"
    ):
        runs.create_run(session, {"pipeline": made.id, "prompt": "tea"})


def test_runs_inherit_persona_and_cluster_and_may_have_others(
    session: Session, made: pipelines.PipelineView
) -> None:
    mira, tom = add_persona(session, "Mira"), add_persona(session, "Tom")
    cluster = create_cluster(session, mira, {"name": "Coffee"})
    view = change_pipeline(session, made.id, {"persona": "mira", "cluster": "coffee"})
    plan = {"pipeline": made.id, "prompt": "tea", "variables": {"steps": 2}}

    assert (view.persona, view.cluster, view.version) == ("Mira", "Coffee", 1)
    first = runs.create_run(session, plan)
    other = runs.create_run(session, {**plan, "persona_id": tom})
    assert (first.persona_id, first.cluster_id) == (mira, cluster.id)
    assert (other.persona_id, other.cluster_id) == (tom, None)


def test_a_persona_that_is_only_a_default_may_be_deleted(
    session: Session, made: pipelines.PipelineView
) -> None:
    persona = add_persona(session, "Mira")
    change_pipeline(session, made.id, {"persona": "Mira"})

    delete_persona(session, persona)

    assert pipelines.get_pipeline(session, made.id).persona is None


def test_defaults_by_file_go_the_round_trip_and_null_takes_them_away(
    session: Session, made: pipelines.PipelineView
) -> None:
    persona = add_persona(session, "Mira")
    create_cluster(session, persona, {"name": "Coffee"})
    pipelines.import_pipeline(session, {**PIPELINE, "persona": "Mira", "cluster": "Coffee"})
    document = json.loads(pipelines.export_pipeline(session, made.id).model_dump_json())

    assert (document["persona"], document["cluster"]) == ("Mira", "Coffee")
    assert pipelines.import_pipeline(session, PIPELINE).persona == "Mira"
    assert pipelines.import_pipeline(session, {**PIPELINE, "persona": None}).cluster is None
    again = pipelines.import_pipeline(session, document)
    assert (again.persona, again.cluster, again.version) == ("Mira", "Coffee", 1)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"persona": "nobody"}, UnknownName),
        ({"cluster": "Coffee"}, InvalidRequest),
        ({"persona": "Mira", "cluster": "nothing"}, UnknownName),
        ({"name": "two-step"}, DuplicateName),
        ({"colour": "red"}, InvalidRequest),
    ],
)
def test_defaults_and_names_that_are_not_there_or_taken_are_told(
    session: Session, made: pipelines.PipelineView, change: dict[str, Any], problem: type[Exception]
) -> None:
    add_persona(session, "Mira")
    pipelines.ensure_examples(session)
    with pytest.raises(problem):
        change_pipeline(session, made.id, change)


def test_a_changed_step_makes_a_version_and_old_runs_keep_theirs(
    session: Session, made: pipelines.PipelineView
) -> None:
    run = runs.create_run(session, {"pipeline": made.id, "prompt": "tea", "variables": {"steps": 2}})
    changed = change_step(session, made.id, 2, {"children_per_parent": 7, "output_node": "9"})

    assert (changed.version, changed.steps[1].children_per_parent) == (2, 7)
    assert runs.run_detail(session, run.id).steps[1].children_per_parent == 3
    assert change_step(session, made.id, 2, {"children_per_parent": 7}).version == 2
    assert change_step(session, made.id, 2, {"output_node": None}).version == 3
    with pytest.raises(InvalidRequest, match="has no step 3"):
        change_step(session, made.id, 3, {"top_k": 1})
    with pytest.raises(InvalidRequest, match="no node 77"):
        change_step(session, made.id, 1, {"output_node": "77"})


def test_a_draft_of_a_step_or_of_all_is_stored_as_a_version(
    session: Session, made: pipelines.PipelineView
) -> None:
    draft = open_draft(session, made.id, 2)
    file = read_draft(draft, draft.text.replace('"timeout": 600', '"timeout": 90'))
    assert store_draft(session, draft, file).steps[1].timeout == 90

    whole = open_draft(session, made.id)
    file = read_draft(whole, whole.text.replace('"Portraits"', '"Faces"').replace('"base"', '"first"'))
    view = store_draft(session, whole, file)
    assert (view.id, view.name, view.version, view.steps[0].name) == (made.id, "Faces", 3, "first")


def test_a_draft_of_what_changed_meanwhile_is_not_stored(
    session: Session, made: pipelines.PipelineView
) -> None:
    draft = open_draft(session, made.id, 1)
    change_step(session, made.id, 2, {"top_k": 3})

    with pytest.raises(NotAllowedNow, match="changed meanwhile"):
        store_draft(session, draft, read_draft(draft, draft.text))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [("{", "no JSON any more: .*line 1"), ("[]", "no JSON object"), ("{}", "has no steps")],
)
def test_a_draft_that_can_not_be_read_is_told(
    session: Session, made: pipelines.PipelineView, words: str, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        read_draft(open_draft(session, made.id), words)


def test_a_changed_workflow_passes_the_guard(session: Session, made: pipelines.PipelineView) -> None:
    workflow = {**WORKFLOW, "2": {"class_type": "X", "inputs": {"text": "a child", "more": "nude"}}}
    with pytest.raises(GuardRefused):
        change_step(session, made.id, 1, {"workflow": workflow})


def test_only_a_pipeline_without_runs_is_deleted(session: Session, made: pipelines.PipelineView) -> None:
    runs.create_run(session, {"pipeline": made.id, "prompt": "tea", "variables": {"steps": 2}})
    with pytest.raises(NotAllowedNow, match="1 run used the pipeline Portraits"):
        delete_pipeline(session, made.id)
    pipelines.import_pipeline(session, {**PIPELINE, "name": "Other"})
    delete_pipeline(session, "Other")
    with pytest.raises(UnknownName):
        pipelines.get_pipeline(session, "Other")
    assert session.execute(text("SELECT count(*) FROM pipeline_versions")).scalar_one() == 1


def test_an_example_that_was_deleted_or_renamed_does_not_come_back(session: Session) -> None:
    pipelines.ensure_examples(session)
    delete_pipeline(session, "qwen-image")
    change_pipeline(session, "no-model", {"name": "Cards"})

    assert pipelines.ensure_examples(session) == ()
    names = {view.name for view in pipelines.list_pipelines(session)}
    assert names == {*EXAMPLES, "Cards"} - {"qwen-image", "no-model"}


def test_two_thousand_nodes_are_imported_and_told_what_they_need(session: Session) -> None:
    many = {str(n): {"class_type": "X", "inputs": {"text": f"{{{{v{n % 7}}}}}"}} for n in range(98, 2098)}
    view = pipelines.import_pipeline(
        session, {"name": "Many", "steps": [{"name": "base", "workflow": {**WORKFLOW, **many}}]}
    )

    asked = pipelines.pipeline_detail(session, view.id).asked
    assert [need.name for need in asked if not need.built_in] == ["steps", *(f"v{n}" for n in range(7))]
    assert len(next(need for need in asked if need.name == "v0").places) == 286
