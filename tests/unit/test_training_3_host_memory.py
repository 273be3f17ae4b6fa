"""Item 3: host memory is what the machine has, or what a container's limits leave of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from persona_tui.gpu.host_memory import HostMemory, host_memory

GIB = 1 << 30
_V2 = "30 23 0:26 {mounted} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
_V1 = "36 31 0:32 {mounted} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"


class Host:
    """A root folder with the files by which the kernel tells."""

    def __init__(self, root: Path, *, available: int = 24 * GIB) -> None:
        self.root = root
        self.write("proc/meminfo", f"MemTotal: 33554432 kB\nMemAvailable: {available // 1024} kB\n")

    def write(self, path: str, words: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(words)

    def group(self, path: str, **files: object) -> None:
        """A control group's files; `memory_max` stands for memory.max."""
        for name, words in files.items():
            self.write(f"sys/fs/cgroup/{path}/{name.replace('memory_', 'memory.', 1)}", f"{words}\n")

    def found(self) -> HostMemory:
        return host_memory(self.root)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def v2(host: Host, path: str, mounted: str = "/") -> None:
    host.write("proc/self/cgroup", f"0::{path}\n")
    host.write("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + _V2.format(mounted=mounted))


def test_training_3_without_limits_the_machine_decides(host: Host) -> None:
    assert host.found() == HostMemory(24 * GIB)
    v2(host, "/user.slice/app")
    host.group("user.slice/app", memory_max="max", memory_high="max", memory_current=3 * GIB)
    assert host.found() == HostMemory(24 * GIB)
    # A limit above what the machine has left says nothing.
    host.group("user.slice/app", memory_max=64 * GIB)
    assert host.found() == HostMemory(24 * GIB)


def test_training_3_a_container_has_what_its_limit_leaves_and_files_count_as_free(host: Host) -> None:
    v2(host, "/user.slice/app")
    host.group(
        "user.slice/app", memory_max=8 * GIB, memory_high="max", memory_current=6 * GIB,
        memory_stat=f"anon {GIB}\nfile {5 * GIB}\ninactive_file {3 * GIB}\nactive_file {GIB}",
    )  # fmt: skip
    assert host.found() == HostMemory(6 * GIB, "/user.slice/app")
    host.group("user.slice/app", memory_high=4 * GIB)
    assert host.found() == HostMemory(2 * GIB, "/user.slice/app")
    host.group("user.slice/app", memory_current=9 * GIB, memory_stat="inactive_file 0")
    assert host.found() == HostMemory(0, "/user.slice/app")


def test_training_3_the_limits_of_the_groups_above_hold_as_well(host: Host) -> None:
    v2(host, "/machine/tui/app")
    host.group("machine/tui/app", memory_max=16 * GIB, memory_current=GIB)
    host.group("machine/tui", memory_max="max", memory_current=2 * GIB)
    host.group("machine", memory_max=10 * GIB, memory_current=9 * GIB)
    assert host.found() == HostMemory(GIB, "/machine")


@pytest.mark.parametrize(("path", "mounted"), [("/docker/4f2a", "/docker/4f2a"), ("/../../x", "/")])
def test_training_3_a_container_that_is_shown_its_own_group_alone(
    host: Host, path: str, mounted: str
) -> None:
    v2(host, path, mounted)
    host.group(".", memory_max=4 * GIB, memory_current=GIB)
    assert host.found() == HostMemory(3 * GIB, "/")


def test_training_3_limits_of_version_1_hold_beside_an_empty_version_2(host: Host) -> None:
    host.write("proc/self/cgroup", "9:pids:/\n4:memory:/docker/a b\n0::/\n")
    host.write(
        "proc/self/mountinfo",
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "37 31 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
        + _V1.format(mounted="/docker/a\\040b"),
    )
    host.group("memory", memory_limit_in_bytes=5 * GIB, memory_usage_in_bytes=4 * GIB)
    host.group("memory", memory_stat=f"inactive_file 0\ntotal_inactive_file {2 * GIB}\ntotal_active_file 0")
    assert host.found() == HostMemory(3 * GIB, "/")
    host.group("memory", memory_limit_in_bytes=9223372036854771712)
    assert host.found() == HostMemory(24 * GIB)


def test_training_3_what_can_not_be_read_limits_nothing(host: Host, tmp_path: Path) -> None:
    v2(host, "/app")
    host.group("app", memory_max="much", memory_current="")
    host.write("proc/self/mountinfo", "nonsense\n - \n" + _V2.format(mounted="/"))
    assert host.found() == HostMemory(24 * GIB)
    assert host_memory(tmp_path / "nothing").available > 0
