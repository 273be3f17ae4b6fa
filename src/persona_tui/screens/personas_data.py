"""What Personas & Pillars reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.planning.overview import PillarBranch
    from persona_tui.services.planning.personas import PersonaView
    from persona_tui.services.publishing.accounts import AccountView


@dataclass(frozen=True, slots=True)
class PersonasView:
    """What the screen shows.

    Attributes:
        accounts: by persona.
        shown: the persona whose pillars are shown; None when there is no persona.
        unlinked: its clusters without a pillar.
    """

    personas: tuple[PersonaView, ...]
    accounts: Mapping[int, AccountView]
    shown: PersonaView | None
    branches: tuple[PillarBranch, ...]
    unlinked: tuple[ClusterView, ...]

    def free(self, pillar_id: int | None) -> float:
        """Percent that the other active pillars leave to this one."""
        pillars = [branch.pillar for branch in self.branches]
        return 100 - sum(pillar.weight for pillar in pillars if pillar.active and pillar.id != pillar_id)


def read_personas(session: Session, persona_id: int | None, days: int) -> PersonasView:
    """All personas, and the pillars of one; runs in a thread.

    Args:
        persona_id: whose pillars; None, or an id that is gone, takes the first persona.
        days: over which gaps are counted.
    """
    from sqlalchemy import text

    from persona_tui.services.planning.overview import pillar_tree
    from persona_tui.services.planning.personas import list_personas
    from persona_tui.services.publishing.accounts import list_accounts

    personas = list_personas(session)
    # An account that Instagram has shut off gives way to the one that took its place.
    found = sorted(list_accounts(session), key=lambda account: account.status != "restricted")
    accounts = {account.persona_id: account for account in found}
    shown = next((persona for persona in personas if persona.id == persona_id), None)
    shown = shown or next(iter(personas), None)
    if shown is None:
        return PersonasView(personas, accounts, None, (), ())
    now = session.execute(text("SELECT persona_now()")).scalar_one()
    return PersonasView(personas, accounts, shown, *pillar_tree(session, shown.id, now, days))
