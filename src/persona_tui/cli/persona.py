"""`persona-tui persona`: add, change, list, show, delete."""

from __future__ import annotations

from typing import Annotated

import typer

from persona_tui.cli.frame import AsJson, PersonaName, group, note, persona_of, session, show, table

commands = group("Personas: who they are and how they write.")


@commands.command("add")
def add(
    name: PersonaName,
    age: Annotated[int, typer.Option(help="Declared age in years; 18 or older.")],
    description: Annotated[str, typer.Option(help="Who the persona is.")] = "",
    zone: Annotated[str, typer.Option(help="IANA time zone of the audience.")] = "",
    posts_per_week: Annotated[float, typer.Option(help="Pace of posts.")] = 3.0,
    tone: Annotated[
        str, typer.Option(help="casual, professional, playful, inspirational or edgy.")
    ] = "casual",
    trigger_word: Annotated[str, typer.Option(help="Word that calls the persona's LoRA.")] = "",
    real_person: Annotated[bool, typer.Option("--real-person", help="Not fictional: needs consent.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a persona."""
    from persona_tui.services.planning.personas import create_persona
    from persona_tui.settings import load_settings

    with session() as opened:
        made = create_persona(
            opened,
            {
                "name": name,
                "age": age,
                "description": description,
                "zone": zone or load_settings().default_zone,
                "posts_per_week": posts_per_week,
                "voice": {"tone": tone},
                "trigger_word": trigger_word,
                "fictional": not real_person,
            },
        )
    show(made, as_json, lambda: [f"✅ {made.name} is there. Next: persona-tui pillar add {made.name!r} …"])


@commands.command("set")
def change(
    name: PersonaName,
    field: Annotated[str, typer.Argument(help="name, description, age, zone, posts_per_week, disclosure …")],
    value: Annotated[str, typer.Argument(help="The new value.")],
    as_json: AsJson = False,
) -> None:
    """Change one field of a persona."""
    from persona_tui.services.planning.personas import update_persona

    with session() as opened:
        changed = update_persona(opened, persona_of(opened, name).id, {field: value})
    show(changed, as_json, lambda: [f"✅ {changed.name}: {field} is changed."])


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """All personas."""
    from persona_tui.services.planning.personas import list_personas

    with session() as opened:
        personas = list_personas(opened)
    if not personas and not as_json:
        note("ℹ️  No persona yet. Add one: persona-tui persona add NAME --age 30")
    show(
        personas,
        as_json,
        lambda: table(
            ["name", "age", "zone", "posts/week", "pillars", "pictures"],
            ([p.name, p.age, p.zone, p.posts_per_week, p.pillars, p.pictures] for p in personas),
        ),
    )


@commands.command("show")
def show_(name: PersonaName, as_json: AsJson = False) -> None:
    """One persona with all that is known about it."""
    with session() as opened:
        persona = persona_of(opened, name)
    show(
        persona,
        as_json,
        lambda: [
            f"{persona.name}, {persona.age} ({'fictional' if persona.fictional else 'a real person'})",
            persona.description,
            f"zone {persona.zone}, {persona.posts_per_week:g} posts a week, {persona.pillars} pillars",
            f"voice {dict(persona.voice)}",
            f"hashtags {dict(persona.hashtags)}",
        ],
    )


@commands.command("delete")
def delete(
    name: PersonaName,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Remove a persona that has no content."""
    from persona_tui.services.planning.personas import delete_persona

    if not yes:
        typer.confirm(f"Delete {name}?", abort=True)
    with session() as opened:
        delete_persona(opened, persona_of(opened, name).id)
    note(f"✅ {name} is gone.")
