"""What ComfyUI's log tells of LoRAs: weights whose names it does not know are left out without an error."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import structlog

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.clients.comfyui_facts import LogLine, LogTail, shortened
from persona_tui.errors import ClientError, InvalidRequest
from persona_tui.services.generation.lora_use import LoraUse
from persona_tui.services.loras.families import UNKNOWN
from persona_tui.services.loras.header import read_header
from persona_tui.services.loras.shelf import Shelf

log = structlog.get_logger("persona_tui.generation")

_NOT_LOADED = re.compile(r"lora key not loaded: (\S+)")
MOST_KEYS = 50_000
MOST_FILES = 16


@dataclass
class Losses:
    """What a server left out of the LoRAs of one family.

    Which names it knows depends on the model, so that what it said of one LoRA holds for the others of its
    family, about which it is silent while they are loaded.

    Attributes:
        are_all: no line about them can have fallen out of the log unread.
    """

    keys: set[str] = field(default_factory=set)
    are_all: bool = True


@dataclass
class LoraLog:
    """Reads one server's log for weights that it left out.

    A line names a weight and no LoRA. It counts for the LoRAs of jobs that were sent and not yet looked after
    when it was new, as far as they have a weight of that name: another model may know a name that this one
    does not. What was said before the first job is about nobody knows whose LoRA, and counts for none.
    """

    client: ComfyUIClient
    shelf: Shelf | None
    _seen: frozenset[LogLine] | None = field(default=None, init=False)
    _open: dict[str, set[str]] = field(default_factory=dict, init=False)
    """Kind of LoRA → weights that new lines named while a job with such a LoRA was at the server."""
    _losses: dict[str, Losses] = field(default_factory=dict, init=False)
    _has_gap: bool = field(default=False, init=False)
    """Lines fell out of the log unread before the open ones."""
    _keys: OrderedDict[str, frozenset[str]] = field(default_factory=OrderedDict, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    """An older reading must not come after a newer one."""

    async def begin(self) -> None:
        """Note what the log says before the first job is sent; later calls do nothing."""
        if self._seen is None:
            async with self._turn:
                await self._read(())

    async def sentences(self, loras: Sequence[LoraUse], waiting: Sequence[LoraUse] = ()) -> tuple[str, ...]:
        """A sentence for each LoRA of a job that has ended of which the server left weights out.

        Args:
            waiting: LoRAs of other jobs that were sent and will be looked after later.

        Returns:
            The sentences; none where the log can't be read.
        """
        async with self._turn:
            await self._read((*loras, *waiting))
            return await asyncio.to_thread(self._told, loras, {_kind(lora) for lora in waiting})

    async def _read(self, at_work: Sequence[LoraUse]) -> None:
        try:
            tail = await self.client.log_tail()
        except ClientError as problem:
            log.info("the server's log can't be read", endpoint=self.client.base_url, problem=problem.message)
            return
        if tail is not None:
            self._take(tail, {_kind(lora) for lora in at_work})

    def _take(self, tail: LogTail, at_work: Collection[str]) -> None:
        """Keep what is new in a log that was read."""
        before, self._seen = self._seen, frozenset(tail.lines)
        if before is None:
            return
        goes_on = not before.isdisjoint(self._seen) or not (before or tail.is_full)
        self._has_gap = (not goes_on and tail.is_full) or (self._has_gap and bool(self._open))
        if not goes_on and not tail.is_full:  # the server was started again, maybe as a newer one
            self._losses.clear()
            self._open.clear()
        lost = set(_lost_in(tail.lines, before))
        for kind in at_work if lost else ():
            kept = self._open.setdefault(kind, set())
            if len(kept) < MOST_KEYS:
                kept |= lost

    def _told(self, loras: Sequence[LoraUse], waiting: Collection[str]) -> tuple[str, ...]:
        claimed = {key for lora in loras for key in self._claim(lora)}
        self._open = {kind: keys - claimed for kind, keys in self._open.items() if kind in waiting}
        told = [self._sentence(lora) for lora in loras]
        return tuple(sentence for sentence in told if sentence)

    def _claim(self, lora: LoraUse) -> frozenset[str]:
        """Note which of its family's weights the lines are about."""
        keys = self._keys_of(lora.file_name)
        found = keys & self._open.get(_kind(lora), set())
        if not found or (found != keys and self._is_doubtful(lora, found)):
            return frozenset()
        losses = self._losses.setdefault(_kind(lora), Losses())
        losses.keys |= found
        losses.are_all = losses.are_all and not self._has_gap
        return found

    def _is_doubtful(self, lora: LoraUse, found: frozenset[str]) -> bool:
        """Whether another family is known to lose the same: one of its jobs may have said it again."""
        return any(found <= losses.keys for kind, losses in self._losses.items() if kind != _kind(lora))

    def _sentence(self, lora: LoraUse) -> str | None:
        losses = self._losses.get(_kind(lora))
        keys = self._keys_of(lora.file_name)
        left_out = keys & losses.keys if losses else frozenset()
        if not losses or not left_out:
            return None
        example = shortened(min(left_out), 80)
        server = self.client.base_url
        if len(left_out) == len(keys):
            return f"{lora.label} changes nothing: {server} knows none of its weights ({example})."
        number = f"{len(left_out)}" if losses.are_all else f"at least {len(left_out)}"
        return f"{server} left out {number} of {len(keys)} weights of {lora.label} ({example})."

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


def _kind(lora: LoraUse) -> str:
    """What shares its losses with a LoRA: its family; one of which that is not known stands alone."""
    return lora.family if lora.family != UNKNOWN else lora.file_name


def _lost_in(lines: Sequence[LogLine], before: frozenset[LogLine]) -> Iterator[str]:
    for line in lines:
        found = _NOT_LOADED.search(line.words)
        if found and line not in before:
            yield found.group(1)
