"""Which LoRAs a run takes, what it says of those that it leaves out, and that old pictures keep theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.services.generation import pipelines, runs
from persona_tui.services.generation.cloning import clone_run
from persona_tui.services.generation.run_loras import loras_by_run
from persona_tui.services.generation.traces import traces
from persona_tui.services.generation.usual_pipeline import usual_pipeline
from persona_tui.services.generation.warnings import warn, warnings_of
from persona_tui.services.loras.mappings import use_lora
from persona_tui.services.publishing.post_views import get_post
from tests.database.growing import add_persona, grow
from tests.support.comfyui import node
from tests.support.world import digest, insert, make_plan, make_post

Lora = Callable[..., int]


def workflow(model: str = "flux1-dev.safetensors", **more: Any) -> dict[str, Any]:
    return {
        "1": node("UNETLoader", unet_name=model, weight_dtype="default"),
        "5": node("KSampler", model=["1", 0], seed="{{seed}}", text="{{prompt}}"),
        "9": node("SaveImage", images=["5", 0], filename_prefix="x"),
        **more,
    }


@pytest.fixture
def lora(session: Session) -> Lora:
    """Adds a LoRA; with `persona`, that one uses it."""

    def add(name: str, persona: int | None = None, **values: Any) -> int:
        how = values.pop("use", {})
        facts = {"model_type": "character", "base_family": "flux", "trigger_word": f"tok_{name}", **values}
        details = facts.pop("details", "{}")
        lora_id = insert(
            session, "lora_models", name=name, persona_id=persona, file_path=f"{name}-v1.safetensors",
            sha256=digest(name), details=details, **facts,
        )  # fmt: skip
        if persona is not None:
            use_lora(session, persona, lora_id, how)
        return lora_id

    return add


def create(session: Session, *workflows: dict[str, Any], **values: Any) -> runs.RunDetail:
    steps = [{"name": f"step{n}", "workflow": flow} for n, flow in enumerate(workflows or (workflow(),), 1)]
    name = values.pop("pipeline", "portrait")
    pipelines.import_pipeline(session, {"name": name, "steps": steps})
    return runs.run_detail(
        session, runs.create_run(session, {"pipeline": name, "prompt": "tea", **values}).id
    )


def used(run: runs.RunDetail) -> list[tuple[str, float, int]]:
    return [(one.name, one.weight, one.position) for one in run.loras]


def said(run: runs.RunDetail) -> list[str]:
    return [one.sentence for one in run.warnings]


def test_a_run_takes_what_its_persona_uses_the_primary_first(session: Session, lora: Lora) -> None:
    mira = add_persona(session)
    lora("ink", mira, model_type="style")
    lora("first", mira, use={"weight": 0.5})
    lora("second", mira, use={"primary": True, "weight": 0.9})
    lora("unused")
    lora("other", mira, base_family="qwen-image")
    run = create(session, persona_id=mira)
    assert used(run) == [("second", 0.9, 1), ("ink", 1.0, 2), ("first", 0.5, 3)]
    assert said(run) == []


def test_the_operator_picks_others_or_none(session: Session, lora: Lora) -> None:
    mira = add_persona(session)
    lora("mine", mira)
    ink = lora("ink", model_type="style")
    assert used(create(session, persona_id=mira, loras=[{"lora_model_id": ink, "weight": 0.3}])) == [
        ("ink", 0.3, 1)
    ]
    assert used(create(session, persona_id=mira, loras=[])) == []
    assert used(create(session, loras=[{"lora_model_id": ink, "weight": 1}])) == [("ink", 1.0, 1)]


def test_what_does_not_fit_is_skipped_with_a_warning(session: Session, lora: Lora) -> None:
    wrong, editor = lora("wrong", base_family="sdxl"), lora("angles", model_type="editor")
    good = lora("good")
    picked = [{"lora_model_id": one, "weight": 1} for one in (wrong, editor, good)]
    run = create(session, loras=picked)
    assert used(run) == [("good", 1.0, 1)]
    assert said(run) == [
        "wrong@1 is not used: the LoRA is for sdxl, the workflow for flux.",
        "angles@1 is not used: it is an editor's LoRA, and the workflow does not edit pictures.",
    ]
    assert {one.kind for one in run.warnings} == {"lora"}


def test_a_step_of_another_family_says_that_it_leaves_the_lora_out(session: Session, lora: Lora) -> None:
    mira = add_persona(session)
    lora("mira", mira)
    upscale = {
        "1": node("LoadImage", image="{{parent_image}}"),
        "9": node("SaveImage", images=["1", 0], filename_prefix="x"),
    }
    refine = workflow("sd_xl_base_1.0.safetensors", **{"2": node("LoadImage", image="{{parent_image}}")})
    run = create(session, workflow(), refine, upscale, persona_id=mira)
    assert used(run) == [("mira", 1.0, 1)]
    assert said(run) == ["Step 2, step2: mira@1 is not used: the LoRA is for flux, the workflow for sdxl."]


def test_a_persona_none_of_whose_loras_fits_is_told_so(session: Session, lora: Lora) -> None:
    mira = add_persona(session)
    lora("mira", mira, base_family="sdxl")
    run = create(session, persona_id=mira)
    assert used(run) == []
    assert said(run) == ["None of the persona's LoRAs is used: the LoRA is for sdxl, the workflow for flux."]


PIPE = {
    "1": node("MagicPipe", file="flux1-dev.gguf"),
    "5": node("MagicDraw", pipe=["1", 0], seed="{{seed}}", text="{{prompt}}"),
    "9": node("SaveImage", images=["5", 0], filename_prefix="x"),
}
SERVICE = {
    "5": node("FluxProTextToImage", seed="{{seed}}", text="{{prompt}}"),
    "9": node("SaveImage", images=["5", 0], filename_prefix="x"),
}
ENLARGING = {
    "1": node("LoadImage", image="{{parent_image}}"),
    "2": node("UpscaleModelLoader", model_name="4x.pth"),
    "3": node("ImageUpscaleWithModel", upscale_model=["2", 0], image=["1", 0]),
    "9": node("SaveImage", images=["3", 0], filename_prefix="x"),
}


@pytest.mark.parametrize("flow", [PIPE, SERVICE])
def test_a_lora_is_missed_where_no_model_is_recognised(
    session: Session, lora: Lora, flow: dict[str, Any]
) -> None:
    mira = add_persona(session)
    lora("mira", mira)
    run = create(session, flow, persona_id=mira)
    assert used(run) == []
    assert said(run) == ["None of the persona's LoRAs is used: the workflow loads no model that takes LoRAs."]
    later = create(session, workflow(), flow, ENLARGING, persona_id=mira, pipeline="later")
    assert used(later) == [("mira", 1.0, 1)]
    assert said(later) == ["Step 2, step2: mira@1 is not used: the workflow loads no model that takes LoRAs."]


def test_no_lora_is_missed_where_nothing_draws(session: Session, lora: Lora) -> None:
    mira = add_persona(session)
    lora("mira", mira)
    pipelines.ensure_examples(session)
    made = runs.create_run(session, {"pipeline": "no-model", "prompt": "tea", "persona_id": mira})
    assert said(runs.run_detail(session, made.id)) == []


def test_a_model_that_nobody_knows_is_allowed_with_a_note(session: Session, lora: Lora) -> None:
    mira = add_persona(session)
    lora("mira", mira)
    run = create(session, workflow("own.safetensors"), persona_id=mira)
    assert used(run) == [("mira", 1.0, 1)]
    assert said(run) == [
        "Step 1, step1: mira@1 is used, but whether it fits the workflow's model is not known."
    ]


def test_what_comfyui_ignores_is_repeated_on_the_run(session: Session, lora: Lora) -> None:
    mira = add_persona(session)
    lora("mira", mira, details='{"key_warnings": ["ComfyUI ignores it."]}')
    assert said(create(session, persona_id=mira)) == ["mira@1: ComfyUI ignores it."]


def test_a_workflow_that_places_a_lora_has_its_values(session: Session, lora: Lora) -> None:
    mira = add_persona(session)
    lora("mira", mira)
    own = workflow(
        **{
            "2": node("LoraLoaderModelOnly", model=["1", 0], lora_name="{{lora_path}}", strength_model=1),
            "3": node("Note", text="{{trigger_word}} {{lora_weight}}"),
        }
    )
    assert used(create(session, own, persona_id=mira)) == [("mira", 1.0, 1)]
    with pytest.raises(InvalidRequest, match=r"Step 1, step1: Node 2, input lora_name: .*lora_path"):
        create(session, own)


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        ([("ink", 1.5)], InvalidRequest, "Loras 0 weight"),
        ([("ink", 1), ("ink", 1)], InvalidRequest, "picked twice"),
        ([("nils", 1)], InvalidRequest, "another persona's likeness"),
        ([("none", 1)], UnknownName, "no LoRA 0"),
        ([("ink", 1)] * 9, InvalidRequest, "at most 8"),
    ],
)
def test_a_choice_that_can_not_be_is_refused(
    session: Session, lora: Lora, weights: list[tuple[str, float]], error: type[Exception], words: str
) -> None:
    ids = {"ink": lora("ink"), "nils": lora("nils", add_persona(session, "Nils")), "none": 0}
    picked = [{"lora_model_id": ids[name], "weight": weight} for name, weight in weights]
    with pytest.raises(error, match=words):
        create(session, loras=picked)


def test_a_clone_keeps_versions_and_weights(session: Session, lora: Lora) -> None:
    mira = add_persona(session)
    old = lora("mira", mira, use={"weight": 0.4})
    first = create(session, persona_id=mira)
    new = insert(
        session, "lora_models", name="mira", version=2, persona_id=mira, model_type="character",
        base_family="flux", file_path="y", sha256=digest("y"),
    )  # fmt: skip
    use_lora(session, mira, new, {"weight": 1.0})
    again = runs.run_detail(session, clone_run(session, first.id, {}).id)
    assert [(one.lora_model_id, one.weight) for one in again.loras] == [(old, 0.4)]
    fresh = runs.run_detail(session, clone_run(session, first.id, {"loras": None}).id)
    assert [one.lora_model_id for one in fresh.loras] == [new]
    bare = runs.run_detail(session, clone_run(session, again.id, {"loras": []}).id)
    assert bare.loras == ()
    assert runs.run_detail(session, clone_run(session, bare.id, {}).id).loras == ()


def test_pictures_and_their_run_show_the_version_that_made_them(session: Session, lora: Lora) -> None:
    mira = add_persona(session)
    lora("mira", mira, use={"weight": 0.4})
    run = create(session, persona_id=mira)
    pictures = grow(session)
    assert {trace.loras for trace in traces(session, run.id).values()} == {("mira@1 (0.4)",)}
    assert len(traces(session, run.id)) == len(pictures)
    assert loras_by_run(session, [run.id, 0]) == {run.id: run.loras}


def test_a_post_shows_which_lora_made_its_picture(session: Session, lora: Lora) -> None:
    plan = make_plan(session)
    lora("mira", plan.persona_id, use={"weight": 0.4})
    create(session, persona_id=plan.persona_id)
    picture = grow(session)[0]
    posts = [make_post(session, plan, candidate, None) for candidate in (picture, None)]
    shown = [get_post(session, post).pictures for post in posts]
    assert [[one.loras for one in pictures] for pictures in shown] == [[("mira@1 (0.4)",)], []]


def test_a_warning_is_said_once_and_goes_with_its_run(session: Session) -> None:
    run = create(session)
    assert warn(session, run.id, "lora", "It is ignored.") is True
    assert warn(session, run.id, "lora", "It is ignored.") is False
    assert [one.sentence for one in warnings_of(session, run.id)] == ["It is ignored."]
    with pytest.raises(IntegrityError, match="ck_run_warnings_sentence_filled"), session.begin_nested():
        warn(session, run.id, "lora", " ")
    insert_again = "INSERT INTO run_warnings (run_id, kind, sentence) VALUES (:run, 'x', 'It is ignored.')"
    with pytest.raises(IntegrityError, match="uq_run_warnings"), session.begin_nested():
        session.execute(text(insert_again), {"run": run.id})
    session.execute(text("DELETE FROM comfyui_jobs"))
    session.execute(text("DELETE FROM pipeline_runs WHERE id = :run"), {"run": run.id})
    assert warnings_of(session, run.id) == ()


def test_the_usual_pipeline_is_one_that_can_use_the_personas_likeness(session: Session, lora: Lora) -> None:
    ana, bea, cleo = (add_persona(session, name) for name in ("Ana", "Bea", "Cleo"))
    pipelines.ensure_examples(session)
    lora("ana", ana, use={"primary": True})
    lora("bea", bea, base_family="sdxl", use={"primary": True})
    lora("style", cleo, model_type="style", use={"primary": True})
    assert usual_pipeline(session, ana) == "flux-portrait"
    assert [usual_pipeline(session, one) for one in (bea, cleo, None)] == ["two-step"] * 3
    lora("strange", bea, base_family="hidream", use={"primary": True})
    assert usual_pipeline(session, bea) == "two-step"
