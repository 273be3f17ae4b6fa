"""What ComfyUI's log tells of LoRAs: weights whose names it does not know are left out without an error."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.clients.comfyui_facts import shortened
from persona_tui.errors import ClientError, InvalidRequest
from persona_tui.services.generation.lora_use import LoraUse
from persona_tui.services.loras.header import read_header
from persona_tui.services.loras.shelf import Shelf

log = structlog.get_logger("persona_tui.generation")

_NOT_LOADED = re.compile(r"lora key not loaded: (\S+)")
MOST_KEYS = 50_000
MOST_FILES = 16


@dataclass
class LoraLog:
    """Reads one server's log for weights that it left out.

    A server loads a LoRA once and is silent about it afterwards, so what was read is remembered. The names of
    the weights tell which LoRA a line is about.
    """

    client: ComfyUIClient
    shelf: Shelf | None
    _left_out: set[str] = field(default_factory=set, init=False)
    _keys: OrderedDict[str, frozenset[str]] = field(default_factory=OrderedDict, init=False)

    async def sentences(self, loras: Sequence[LoraUse]) -> tuple[str, ...]:
        """A sentence for each LoRA of which the server left weights out; none where its log can't be read."""
        try:
            lines = await self.client.log_lines()
        except ClientError as problem:
            log.info("the server's log can't be read", endpoint=self.client.base_url, problem=problem.message)
            return ()
        for line in lines or ():
            found = _NOT_LOADED.search(line)
            if found and len(self._left_out) < MOST_KEYS:
                self._left_out.add(found.group(1))
        if not self._left_out:
            return ()
        told = [await asyncio.to_thread(self._sentence, lora) for lora in loras]
        return tuple(sentence for sentence in told if sentence)

    def _sentence(self, lora: LoraUse) -> str | None:
        keys = self._keys_of(lora.file_name)
        left_out = keys & self._left_out
        if not left_out:
            return None
        example = shortened(min(left_out), 80)
        server = self.client.base_url
        if len(left_out) == len(keys):
            return f"{lora.label} changes nothing: {server} knows none of its weights ({example})."
        return f"{server} left out {len(left_out)} of {len(keys)} weights of {lora.label} ({example})."

    def _keys_of(self, file_name: str) -> frozenset[str]:
        if self.shelf is None:
            return frozenset()
        if file_name not in self._keys:
            try:
                self._keys[file_name] = frozenset(read_header(self.shelf.path(file_name)).shapes)
            except InvalidRequest:
                return frozenset()
            while len(self._keys) > MOST_FILES:
                self._keys.popitem(last=False)
        return self._keys[file_name]
