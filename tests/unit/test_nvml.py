"""Reading the cards: from a double of NVML, and from whatever this machine really has."""

from __future__ import annotations

import shutil
import subprocess
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from persona_tui.gpu.nvml import Card, CardProcess, read_cards

GIB = 2**30


class Driver:
    """Two cards; single questions can be made to fail, as a real driver's do."""

    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU
    NVMLError = pynvml.NVMLError

    def __init__(self, failing: dict[str, Exception] | None = None) -> None:
        self.failing = failing or {}
        self.opened = 0

    def _ask(self, question: str, answer: Any) -> Any:
        if question in self.failing:
            raise self.failing[question]
        return answer

    def nvmlInit(self) -> None:
        self._ask("init", None)
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1
        self._ask("shutdown", None)

    def nvmlSystemGetDriverVersion(self) -> str:
        return str(self._ask("driver", "575.64.03"))

    def nvmlDeviceGetCount(self) -> int:
        return int(self._ask("count", 2))

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return int(self._ask(f"handle {index}", index))

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return b"NVIDIA\x1b[31m A100" if handle else "NVIDIA GeForce RTX 4090"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return self._ask(f"memory {handle}", SimpleNamespace(total=(24 + handle) * GIB, used=handle * GIB))

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return self._ask(f"utilisation {handle}", SimpleNamespace(gpu=40 + handle, memory=3))

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return int(self._ask(f"temperature {handle}", 60 + handle))

    def nvmlDeviceGetUUID(self, handle: int) -> str | bytes:
        return self._ask(f"uuid {handle}", b"GPU-1" if handle else "GPU-0")

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> Any:
        running = [SimpleNamespace(pid=9, usedGpuMemory=GIB), SimpleNamespace(pid=7, usedGpuMemory=None)]
        return self._ask(f"processes {handle}", running[: 2 * handle])


FIRST = Card(0, "NVIDIA GeForce RTX 4090", 24 * GIB, 0, 40, 60, "575.64.03", "GPU-0")
SECOND = Card(
    1, "NVIDIA A100", 25 * GIB, GIB, 41, 61, "575.64.03", "GPU-1", (CardProcess(9, GIB), CardProcess(7, None))
)


def test_every_card_is_read_and_the_driver_let_go() -> None:
    driver = Driver()
    assert read_cards(driver) == (FIRST, SECOND)
    assert driver.opened == 0


def test_a_question_that_a_card_can_not_answer_becomes_none() -> None:
    unsupported = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    cards = read_cards(Driver({"utilisation 0": unsupported, "temperature 1": unsupported}))
    assert [card.utilisation for card in cards] == [None, 41]
    assert [card.temperature for card in cards] == [60, None]


@pytest.mark.parametrize("question", ["handle 0", "memory 0"])
def test_a_lost_card_is_left_out_and_the_others_stay(question: str) -> None:
    lost = pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
    assert read_cards(Driver({question: lost})) == (SECOND,)


@pytest.mark.parametrize("question", ["init", "driver", "count"])
@pytest.mark.parametrize(
    "problem", [pynvml.NVMLError(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH), OSError("gone")]
)
def test_without_a_working_driver_there_are_no_cards(question: str, problem: Exception) -> None:
    driver = Driver({question: problem})
    assert read_cards(driver) == ()
    assert driver.opened == 0


def test_a_failing_farewell_does_not_spoil_the_answer() -> None:
    assert read_cards(Driver({"shutdown": OSError("gone")})) == (FIRST, SECOND)


def test_this_machine_tells_the_same_cards_as_nvidia_smi() -> None:
    listed: list[str] = []
    if shutil.which("nvidia-smi"):
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=False,
        )
        listed = done.stdout.splitlines() if done.returncode == 0 else []
    assert [card.name for card in read_cards()] == listed
