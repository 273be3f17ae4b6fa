"""The words of the screen Accounts: a row of the list, and what there is to say about one account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.widgets.data_list import Cell
from persona_tui.widgets.marks import dim, say

if TYPE_CHECKING:
    from persona_tui.services.publishing.account_check import Finding
    from persona_tui.services.publishing.accounts import AccountView
    from persona_tui.widgets.shell import Level

STATUS = {
    "active": ("● active", "$success"),
    "paused": ("⏸ paused", "$warning"),
    "restricted": ("✖ restricted", "$error"),
}
LEVELS: Mapping[str, Level] = {"ok": "ok", "warn": "warn", "fail": "error"}


def cells(account: AccountView) -> list[Cell]:
    """A row: account, persona, login, status, days left, posts today, posts in line, what comes next."""
    from persona_tui.services.publishing.account_check import alarm, next_act

    return [
        Content.styled(f"@{account.username or account.ig_user_id}", "bold"),
        account.persona,
        account.login,
        Content.styled(*STATUS[account.status]),
        Content.styled("–" if account.days_left is None else str(account.days_left), _urgency(account)),
        str(account.published_today),
        str(account.waiting),
        Content.styled(next_act(account), "$warning" if alarm(account) else "$dim"),
    ]


def _urgency(account: AccountView) -> str:
    from persona_tui.services.publishing.tokens import ALARM_DAYS

    return "$error" if account.days_left is not None and account.days_left < ALARM_DAYS else ""


def about(account: AccountView, findings: Sequence[Finding]) -> list[Content]:
    """All about one account: what is stored, and below it what Instagram said when it was last asked."""
    from persona_tui.services.publishing.account_check import alarm

    alarmed = alarm(account)
    told = [say("error", alarmed)] if alarmed else []
    told += [
        _fact("Instagram id", account.ig_user_id),
        _fact("Page", account.page_id),
        _fact("Permissions", ", ".join(account.scopes) or "Meta did not name them"),
        _fact("Token since", _day(account.token_obtained_at)),
        _fact("Renewed", _day(account.token_refreshed_at)),
        _fact("Last taken", _day(account.token_checked_at)),
        _fact("Trouble", account.token_trouble),
    ]
    told = [line for line in told if line.plain]
    told += [
        Content.assemble(say(LEVELS[finding.state], f"{finding.about}: "), finding.sentence)
        for finding in findings
    ]
    return told


def _fact(name: str, value: str) -> Content:
    return Content.assemble((f"{name}: ", "$dim"), value) if value else Content()


def _day(moment: object) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else ""


def guide_text(titles: Sequence[tuple[str, Sequence[str]]]) -> Content:
    """Numbered steps under a heading for each login."""
    parts: list[Content] = []
    for title, steps in titles:
        parts.append(Content.styled(title, "bold $title"))
        parts += [Content(f"{number}. {step}") for number, step in enumerate(steps, 1)]
        parts.append(dim(""))
    return Content("\n").join(parts)
