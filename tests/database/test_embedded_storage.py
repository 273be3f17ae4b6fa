"""Disks that are full, read-only or closed: refused in a sentence, with nothing half-made left behind."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from persona_tui.database.backup import backup
from persona_tui.database.embedded import EmbeddedServer
from persona_tui.database.engine import Database
from persona_tui.errors import StorageError
from persona_tui.settings import Settings
from tests.support.database import reachable_folder
from tests.support.users import NOBODY, in_child

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@contextmanager
def disk(megabytes: int) -> Iterator[Path]:
    """A small file system of its own."""
    with reachable_folder() as folder:
        options = f"size={megabytes}m,mode=0711"
        mount = ("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("no right to mount a small file system")
        try:
            yield folder
        finally:
            subprocess.run(("umount", "--lazy", str(folder)), check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(("mount", "-o", f"remount,{options}", str(folder)), check=True)


def start_and_stop(data: Path) -> str:
    EmbeddedServer.start(data).close()
    return "started"


@pytest.mark.long
def test_a_full_disk_is_told_and_leaves_nothing_half_made() -> None:
    with disk(20) as folder:
        with pytest.raises(StorageError, match="can't be made: the disk is full") as full:
            EmbeddedServer.start(folder / "data")
        assert "Free some space" in full.value.hint
        assert not list((folder / "data" / "postgres").glob("18*"))
        remount(folder, "size=200m")
        assert start_and_stop(folder / "data") == "started"


@pytest.mark.long
def test_a_disk_that_fills_up_later_is_told_when_the_server_starts() -> None:
    with disk(200) as folder:
        start_and_stop(folder / "data")
        remount(folder, f"size={used_megabytes(folder)}m")
        (folder / "filler").write_bytes(bytes(free_bytes(folder)))
        with pytest.raises(StorageError, match="can't be started: the disk is full"):
            EmbeddedServer.start(folder / "data")


def test_a_full_disk_under_a_running_database_is_told_and_the_database_lives_on() -> None:
    with disk(200) as folder:
        settings = Settings(data_dir=folder / "data", database_url=None)
        database = Database(settings, EmbeddedServer.start(settings.data_dir))
        with database.owner_engine().begin() as owner:
            owner.execute(text("CREATE UNLOGGED TABLE heap (filler text)"))
            owner.execute(text("GRANT ALL ON heap TO persona_app"))
        # Unlogged: only the table's space runs out. Where the log's does, the server ends at once.
        filler = "INSERT INTO heap SELECT repeat('x', 1800) FROM generate_series(1, 200000)"
        with pytest.raises(StorageError, match="disk is full"), database.session_scope() as session:
            session.execute(text(filler))
        database.wait_until_back(30)
        with database.session_scope() as session:
            assert session.execute(text("SELECT count(*) FROM heap")).scalar() == 0
        database.dispose()


@pytest.mark.long
def test_a_backup_that_does_not_fit_leaves_no_file() -> None:
    with disk(120) as folder, reachable_folder() as elsewhere:
        settings = Settings(data_dir=elsewhere / "data", database_url=None)
        settings.media_dir.mkdir(parents=True)
        database = Database(settings, EmbeddedServer.start(settings.data_dir))
        (folder / "filler").write_bytes(bytes(free_bytes(folder)))
        with pytest.raises(StorageError, match="backup can't be written: the disk is full"):
            backup(database, settings, folder / "backup.zip")
        assert [path.name for path in folder.iterdir()] == ["filler"]
        database.dispose()


def test_a_limit_on_file_sizes_is_told() -> None:
    def start_limited(data: Path) -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        return start_and_stop(data)

    with reachable_folder() as folder:
        said = in_child(partial(start_limited, folder / "data"))
        assert said.startswith("StorageError: The database can't be made: a file would grow")
        assert not list((folder / "data" / "postgres").glob("18*"))


def test_a_read_only_folder_is_told() -> None:
    with disk(200) as folder:
        remount(folder, "ro")
        with pytest.raises(StorageError, match="the folder is read-only") as refusal:
            EmbeddedServer.start(folder / "data")
        assert "Choose another data folder" in refusal.value.hint
        remount(folder, "rw")
        start_and_stop(folder / "data")
        remount(folder, "ro")
        with pytest.raises(StorageError, match="the folder is read-only"):
            EmbeddedServer.start(folder / "data")


@root_only
def test_a_folder_without_permission_is_told() -> None:
    with reachable_folder() as folder:
        said = in_child(partial(start_and_stop, folder / "data"), uid=NOBODY)
        assert said.startswith(f"StorageError: The data folder {folder / 'data'} can't be used")
        assert "there is no permission" in said


@root_only
def test_roots_data_folder_is_closed_to_others() -> None:
    with reachable_folder() as folder:
        (folder / "data" / "postgres").mkdir(parents=True)
        (folder / "data").chmod(0o711)
        said = in_child(partial(start_and_stop, folder / "data"), uid=NOBODY)
        assert said.startswith("StorageError")
        assert "belongs to user root" in said


def used_megabytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize // 1_048_576 + 1


def free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bfree * found.f_frsize
