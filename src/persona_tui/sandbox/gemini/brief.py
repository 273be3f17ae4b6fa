"""What a prompt asks for: read from its "Label: value" lines, with guesses for any other wording."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(r"(?m)^\s*([A-Z][A-Za-z, ]{2,50}):[ \t]*(.+)$")
_COUNT = re.compile(r"(?i)\b(\d{1,2})\s+(?:\w+\s+)?(?:ideas|suggestions|scenes|prompts|concepts|captions)\b")
_RANGE = re.compile(r"(\d{2,4})\s*(?:to|-|–|and)\s*(\d{2,4})\s*characters")
_WORD = re.compile(r"[^\W\d_]{4,}")
_TAKEN = ("already", "do not repeat", "rejected")
_COMMON = re.compile(
    r"about|above|after|again|also|answer|avoid|before|between|captions?|characters?|claim|describe|different"
    r"|does|each|every|follow|from|generator|hashtags?|ideas?|images?|inside|instagram|into|json|length|look"
    r"|make|more|most|moments?|never|only|other|over|paragraph|persona|photos?|photograph|pictures?|pillar"
    r"|please|posts?|prompts?|propose|provide|scenes?|sentences?|should|some|style|tags|text|that|their|them"
    r"|then|there|these|they|this|tone|topics|under|used|using|very|voice|want|what|when|where|which|while"
    r"|will|with|words|would|write|your|years"
)


@dataclass(frozen=True)
class Brief:
    """What is known about the thing to write.

    Attributes:
        persona: name, or "the persona".
        pillar: name of the theme.
        scene: what the picture shows; empty when ideas are asked for.
        topics: words to take up, most telling first.
        avoided: words not to use, lower case.
        taken: lower-case text of what was proposed or written before.
        count: how many are asked for.
        length: least and most characters of a caption.
        emoji: whether one is welcome.
    """

    persona: str
    pillar: str
    scene: str
    topics: tuple[str, ...]
    avoided: tuple[str, ...]
    taken: str
    count: int
    length: tuple[int, int]
    emoji: bool


def read_brief(prompt: str) -> Brief:
    """Read a prompt, whoever wrote it."""
    said = [(label.strip().lower(), value.strip()) for label, value in _LINE.findall(prompt)]
    lines = dict(said)
    pillar, _, about = lines.get("pillar", "").partition(".")
    topics = [topic.strip() for topic in re.split(r"[,;]", lines.get("topics", "")) if topic.strip()]
    words = [word.lower() for word in _WORD.findall(f"{pillar} {about} {lines.get('scene', '')}")]
    guesses = words or [word.lower() for word in _WORD.findall(prompt)]
    topics = topics or [word for word in dict.fromkeys(guesses) if not _COMMON.fullmatch(word)]
    count = _COUNT.search(prompt)
    length = _RANGE.search(prompt)
    return Brief(
        persona=re.split(r"[,.(]", lines.get("persona", ""))[0].strip() or "the persona",
        pillar=pillar.strip() or (topics[0] if topics else "everyday life"),
        scene=lines.get("scene", "").rstrip("."),
        topics=tuple(topics[:12]),
        avoided=tuple(word.strip().lower() for word in lines.get("avoid", "").split(",") if word.strip()),
        taken="\n".join(value for label, value in said if label.startswith(_TAKEN)).lower(),
        count=int(count[1]) if count else 3,
        length=(int(length[1]), int(length[2])) if length else (120, 320),
        emoji="no emoji" not in prompt.lower(),
    )
