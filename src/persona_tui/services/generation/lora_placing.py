"""Bringing a run's LoRAs to a server: into its folder, and found again in its own list.

ComfyUI takes no upload of models, so the file is copied into the folder that the server reads. Only what the
server then lists itself counts as there: a job never runs silently without its LoRA.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.errors import ClientError, InvalidRequest, PersonaError
from persona_tui.services.generation.injection import listed_as, missing_loras, with_listed_names
from persona_tui.services.generation.lora_use import LoraUse
from persona_tui.services.generation.model_flow import is_lora_loader
from persona_tui.services.loras.shelf import Shelf, place

LIST_SECONDS = 30.0
"""How long a server's list is believed; what is missing in it is looked for at once."""


class LoraNotListed(InvalidRequest):
    """The server does not have a LoRA that the job needs; another one may.

    Attributes:
        probe: a graph that needs the file and nothing else.
    """

    title = "LoRA is not there"
    hint = "`persona-tui lora show LORA --servers` asks each server again."
    exit_code = 1

    def __init__(self, message: str, file_name: str) -> None:
        super().__init__(message)
        given = {"lora_name": file_name, "model": ["0", 0]}
        self.probe = {"1": {"class_type": "LoraLoaderModelOnly", "inputs": given}}


@dataclass(frozen=True)
class Placement:
    """Whether a server has a LoRA's file.

    Attributes:
        listed: the name under which it lists it; None when it does not.
        sentence: what is wrong; empty when nothing is.
    """

    endpoint: str
    listed: str | None
    sentence: str = ""


@dataclass
class LoraPlacer:
    """Places LoRA files for one server.

    Attributes:
        shelf: our own folder; None places nothing.
        folder: from which the server reads LoRAs, as this machine sees it; None where none is set.
    """

    client: ComfyUIClient
    shelf: Shelf | None = None
    folder: Path | None = None
    _listed: tuple[str, ...] = field(default=(), init=False)
    _listed_at: float | None = field(default=None, init=False)

    async def placed(self, loras: Sequence[LoraUse]) -> tuple[LoraUse, ...]:
        """The LoRAs with the names under which the server lists them; those that it lacks are copied first.

        Raises:
            LoraNotListed: it does not list one, even so; says where it was put, or was to be put.
            InvalidRequest: our own file is gone.
            StorageError: the folder can't be written.
            ClientError: the server can't be asked.
        """
        names = [lora.file_name for lora in loras]
        listed = await self.listed() if names else ()
        missing = missing_loras(names, listed)
        if missing:
            await self._bring(missing)
            listed = await self.listed(fresh=True)
        return tuple(replace(lora, listed=self._require(lora, listed)) for lora in loras)

    async def resolved(self, template: Mapping[str, Any]) -> Mapping[str, Any]:
        """The workflow with its own LoRAs' names as the server writes them, as far as it can be asked."""
        if not any(is_lora_loader(entry) for entry in template.values()):
            return template
        with suppress(ClientError):
            return with_listed_names(template, await self.listed())
        return template

    async def listed(self, *, fresh: bool = False) -> tuple[str, ...]:
        """The server's own list of LoRAs.

        Raises:
            ClientError: it can't be asked.
        """
        now = asyncio.get_running_loop().time()
        if fresh or self._listed_at is None or now - self._listed_at > LIST_SECONDS:
            self._listed = await self.client.lora_names()
            self._listed_at = now
        return self._listed

    async def placement(self, file_name: str, *, bring: bool = False) -> Placement:
        """Whether the server has a file, for people; `bring` copies it where it is missing."""
        try:
            found = listed_as(file_name, await self.listed(fresh=True))
            if found is None and bring:
                await self._bring([file_name])
                found = listed_as(file_name, await self.listed(fresh=True))
        except PersonaError as problem:
            return Placement(self.client.base_url, None, problem.message)
        return Placement(self.client.base_url, found, "" if found else self._what_to_do(file_name))

    async def _bring(self, names: Sequence[str]) -> None:
        if self.folder is None or self.shelf is None:
            return
        for name in names:
            await asyncio.to_thread(place, self.shelf.path(name), self.folder)

    def _require(self, lora: LoraUse, listed: Sequence[str]) -> str:
        found = listed_as(lora.file_name, listed)
        if found is None:
            words = f"{self.client.base_url} does not list the LoRA {lora.label}."
            raise LoraNotListed(f"{words} {self._what_to_do(lora.file_name)}", lora.file_name)
        return found

    def _what_to_do(self, file_name: str) -> str:
        if self.folder is not None:
            return (
                f"{file_name} lies in {self.folder}; make that the folder models/loras of this server,"
                " or set comfyui.lora_dir to the one that it reads."
            )
        source = self.shelf.path(file_name) if self.shelf else file_name
        return f"Copy {source} into its folder models/loras, or set comfyui.lora_dir to that folder."
