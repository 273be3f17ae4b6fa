"""What the NVIDIA driver says about the cards in this machine, without torch."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from persona_tui.text import clean


@dataclass(frozen=True)
class CardProcess:
    """A process that computes on a card.

    Attributes:
        memory: bytes of the card's that it holds; None where the driver does not tell.
    """

    pid: int
    memory: int | None


@dataclass(frozen=True)
class Card:
    """One NVIDIA card at one moment.

    Attributes:
        index: NVML's number, in PCI bus order; CUDA counts the same way under CUDA_DEVICE_ORDER=PCI_BUS_ID.
        name: as the driver gives it, such as "NVIDIA GeForce RTX 4090".
        memory_total: bytes.
        memory_used: bytes, by all processes.
        utilisation: percent of the last sample time in which a kernel ran; None where the card can't tell.
        temperature: degrees Celsius of the chip; None where the card can't tell.
        driver: the driver's version.
        uuid: the card's own name, the same after a restart; empty where it can't tell.
        processes: those that compute on it, as far as this one may see them.
    """

    index: int
    name: str
    memory_total: int
    memory_used: int
    utilisation: int | None
    temperature: int | None
    driver: str
    uuid: str = ""
    processes: tuple[CardProcess, ...] = ()


class Nvml(Protocol):
    """The part of pynvml that is used."""

    NVML_TEMPERATURE_GPU: int
    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str | bytes: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...
    def nvmlDeviceGetName(self, handle: Any) -> str | bytes: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...
    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...
    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int: ...
    def nvmlDeviceGetUUID(self, handle: Any) -> str | bytes: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Any: ...


def read_cards(nvml: Nvml | ModuleType | None = None) -> tuple[Card, ...]:
    """Ask the driver about every card; takes milliseconds to tens of them, so call it in a thread.

    A card that has fallen off the bus, or that answers no memory query, is left out. Without NVIDIA
    driver, package or permission the result is empty. Never raises.

    Args:
        nvml: another NVML than pynvml, for tests.
    """
    try:
        library: Any = nvml if nvml is not None else importlib.import_module("pynvml")
        library.nvmlInit()
    except Exception:  # no package, no library, no driver, a driver that changed under a running kernel
        return ()
    try:
        driver = _text(library.nvmlSystemGetDriverVersion())
        found = (_read_card(library, index, driver) for index in range(library.nvmlDeviceGetCount()))
        return tuple(card for card in found if card is not None)
    except Exception:  # the driver was unloaded between two questions
        return ()
    finally:
        with contextlib.suppress(Exception):
            library.nvmlShutdown()


def _read_card(library: Any, index: int, driver: str) -> Card | None:
    try:
        handle = library.nvmlDeviceGetHandleByIndex(index)
        memory = library.nvmlDeviceGetMemoryInfo(handle)
        name = _text(library.nvmlDeviceGetName(handle))
    except library.NVMLError:
        return None
    utilisation: int | None = None
    temperature: int | None = None
    with contextlib.suppress(library.NVMLError):  # not under MIG, not on every card
        utilisation = int(library.nvmlDeviceGetUtilizationRates(handle).gpu)
    with contextlib.suppress(library.NVMLError):
        temperature = int(library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU))
    uuid = ""
    processes: tuple[CardProcess, ...] = ()
    with contextlib.suppress(library.NVMLError):
        uuid = _text(library.nvmlDeviceGetUUID(handle))
    with contextlib.suppress(library.NVMLError):
        running = library.nvmlDeviceGetComputeRunningProcesses(handle)
        processes = tuple(CardProcess(int(one.pid), one.usedGpuMemory) for one in running)
    used, total = int(memory.used), int(memory.total)
    return Card(index, name, total, used, utilisation, temperature, driver, uuid, processes)


def _text(value: str | bytes) -> str:
    return clean(value.decode("utf-8", "replace") if isinstance(value, bytes) else value, keep_lines=False)
