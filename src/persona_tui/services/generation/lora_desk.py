"""One server's LoRAs: brought there before a job is sent, and asked about after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.services.generation.jobs import LiveJob
from persona_tui.services.generation.lora_log import LoraLog
from persona_tui.services.generation.lora_placing import LoraPlacer
from persona_tui.services.generation.lora_use import LoraUse
from persona_tui.services.loras.shelf import Shelf


@dataclass
class LoraDesk:
    """Placer and log reader of one server, and which steps of runs to look after."""

    placer: LoraPlacer
    log: LoraLog
    _watched: dict[int, tuple[LoraUse, ...]] = field(default_factory=dict, init=False)
    _looked: set[int] = field(default_factory=set, init=False)

    @classmethod
    def over(cls, client: ComfyUIClient, shelf: Shelf | None = None, folder: Path | None = None) -> LoraDesk:
        """The desk of a server.

        Args:
            shelf: our own folder of LoRA files.
            folder: the server's, as this machine sees it.
        """
        return cls(LoraPlacer(client, shelf, folder), LoraLog(client, shelf))

    async def prepare(
        self, job: LiveJob, loras: Sequence[LoraUse], template: Mapping[str, Any]
    ) -> tuple[tuple[LoraUse, ...], Mapping[str, Any]]:
        """Bring a job's LoRAs to the server.

        Returns:
            The LoRAs under the server's names, and the workflow with those that it brings itself likewise.

        Raises:
            LoraNotListed, InvalidRequest, StorageError, ClientError: see `LoraPlacer.placed`.
        """
        placed = await self.placer.placed(loras)
        if placed and job.run_step_id not in self._looked:
            await self.log.begin()
            self._watched[job.run_step_id] = placed
        return placed, await self.placer.resolved(template)

    async def look_after(self, job: LiveJob) -> tuple[str, ...]:
        """Sentences on what the server left out of a job's LoRAs; each step of a run is looked at once."""
        loras = self._watched.pop(job.run_step_id, ())
        if not loras:
            return ()
        self._looked.add(job.run_step_id)
        waiting = [lora for others in self._watched.values() for lora in others]
        return await self.log.sentences(loras, waiting)
