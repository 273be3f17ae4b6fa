"""A migrated embedded database that is made once per process and copied for each test that wants its own."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from persona_tui.database.engine import open_database
from persona_tui.database.folders import Folders, prepare_folders
from persona_tui.database.migrate import upgrade
from persona_tui.database.programs import server_account
from persona_tui.settings import Settings


def lay_prepared(settings: Settings) -> bool:
    """Lay a migrated database into a data folder that has none; tells whether it did.

    initdb and the migrations take seconds, a copy of the stopped server's folder a fraction of one. On an
    external server there is nothing to copy.
    """
    if settings.database_url is not None:
        return False
    target = prepare_folders(settings.data_dir, server_account()).cluster
    # cp keeps owner and modes, which shutil does not.
    subprocess.run(["cp", "-a", str(_prepared_cluster()), str(target)], check=True)
    return True


@cache
def _prepared_cluster() -> Path:
    """The folder of a stopped server with a migrated database."""
    folder = Path(mkdtemp(prefix="persona-prepared-"))
    folder.chmod(0o711)
    made_by = os.getpid()

    def remove() -> None:
        if os.getpid() == made_by:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    database = open_database(Settings(data_dir=folder / "data", environment="sandbox"))
    try:
        upgrade(database, backup_dir=None, keep=1)
    finally:
        database.dispose()
    return Folders.of(folder / "data").cluster
