"""`persona-tui db confirm-restore`: what Instagram shows since the backup, then the operator's word."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from persona_tui.cli.frame import AsJson, resources, show

if TYPE_CHECKING:
    from persona_tui.services.publishing.survey import RestoreSurvey


def confirm_restore(
    yes: Annotated[bool, typer.Option("--yes", help="Release; without it only look.")] = False,
    as_json: AsJson = False,
) -> None:
    """After a restore or a copy: compare with Instagram, then let publishing go on."""
    from persona_tui.services.publishing.restore import confirm_restore as release
    from persona_tui.services.publishing.restore import survey_restore

    with resources() as opened:
        survey = asyncio.run(
            survey_restore(
                opened.database.session_scope,
                make_client=opened.instagram_client,
                keyring=opened.keyring,
            )
        )
        if not yes:
            show(survey, as_json, lambda: _seen(survey))
            return
        settings = opened.settings
        with opened.database.session_scope() as session:
            outcome = release(session, survey, settings.config_dir / "incarnation.json", settings.data_dir)
    show(
        outcome,
        as_json,
        lambda: [
            f"✅ Publishing goes on: {len(outcome.published)} were out already, {len(outcome.scheduled)} are"
            f" scheduled again, {len(outcome.missed)} were missed, {len(outcome.in_doubt)} need you,"
            f" {len(outcome.still_paused)} stay paused."
        ],
    )


def _seen(survey: RestoreSurvey) -> Iterator[str]:
    yield f"Since {survey.since:%Y-%m-%d %H:%M} UTC:"
    for account in survey.accounts:
        yield f"  {account.username}: {account.problem or f'{len(account.unexplained)} unexplained items'}"
        for item in account.unexplained:
            yield f"    {item.id}  {item.timestamp}  {item.permalink or ''}"
    for post in survey.posts:
        found = f"is out as {post.item.id}" if post.item else "was not found"
        yield f"  post {post.post_id} {found}"
    yield "next: persona-tui db confirm-restore --yes"
