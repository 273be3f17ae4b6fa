"""What the keys do on the screen Personas & Pillars."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "personas",
    "Personas & Pillars",
    (
        Action("personas.new-pillar", "n", "New pillar", "Give the persona another content pillar.", 10),
        Action("personas.edit", "e", "Edit", "Change the persona or the pillar under the cursor.", 11),
        Action("personas.clusters", "c", "Clusters", "Choose the clusters that serve the pillar.", 12),
        Action("personas.ideas", "i", "Ideas", "Propose ideas for the pillar, in the view Ideas.", 13),
        Action("personas.switch", "o", "On or off", "Switch the pillar off, or on again.", 14),
        Action("personas.new-persona", "N", "New persona", "Create a persona.", 15, anywhere=True),
        Action("personas.use", "u", "Use", "Make this persona the one that all views show.", 16),
        Action(
            "personas.connect",
            "a",
            "Account",
            "Connect the persona's Instagram account, or give it a new token.",
            17,
        ),
        Action("personas.days", "t", "Days", "Count the gaps over another number of days.", 18),
        Action(
            "personas.delete",
            "d",
            "Delete",
            "Delete the persona or the pillar under the cursor; asks once.",
            19,
            dangerous=True,
        ),
        Action(
            "personas.to-personas",
            "left",
            "To the personas",
            "Move to the list of personas.",
            in_footer=False,
            in_palette=False,
        ),
        Action(
            "personas.to-pillars",
            "right",
            "To the pillars",
            "Move to the list of pillars.",
            in_footer=False,
            in_palette=False,
        ),
    ),
    holds=("list",),
)
