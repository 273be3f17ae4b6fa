"""Style sheets are parsed once per process instead of once for each view that a test opens.

Textual parses all sheets again, into the same rules, when an app starts and when a view is opened for the
first time; over the screens' tests that was a tenth of their time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from textual.css.stylesheet import Stylesheet


@contextmanager
def parsed_once() -> Iterator[None]:
    """Keep parsed rules from one style sheet to the next, for the same text and the same variables."""
    parse = Stylesheet._parse_rules
    kept: dict[tuple[Any, ...], Any] = {}

    def rules(self: Stylesheet, css: str, *values: Any, **named: Any) -> Any:
        key = (css, *values, *named.items(), frozenset(self._variables.items()))
        if key not in kept:
            kept[key] = parse(self, css, *values, **named)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", rules)
        yield
