"""What a persona is linked with: the clusters that serve its pillars, and its Instagram account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.fields import SecretField, TextField
from persona_tui.widgets.form import FormDialog, Values

if TYPE_CHECKING:
    from pydantic import SecretStr
    from sqlmodel import Session

    from persona_tui.resources import Resources
    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.planning.personas import PersonaView
    from persona_tui.services.planning.pillars import PillarView

NEW_CLUSTER = 0
"""Stands for a cluster that is still to be made; no row has this id."""
NOBODY = "0"
"""Stands for the account's id while Instagram is asked for it: the token alone says whose it is."""
WHENCE = (
    "From the Meta app's dashboard: Instagram, API setup with Instagram login, Generate token. Instagram is "
    "asked whose it is; then it is kept encrypted."
)


async def link_clusters(screen: PersonaScreen, pillar: PillarView) -> int:
    """Ask for one cluster after another until Esc; each serves the pillar from then on.

    Returns:
        How many were linked.
    """
    from persona_tui.services.library.clusters import assign_pillar, list_clusters

    linked, current = 0, None
    while True:
        choices = _choices(await screen.read(list_clusters, pillar.persona_id), pillar)
        dialog = ChoiceDialog(f"Which clusters serve {pillar.name}?", choices, current=current)
        chosen = await screen.ask(dialog)
        if chosen is None:
            return linked
        current = chosen.value
        if current == NEW_CLUSTER:
            linked += await _new_cluster(screen, pillar)
        else:
            await screen.act(assign_pillar, current, pillar.id)
            linked += 1


def _choices(clusters: tuple[ClusterView, ...], pillar: PillarView) -> list[Choice[int]]:
    """A new one first, then those without a pillar, then the others'."""
    ordered = sorted(
        clusters, key=lambda cluster: (cluster.pillar_id is not None, cluster.pillar_id == pillar.id)
    )
    choices = [Choice(NEW_CLUSTER, "+ a new cluster")]
    for cluster in ordered:
        note = f"serves {cluster.pillar}" if cluster.pillar else "without a pillar"
        here = cluster.pillar_id == pillar.id
        choices.append(Choice(cluster.id, cluster.name, "✓ serves it already" if here else note))
    return choices


async def _new_cluster(screen: PersonaScreen, pillar: PillarView) -> bool:
    from persona_tui.services.library.clusters import create_cluster

    async def submit(typed: Values) -> None:
        await screen.act(create_cluster, pillar.persona_id, typed, pillar_id=pillar.id)

    field = TextField(name="name", label="Name", required=True, longest=80)
    form = FormDialog("New cluster", [field], about=pillar.name, submit=submit)
    return await screen.ask(form) is not None


async def connect_account(screen: PersonaScreen, persona: PersonaView) -> str | None:
    """Ask for a token, ask Instagram whose it is, and keep it.

    Returns:
        The account's user name; None when the operator thought better of it.
    """
    from pydantic import SecretStr

    from persona_tui.logs import register_secret

    resources = screen.shell.core.resources
    names: list[str] = []

    async def submit(typed: Values) -> None:
        token = typed["token"]
        register_secret(token)
        client = resources.instagram_client(NOBODY, token)
        try:
            facts = await client.me()
        finally:
            await client.aclose()
        await screen.act(_keep, resources, persona.id, facts.ig_user_id, facts.username, SecretStr(token))
        names.append(facts.username)

    title, field = (
        f"Instagram account of {persona.name}",
        SecretField(name="token", label="Token", required=True),
    )
    await screen.ask(FormDialog(title, [field], about=WHENCE, submit=submit))
    return names[-1] if names else None


def _keep(
    session: Session,
    resources: Resources,
    persona_id: int,
    ig_user_id: str,
    username: str,
    token: SecretStr,
) -> None:
    """A known account gets the new token, another one is added."""
    from persona_tui.services.publishing.accounts import account_of_persona, add_account, replace_token

    known = account_of_persona(session, persona_id)
    if known is not None and known.ig_user_id == ig_user_id:
        replace_token(session, resources.keyring, known.id, token)
        return
    values = {"persona_id": persona_id, "ig_user_id": ig_user_id, "username": username, "token": token}
    add_account(session, resources.keyring, values)
