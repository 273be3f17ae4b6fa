"""What the guard refuses in a text: sexual content together with minors or age regression.

The first rules only; a later issue deepens them (languages, ratings, pictures).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_LOOKALIKES = str.maketrans({"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s"})

_SEXUAL = re.compile(
    r"\b(?:sex|sexual\w*|sexy|nude\w*|naked|nsfw|porn\w*|erotic\w*|topless|bottomless|lingerie|explicit|"
    r"genital\w*|nipples?|breasts?|penis|vagina|orgasm\w*|masturbat\w*|intercourse|fetish\w*|hentai|"
    r"seductive\w*|aroused|lewd\w*|undress\w*|strip(?:ping|ped)|onlyfans|xxx|cleavage|panties)\b"
)
_MINOR = re.compile(
    r"\b(?:child(?:ren)?|kids?|minors?|under\s?-?age\w*|pre\s?-?teens?|teens?|teenage\w*|"
    r"school\s?-?(?:girl|boy)s?|toddlers?|bab(?:y|ies)|infants?|loli\w*|shota\w*|jail\s?-?bait|"
    r"little (?:girl|boy)s?|young (?:girl|boy)s?|"
    r"(?:kinder|pre)\s?-?(?:garten|school)\w*|middle\s?-?school\w*|high\s?-?school\w*|adolescent\w*|juvenile\w*)\b"
)
_AGE_REGRESSION = re.compile(
    r"\b(?:age\s?-?regress\w*|de\s?-?aged?|de\s?-?aging|younger version|child\s?-?like|child\s?-?ish|"
    r"baby\s?-?fac\w*|looks? (?:much )?younger|barely legal|pre\s?-?pubescent|pubescent|underdeveloped|"
    r"flat\s?-?chested|petite teen|as a (?:child|kid|teen\w*|girl|boy))\b"
)
_STATED_AGE = re.compile(
    r"\b(\d{1,2})\s?-?\s?(?:years?|yrs?|y)\s?-?\s?(?:olds?|o)\b|\bage[ds]?:?\s?(\d{1,2})\b|\b(\d{1,2})\s?yo\b"
)
_WORD_AGES = re.compile(
    r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    r"seventeen)\s?-?\s?(?:years?|yrs?)\s?-?\s?olds?\b"
)


@dataclass(frozen=True)
class Finding:
    """A rule that a text broke.

    Attributes:
        rule: short name, kept in the audit trail.
        sentence: what the operator is told.
    """

    rule: str
    sentence: str


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text).casefold()
    return " ".join("".join(c for c in folded if not unicodedata.combining(c)).replace("_", " ").split())


def _joined_letters(text: str) -> str:
    """Undo 's e x' and 's.e.x': runs of single letters become one word."""
    return re.sub(r"\b(?:\w[\s.\-*]){2,}\w\b", lambda run: re.sub(r"[\s.\-*]", "", run.group()), text)


def _readings(text: str) -> tuple[str, ...]:
    plain = _plain(text)
    disguised = _joined_letters(plain.translate(_LOOKALIKES))
    return (plain, disguised) if disguised != plain else (plain,)


def _states_minor_age(reading: str) -> bool:
    ages = (int(next(filter(None, match.groups()))) for match in _STATED_AGE.finditer(reading))
    return any(age < 18 for age in ages) or _WORD_AGES.search(reading) is not None


def examine(text: str) -> Finding | None:
    """The first rule that the text breaks, or None."""
    readings = _readings(text)
    if not any(_SEXUAL.search(reading) for reading in readings):
        return None
    if any(_MINOR.search(reading) or _states_minor_age(reading) for reading in readings):
        return Finding("sexual_minor", "Sexual content together with a minor is never made or posted.")
    if any(_AGE_REGRESSION.search(reading) for reading in readings):
        return Finding("sexual_age_regression", "Sexual content together with a younger look is never made.")
    return None
