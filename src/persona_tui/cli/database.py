"""`persona-tui db`: upgrade, backup, restore, url."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from persona_tui.cli.confirm import confirm_restore
from persona_tui.cli.frame import AsJson, group, note, resources, show

if TYPE_CHECKING:
    from persona_tui.database.engine import Database
    from persona_tui.settings import Settings

commands = group("The database: upgrade, backup, restore.")
commands.command("confirm-restore")(confirm_restore)


def _opened() -> tuple[Settings, Database]:
    """The database as it is, without bringing its schema up to date."""
    from persona_tui.database.engine import open_database
    from persona_tui.resources import prepare_process
    from persona_tui.settings import load_settings

    settings = load_settings()
    prepare_process(settings)
    return settings, open_database(settings)


@commands.command("upgrade")
def upgrade(as_json: AsJson = False) -> None:
    """Bring the schema to this program's version, after a backup."""
    from persona_tui.database import migrate

    settings, database = _opened()
    try:
        report = migrate.upgrade(
            database, backup_dir=settings.data_dir / "backups", keep=settings.backup.keep
        )
    finally:
        database.dispose()
    show(report, as_json, lambda: [f"✅ The schema is at {migrate.head_revision()}."])


@commands.command("backup")
def backup(
    file: Annotated[
        Path | None, typer.Argument(help="Where to write it; default: the backups folder.")
    ] = None,
    media: Annotated[bool, typer.Option(help="List the pictures' hashes as well.")] = True,
    as_json: AsJson = False,
) -> None:
    """Write one file with everything in the database and a manifest of the media."""
    from persona_tui.database.backup import backup as write_backup

    with resources() as opened:
        folder = opened.settings.data_dir / "backups"
        target = file or folder / f"persona-{datetime.now(UTC):%Y%m%d-%H%M%S}.backup"
        report = write_backup(opened.database, opened.settings, target, with_media=media)
    show(report, as_json, lambda: [f"✅ {report.path} ({report.size / 1024**2:.1f} MiB)"])


@commands.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `db backup` wrote.")],
    as_json: AsJson = False,
) -> None:
    """Restore a backup into an empty data folder or schema. Nothing is published before you confirm."""
    from persona_tui.database.restore import restore as restore_backup
    from persona_tui.errors import UnknownName
    from persona_tui.resources import prepare_process
    from persona_tui.settings import load_settings

    if not file.exists():
        raise UnknownName(f"There is no file {file}.", hint="Name one that `persona-tui db backup` wrote.")
    settings = load_settings()
    prepare_process(settings)
    report = restore_backup(settings, file)
    note("ℹ️  Publishing is held. Look at `persona-tui db confirm-restore`.")
    show(report, as_json, lambda: ["✅ Restored."])


@commands.command("url")
def url() -> None:
    """Where the database is, with the password masked."""
    with resources() as opened:
        print(opened.database.masked_url())


@commands.command("serve")
def serve() -> None:
    """Keep the embedded database running until stopped: for a systemd unit of its own."""
    import signal
    import threading

    _, database = _opened()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    note(f"The database runs: {database.masked_url()}")
    try:
        stop.wait()
    finally:
        database.dispose()
