"""Writes ideas and captions that read like a person's, by small grammars over words of the prompt."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image, ImageStat

from persona_tui.sandbox.gemini import sentences
from persona_tui.sandbox.gemini.brief import Brief
from persona_tui.sandbox.gemini.moments import Domain, Moment, domains, moments_about
from persona_tui.sandbox.gemini.sentences import LENSES, LIGHTS

_T = TypeVar("_T")

_TRIES = 200


@dataclass(frozen=True)
class Seen:
    """What a look at a picture tells: its light in two words."""

    light: str

    @classmethod
    def of(cls, picture: bytes) -> Seen:
        """Look at a picture.

        Raises:
            OSError: it is none.
        """
        with Image.open(io.BytesIO(picture)) as image:
            red, green, blue = ImageStat.Stat(image.convert("RGB").resize((32, 32))).mean
        brightness = (red + green + blue) / 3
        if brightness < 70:
            return cls("evening light")
        if red > blue + 18:
            return cls("warm light")
        if green > red + 8 and green > blue + 8:
            return cls("green light")
        if blue > red + 12:
            return cls("cool light")
        return cls("bright light" if brightness > 175 else "soft light")


class Writer:
    """A patient writer with one source of randomness; no two answers are the same."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def ideas(self, brief: Brief, count: int) -> list[dict[str, str]]:
        """So many ideas: {title, description, prompt}, different in place, light and action."""
        ideas: list[dict[str, str]] = []
        taken = brief.taken
        lights = self._shuffled(LIGHTS)
        for number, moment in zip(range(count), self._moments(brief), strict=False):
            light = lights[number % len(lights)]
            title = self._title(moment, light[0], taken)
            taken += f"\n{title.lower()}"
            ideas.append(
                {
                    "title": title,
                    "description": self._description(moment, light[0]),
                    "prompt": self._prompt(brief, moment, light[1]),
                }
            )
        return ideas

    def caption(self, brief: Brief, seen: Seen | None) -> dict[str, str | list[str]]:
        """A caption for a picture: {caption, hashtags, alt_text}."""
        scene = brief.scene.partition(",")[0].strip() or _upper_first(brief.pillar)
        moment = self._moment_in(brief, scene)
        light = seen.light if seen else self._rng.choice(LIGHTS)[0]
        detail = moment.detail if moment else self._rng.choice(sentences.DETAILS)
        words = {
            "scene": scene,
            "scene_lower": _lower_first(scene),
            "pillar": _lower_first(brief.pillar),
            "place": moment.place if moment else _lower_first(scene),
            "light": light,
            "detail": detail,
            "Detail": _upper_first(detail),
        }
        return {
            "caption": self._caption(brief, words),
            "hashtags": self._tags(brief, scene),
            "alt_text": _alt_text(brief.persona, scene, moment, light),
        }

    def _moments(self, brief: Brief) -> Iterator[Moment]:
        """Moments of the pillar's part of life and of its own topics, without repeats while they last."""
        domain = _domain_of(brief)
        own = self._shuffled([moment for topic in brief.topics for moment in moments_about(topic)])
        known = [*domain.moments, *own[:2]] if domain else own
        wanted = [
            moment
            for moment in self._shuffled(known or domains()[-1].moments)
            if not any(word in " ".join(moment).lower() for word in brief.avoided)
        ]
        yield from [moment for moment in wanted if moment.name.lower() not in brief.taken]
        while True:
            yield self._rng.choice(wanted or domains()[-1].moments)

    def _title(self, moment: Moment, light: str, taken: str) -> str:
        name = _upper_first(moment.name)
        for _ in range(_TRIES):
            title = name if self._rng.random() < 0.4 else f"{name}, {light}"
            if title.lower() not in taken:
                return title
            light = self._rng.choice(LIGHTS)[0]
        return f"{name}, take {self._rng.randint(2, 99)}"

    def _description(self, moment: Moment, light: str) -> str:
        first = self._rng.choice(
            (
                f"{_upper_first(moment.place)}, {light}, and {moment.detail}.",
                f"{_upper_first(moment.detail)} is what makes it; the rest is {light}.",
                f"{_upper_first(moment.name)}, from close by, with {moment.detail} at the edge of the frame.",
            )
        )
        return f"{first} {self._rng.choice(sentences.PURPOSES)}"

    def _prompt(self, brief: Brief, moment: Moment, light: str) -> str:
        clothes, lens = self._rng.choice(sentences.CLOTHES), self._rng.choice(LENSES)
        mood = self._rng.choice(sentences.MOODS)
        return (
            f"{_upper_first(brief.persona)}, an adult, in {clothes}, {moment.action} {moment.place}; "
            f"{moment.detail}. {_upper_first(light)}; {lens}. The mood is {mood}. "
            "Candid documentary photograph, natural colours, real texture."
        )

    def _moment_in(self, brief: Brief, scene: str) -> Moment | None:
        """The moment that the scene is named after, or one of whose words it is; None for any other scene."""
        for domain in domains():
            for moment in domain.moments:
                if moment.name.lower() == scene.lower():
                    return moment
        words = {word.lower() for word in re.findall(r"\w{4,}", scene)}
        domain_here = _domain_of(brief)
        near = [
            m for m in (domain_here.moments if domain_here else ()) if words & set(m.action.lower().split())
        ]
        return self._rng.choice(near) if near else None

    def _caption(self, brief: Brief, words: dict[str, str]) -> str:
        least, most = brief.length
        openers, middles, closers = (
            [
                line
                for text in self._shuffled(lines)
                if (line := text.format(**words)).lower() not in brief.taken
            ]
            for lines in (sentences.OPENERS, sentences.MIDDLES, sentences.CLOSERS)
        )
        opener = (openers or [f"{words['scene']}."])[0]
        closer = (closers or [""])[0]
        body = ""
        for line in middles:
            if words["detail"] in opener and words["Detail"] in line:
                continue
            if len(opener) + len(body) + len(closer) + 3 >= least + self._rng.random() * (most - least) / 2:
                break
            body += f" {line}"
        caption = f"{_upper_first(opener)}{body}\n\n{_upper_first(closer)}".strip()
        if brief.emoji and self._rng.random() < 0.4:
            caption += f" {self._rng.choice(sentences.EMOJI)}"
        return caption if len(caption) <= most else f"{_upper_first(opener)} {_upper_first(closer)}"[:most]

    def _tags(self, brief: Brief, scene: str) -> list[str]:
        own = [re.sub(r"\W", "", words.title()) for words in (scene, *brief.topics[:3])]
        named = [_lower_first(tag) for tag in own if 4 <= len(tag) <= 24]
        domain = _domain_of(brief) or domains()[-1]
        chosen = dict.fromkeys([*named[:2], *self._rng.sample(domain.tags, 3)])
        return [f"#{tag}" for tag in chosen]

    def _shuffled(self, items: Sequence[_T]) -> list[_T]:
        return self._rng.sample(list(items), len(items))


def _domain_of(brief: Brief) -> Domain | None:
    """The part of life that most of the brief's words call for."""
    words = set(re.findall(r"[^\W\d_]+", " ".join((brief.pillar, brief.scene, *brief.topics)).lower()))
    best = max(domains(), key=lambda domain: _calls(domain, words))
    return best if _calls(best, words) else None


def _calls(domain: Domain, words: set[str]) -> int:
    return sum(
        any(word == stem or (len(stem) > 3 and word.startswith(stem)) for word in words)
        for stem in domain.called_by
    )


def _alt_text(persona: str, scene: str, moment: Moment | None, light: str) -> str:
    who = persona if persona != "the persona" else "A person"
    if moment is None:
        return f"{who} in {light}: {_lower_first(scene)}."
    return f"{who} {moment.action} {moment.place}, in {light}, with {moment.detail}."


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
