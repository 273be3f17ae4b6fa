"""Voting's background jobs."""

from __future__ import annotations

from asyncio import to_thread

from procrastinate import Blueprint, JobContext, RetryStrategy

from persona_tui.services.jobs import JobTools
from persona_tui.services.voting import predictions
from persona_tui.services.voting.taste import learn

NAMESPACE = "voting"


def make_blueprint() -> Blueprint:
    """The room's tasks, made anew for each App: an App changes the tasks that it takes up."""
    blueprint = Blueprint()
    retry = RetryStrategy(max_attempts=4, exponential_wait=4)
    blueprint.task(name="predict", pass_context=True, retry=retry)(predict)
    return blueprint


async def predict(context: JobContext, persona_id: int, model_hash: str) -> None:
    """Learn the persona's taste where enough was voted, and begin its open contests with it."""
    tools: JobTools = context.additional_context["tools"]

    def gather() -> predictions.Material | None:
        with tools.scope() as session:
            return predictions.material(session, persona_id, model_hash)

    found = await to_thread(gather)
    learnt = None
    if found is not None:
        learnt = found, await tools.pool.run(learn, found.vectors, found.shown, found.chosen)

    def store() -> None:
        with tools.scope() as session:
            if learnt is not None:
                predictions.keep(session, persona_id, model_hash, *learnt)
            predictions.predict(session, persona_id, model_hash)

    await to_thread(store)
