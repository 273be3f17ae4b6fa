"""After a restore: look at what the accounts have published since, then let publishing go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.marks import counted

if TYPE_CHECKING:
    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.publishing.survey import RestoreOutcome, RestoreSurvey

OUTCOMES = {
    "published": "found published",
    "scheduled": "scheduled again",
    "missed": "missed",
    "in_doubt": "need a look by you",
    "still_paused": "still paused",
}


async def confirm_restore(screen: PersonaScreen) -> None:
    """Read the accounts, show what was found, and end the hold on a yes."""
    from persona_tui.services.publishing import restore

    core, settings = screen.shell.core, screen.shell.settings
    screen.flash("Reading what the accounts have published since…", "busy", seconds=60)
    survey = await restore.survey_restore(
        core.database.session_scope,
        make_client=core.resources.instagram_client,
        keyring=core.resources.keyring,
    )
    screen.flash("The accounts have been read.", "info", seconds=1)
    question = ConfirmDialog(
        "Let publishing go on?",
        "\n".join(survey_lines(survey)),
        title="After a restore",
        yes="Go on",
        no="Keep it held",
        dangerous=True,
    )
    if not await screen.ask(question):
        return
    incarnation = settings.config_dir / "incarnation.json"
    outcome = await screen.act(restore.confirm_restore, survey, incarnation, settings.data_dir)
    screen.flash(f"Publishing goes on. {outcome_words(outcome)}", seconds=15)


def survey_lines(survey: RestoreSurvey) -> Iterator[str]:
    """What was found, in sentences."""
    found = [post for post in survey.posts if post.item is not None]
    lost = [post for post in survey.posts if post.item is None]
    sent = sum(post.was_sent for post in lost)
    yield f"Read from {survey.since:%d %b %Y %H:%M} UTC on."
    yield f"{_posts(len(survey.posts))} paused: {len(found)} found among what was published."
    if sent:
        yield f"{_posts(sent)} being sent at that time: you will be asked about each."
    if len(lost) > sent:
        yield f"{_posts(len(lost) - sent)} not found: those with a time to come are scheduled again."
    for account in survey.accounts:
        name = f"@{account.username or account.account_id}"
        if account.problem:
            yield f"{name} can't be read: {account.problem} Its posts stay paused."
        elif account.unexplained:
            yield f"{name} shows {counted(len(account.unexplained), 'item')} that no post explains."


def _posts(count: int) -> str:
    return counted(count, "post").capitalize()


def outcome_words(outcome: RestoreOutcome) -> str:
    """What became of the posts, in one sentence."""
    counts = {words: len(getattr(outcome, name)) for name, words in OUTCOMES.items()}
    said = [f"{count} {words}" for words, count in counts.items() if count]
    return f"Posts: {', '.join(said)}." if said else "No post was waiting."
