"""The persona and the cluster that a pipeline's runs inherit."""

from __future__ import annotations

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.services.generation.pipeline_input import PipelineInput
from persona_tui.services.library.clusters import find_cluster


def set_defaults(session: Session, pipeline_id: int, given: PipelineInput) -> None:
    """Set what a file names; a persona that changes takes the cluster of the other one away.

    Raises:
        UnknownName: persona or cluster is not there.
        InvalidRequest: a cluster without a persona.
    """
    named = given.model_fields_set
    if "persona" in named:
        set_persona(session, pipeline_id, given.persona)
    if "cluster" in named:
        set_cluster(session, pipeline_id, given.cluster)


def set_persona(session: Session, pipeline_id: int, name: str | None) -> None:
    """Set or take away the default persona.

    Raises:
        UnknownName: there is no such persona.
    """
    persona_id = None if name is None else _persona_id(session, name)
    session.execute(
        text(
            "UPDATE pipelines SET persona_id = :persona,"
            " cluster_id = CASE WHEN persona_id IS NOT DISTINCT FROM :persona THEN cluster_id END"
            " WHERE id = :id"
        ),
        {"persona": persona_id, "id": pipeline_id},
    )


def set_cluster(session: Session, pipeline_id: int, name: str | None) -> None:
    """Set or take away the default cluster, one of the default persona's.

    Raises:
        UnknownName: the persona has no such cluster.
        InvalidRequest: the pipeline has no default persona.
    """
    cluster_id = None
    if name is not None:
        persona_id = session.execute(
            text("SELECT persona_id FROM pipelines WHERE id = :id"), {"id": pipeline_id}
        ).scalar_one()
        if persona_id is None:
            raise InvalidRequest(
                "A pipeline without a persona has no cluster.", hint="Give it a persona as well."
            )
        cluster_id = find_cluster(session, persona_id, name).id
    session.execute(
        text("UPDATE pipelines SET cluster_id = :cluster WHERE id = :id"),
        {"cluster": cluster_id, "id": pipeline_id},
    )


def _persona_id(session: Session, name: str) -> int:
    found = session.execute(
        text("SELECT id FROM personas WHERE lower(name) = lower(:name)"), {"name": name.strip()}
    ).scalar_one_or_none()
    if found is None:
        raise UnknownName(
            f"There is no persona {name}.", hint="`persona-tui persona list` shows what there is."
        )
    return int(found)
