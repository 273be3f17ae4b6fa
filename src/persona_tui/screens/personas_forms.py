"""The forms of a persona and of a pillar, and what their services take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from persona_tui.widgets.fields import (
    CheckField,
    ChoiceField,
    DateField,
    Field,
    IntegerField,
    LongTextField,
    NumberField,
    TextField,
)

if TYPE_CHECKING:
    from persona_tui.services.planning.personas import PersonaView
    from persona_tui.services.planning.pillars import PillarView

LIST_HINT = "Separate them by commas."
TONES = ("casual", "professional", "playful", "inspirational", "edgy")
LENGTHS = ("short", "medium", "long")
LATE = (
    ("ask", "ask me"),
    ("reslot", "move to the next free slot"),
    ("drop", "leave it out"),
)


def persona_fields(persona: PersonaView | None, *, zone: str) -> list[Field]:
    """The fields of a persona, filled with what it is now.

    Args:
        persona: None for a new one.
        zone: IANA time zone proposed for a new one.
    """
    now: Mapping[str, Any] = vars(persona) if persona else {"zone": zone, "fictional": True}
    voice, hashtags = now.get("voice", {}), now.get("hashtags", {})
    return [
        TextField(name="name", label="Name", value=now.get("name"), required=True, longest=80),
        IntegerField(
            name="age",
            label="Age",
            value=now.get("age"),
            required=True,
            hint="Declared age in years; a persona is an adult.",
        ),
        LongTextField(
            name="description",
            label="Who it is",
            value=now.get("description"),
            hint="Goes to the language model with every idea and caption.",
        ),
        TextField(
            name="zone",
            label="Time zone",
            value=now["zone"],
            required=True,
            hint="Of the audience, such as Europe/Berlin; posts are planned on its clock.",
        ),
        NumberField(
            name="posts_per_week",
            label="Posts a week",
            value=f"{now.get('posts_per_week', 3):g}",
            required=True,
            hint="The pace that gaps and slots follow.",
        ),
        ChoiceField(
            name="tone", label="Tone", value=voice.get("tone"), choices=[(tone, tone) for tone in TONES]
        ),
        TextField(
            name="voice",
            label="Voice",
            value=voice.get("voice"),
            longest=300,
            hint="How it speaks, such as: dry, warm, never in capitals.",
        ),
        TextField(name="topics", label="Talks about", value=_listed(voice.get("topics")), hint=LIST_HINT),
        TextField(
            name="avoid_topics", label="Never about", value=_listed(voice.get("avoid_topics")), hint=LIST_HINT
        ),
        CheckField(name="use_emoji", label="Emoji", value=voice.get("use_emoji", True)),
        ChoiceField(
            name="length",
            label="Captions are",
            value=voice.get("length", "medium"),
            choices=[(length, length) for length in LENGTHS],
        ),
        TextField(
            name="own",
            label="Own hashtags",
            value=_listed(hashtags.get("own")),
            hint="Used in turn. " + LIST_HINT,
        ),
        TextField(name="avoid", label="No hashtags", value=_listed(hashtags.get("avoid")), hint=LIST_HINT),
        TextField(
            name="trigger_word",
            label="Trigger word",
            value=now.get("trigger_word"),
            hint="The word that calls its LoRA.",
        ),
        TextField(
            name="disclosure",
            label="Says it is AI",
            value=now.get("disclosure", "AI persona"),
            hint="A few words that captions carry.",
        ),
        ChoiceField(
            name="late_policy", label="A missed post", value=now.get("late_policy"), choices=list(LATE)
        ),
        CheckField(
            name="fictional",
            label="Fictional",
            value=now["fictional"],
            hint="No: a real person, whose consent must be kept on record.",
        ),
    ]


def persona_values(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What the service takes, from what was typed."""
    plain = ("name", "age", "description", "zone", "posts_per_week", "trigger_word", "disclosure")
    return {name: typed[name] for name in (*plain, "late_policy", "fictional")} | {
        "voice": {
            "tone": typed["tone"],
            "voice": typed["voice"],
            "topics": _words(typed["topics"]),
            "avoid_topics": _words(typed["avoid_topics"]),
            "use_emoji": typed["use_emoji"],
            "length": typed["length"],
        },
        "hashtags": {"own": _words(typed["own"]), "avoid": _words(typed["avoid"])},
    }


def pillar_fields(pillar: PillarView | None, *, free: float) -> list[Field]:
    """The fields of a pillar, filled with what it is now.

    Args:
        pillar: None for a new one.
        free: percent that the other active pillars leave.
    """
    now: Mapping[str, Any] = vars(pillar) if pillar else {"active": True}
    guidelines = now.get("guidelines", {})
    return [
        TextField(name="name", label="Name", value=now.get("name"), required=True, longest=80),
        NumberField(
            name="weight",
            label="Weight %",
            value=f"{now.get('weight', min(free, 10)):g}",
            required=True,
            hint=f"Its share of the posts; {free:g} % are free.",
        ),
        IntegerField(
            name="priority",
            label="Priority",
            value=now.get("priority", 3),
            required=True,
            hint="1 to 5; 5 is the highest.",
        ),
        LongTextField(
            name="description", label="What belongs in", value=now.get("description"), rows=3, longest=20_000
        ),
        IntegerField(
            name="target_posts_per_week",
            label="Posts a week",
            value=now.get("target_posts_per_week"),
            hint="Overrides the weight in the gap analysis; leave it empty to follow the weight.",
        ),
        DateField(
            name="start_date", label="First day", value=now.get("start_date"), hint="Empty: from now on."
        ),
        DateField(name="end_date", label="Last day", value=now.get("end_date"), hint="Empty: for ever."),
        TextField(name="tone", label="Tone", value=guidelines.get("tone"), longest=300),
        TextField(name="topics", label="Topics", value=_listed(guidelines.get("topics")), hint=LIST_HINT),
        TextField(
            name="avoid_topics",
            label="Avoid",
            value=_listed(guidelines.get("avoid_topics")),
            hint=LIST_HINT,
        ),
        LongTextField(
            name="style_notes",
            label="Style notes",
            value=guidelines.get("style_notes"),
            rows=3,
            hint="Light, lens, clothing, places: goes into every prompt.",
        ),
        CheckField(name="active", label="Active", value=now["active"]),
    ]


def pillar_values(typed: Mapping[str, Any]) -> dict[str, Any]:
    """What the service takes, from what was typed."""
    guided = ("tone", "topics", "avoid_topics", "style_notes")
    guidelines = {
        "tone": typed["tone"],
        "topics": _words(typed["topics"]),
        "avoid_topics": _words(typed["avoid_topics"]),
        "style_notes": typed["style_notes"],
    }
    return {name: value for name, value in typed.items() if name not in guided} | {"guidelines": guidelines}


def _listed(words: Sequence[str] | None) -> str:
    return ", ".join(words or ())


def _words(typed: str) -> tuple[str, ...]:
    return tuple(word for part in typed.split(",") if (word := part.strip()))
