"""The table of commands. Everything heavy is imported inside the commands."""

from __future__ import annotations

from typing import Annotated

import typer

from persona_tui.cli.lazy import Entry, LazyGroup


def _group(module: str, help_text: str) -> Entry:
    return Entry(f"persona_tui.cli.{module}", "commands", help_text)


def _command(module: str, name: str, help_text: str) -> Entry:
    return Entry(f"persona_tui.cli.{module}", name, help_text)


class Commands(LazyGroup):
    """Every command, in the order of the operator's day."""

    ENTRIES = {
        "demo": _command(
            "headless", "demo", "A whole day with a sample persona; nothing leaves this machine."
        ),
        "persona": _group("persona", "Personas: add, set, list, show, delete."),
        "pillar": _group("pillar", "Content pillars: add, set, list, delete."),
        "gaps": _command("pillar", "gaps", "What each pillar needs in the coming days, and what it has."),
        "idea": _group("idea", "Ideas for a gap: generate, list, accept, reject."),
        "pipeline": _group("pipeline", "ComfyUI workflows: import, export, list, show, check, edit."),
        "run": _group("run", "Pictures being made: create, list, show, approve, winners, cancel."),
        "candidate": _group("candidate", "Pictures of runs: list, show, flag, unflag, reject, restore."),
        "lora": _group("lora", "LoRAs: import, list, show, use, promote, roll-back, compare."),
        "dataset": _group("dataset", "Training pictures: create, add, status, captions, adopt, export."),
        "train": _group("train", "Training LoRAs: plan, start, queue, status, resume, compare."),
        "consent": _group("consent", "What real people permitted: add, list, withdraw."),
        "vote": _group("vote", "Votes: list, next, cast, undo, stats, import-ratings, taste, rebuild."),
        "photos": _group(
            "photos", "Photographs: import, list, search, accept, reject, near, watch, delete, analyse."
        ),
        "cluster": _group("cluster", "Pictures that belong together: build, list, rename, merge, split."),
        "caption": _command("post", "caption", "Write a post's caption, by the language model or yourself."),
        "post": _group("post", "Posts: list, draft, schedule, publish, cancel, retry, reconcile."),
        "account": _group("account", "Instagram accounts: add, token, list, check, resume, remove."),
        "scheduler": _command("headless", "scheduler", "Generate and publish without a screen."),
        "worker": _command("headless", "worker", "Work on background jobs only."),
        "jobs": _group("jobs", "Background jobs: list, retry, cancel."),
        "doctor": _command("status", "doctor", "Say what is well and what is not."),
        "settings": Entry("persona_tui.cli.status", "settings_commands", "Every setting: show, path."),
        "db": _group("database", "The database: upgrade, backup, restore, confirm-restore, url."),
        "audit": _group("audit", "The append-only trail: verify."),
    }


app = typer.Typer(
    name="persona-tui",
    cls=Commands,
    help="Plan, generate, vote, caption and publish for your AI personas. Without a command: the app.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from persona_tui import __version__

        print(f"persona-tui {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    protocol: Annotated[
        str | None,
        typer.Option(help="How pictures are drawn: auto, kitty, sixel, iterm2, halfblock."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which one.")
    ] = False,
) -> None:
    """Open the app when no command is given."""
    if context.invoked_subcommand is None:
        from persona_tui.cli.app import open_app

        open_app(protocol)
