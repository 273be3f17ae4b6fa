"""What each server can run, so that a job goes only where its node classes, models and LoRAs are.

A server is asked for the node classes that a filled workflow names, each once per connection. What it does
not answer counts as there: then the server itself says no. A step that one server can't run is barred there
and goes to another; when all servers bar it, its run ends with a sentence that says why.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from persona_tui.clients.comfyui import ComfyUIClient, WorkflowRejected
from persona_tui.errors import ClientError
from persona_tui.passed import Workflow
from persona_tui.services.generation.declared import Declared, class_of, inputs_of, nearest, short
from persona_tui.services.generation.injection import with_listed_names
from persona_tui.services.generation.model_flow import is_lora_loader
from persona_tui.services.generation.template import is_link

_UPLOADED = ("image_upload", "audio_upload", "video_upload")
"""Inputs whose files may lie in a subfolder that the list does not show."""


@dataclass(frozen=True)
class Lack:
    """Something that a workflow names and a server does not have.

    Attributes:
        node: its id.
        input: of that node; empty where the whole class is missing.
        wanted: the class, or the file or choice.
    """

    node: str
    input: str
    wanted: str
    sentence: str


def lacks(workflow: Workflow, declared: Declared) -> tuple[Lack, ...]:
    """What of a filled workflow a server does not have: node classes, models, LoRAs, samplers …

    Args:
        declared: `/object_info` of the classes that the workflow names; a class that was not asked for or
            gave no answer is None and counts as there.
    """
    found = []
    for node, entry in workflow.items():
        kind = str(entry.get("class_type", ""))
        if kind not in declared or declared[kind] is None:
            continue
        info = class_of(declared, kind)
        if not info:
            found.append(Lack(str(node), "", kind, f"node {short(node)}: it has no node class {short(kind)}"))
        else:
            found.extend(_missing_choices(str(node), kind, entry.get("inputs", {}), info))
    return tuple(found)


def _missing_choices(node: str, kind: str, given: Mapping[str, Any], info: Mapping[str, Any]) -> list[Lack]:
    found = []
    for one in inputs_of(info):
        value = given.get(one.name)
        listed = one.type == "COMBO" and (bool(one.choices) or "options" in one.options or not one.options)
        if not listed or not isinstance(value, str) or is_link(value) or value in one.choices:
            continue
        if any(one.options.get(flag) for flag in _UPLOADED) or "remote" in one.options:
            continue
        words = f"node {short(node)} ({short(kind)}): it does not have {short(repr(value))}"
        near = nearest(value, [str(choice) for choice in one.choices]) or "It has none."
        found.append(Lack(node, one.name, value, f"{words} for {short(one.name)}. {near.rstrip('.')}"))
    return found


def is_lack(problem: WorkflowRejected) -> bool:
    """Whether a server refused a workflow only for what it does not have, so that another one may take it."""
    errors = [
        error
        for told in problem.node_errors.values()
        for error in told["errors"]
        if isinstance(error, Mapping)
    ]
    if not errors:
        return "no node class" in problem.message
    return all(error.get("type") == "value_not_in_list" for error in errors)


@dataclass(frozen=True)
class Bar:
    """A run step that a server can't run.

    Attributes:
        workflow: as it was filled for the job that found it out.
        words: what is missing.
    """

    workflow: Workflow
    words: str


class Capabilities:
    """What one server has, as far as anybody asked.

    Attributes:
        bars: run step's id → why it can't run here.
    """

    def __init__(self, client: ComfyUIClient) -> None:
        self._client = client
        self._declared: dict[str, Mapping[str, Any] | None] = {}
        self._fit: set[int] = set()
        self.bars: dict[int, Bar] = {}

    def forget(self) -> None:
        """The server may have been started again with other models: ask again."""
        self._declared.clear()
        self._fit.clear()

    async def fits(self, run_step_id: int, workflow: Workflow) -> bool:
        """Whether the server can run a step, as far as it tells; otherwise the step is barred here."""
        if run_step_id in self._fit:
            return True
        missing = lacks(workflow, await self._declared_for(workflow))
        if missing:  # files that came since show in a new answer
            self._drop(workflow)
            missing = lacks(workflow, await self._declared_for(workflow))
        if missing:
            self.bar(run_step_id, workflow, sentence_of(missing))
            return False
        self.bars.pop(run_step_id, None)
        self._fit.add(run_step_id)
        return True

    def bar(self, run_step_id: int, workflow: Workflow, words: str) -> None:
        """Note that the server can't run a step."""
        self._fit.discard(run_step_id)
        self.bars[run_step_id] = Bar(workflow, words)

    async def look_again(self) -> None:
        """Lift the bars of steps that can run by now: a model was copied, a node installed."""
        for run_step_id, bar in list(self.bars.items()):
            self._drop(bar.workflow)
            declared = await self._declared_for(bar.workflow)
            if not lacks(_as_listed(bar.workflow, declared), declared):
                self.bars.pop(run_step_id, None)

    async def _declared_for(self, workflow: Workflow) -> Declared:
        kinds = {str(entry.get("class_type", "")) for entry in workflow.values()}
        for kind in sorted(kinds - self._declared.keys()):
            try:
                answer = await self._client.object_info(kind)
            except ClientError:
                self._declared[kind] = None  # unknown: the server itself shall say
                continue
            found = answer.get(kind, {})
            self._declared[kind] = found if isinstance(found, Mapping) else None
        return self._declared

    def _drop(self, workflow: Workflow) -> None:
        for entry in workflow.values():
            self._declared.pop(str(entry.get("class_type", "")), None)


def _as_listed(workflow: Workflow, declared: Declared) -> Workflow:
    """The workflow with its LoRAs under the server's names: they may lie in any subfolder."""
    for entry in workflow.values():
        info = class_of(declared, str(entry.get("class_type", ""))) if is_lora_loader(entry) else None
        for one in inputs_of(info) if info else ():
            if one.name == "lora_name":
                return with_listed_names(workflow, [str(choice) for choice in one.choices])
    return workflow


def sentence_of(missing: Sequence[Lack]) -> str:
    """The first lack in words, and how many more there are."""
    more = len(missing) - 1
    tail = f"; {more} more {'is' if more == 1 else 'are'} missing" if more else ""
    return f"{missing[0].sentence}{tail}"


@dataclass
class Yard:
    """The capabilities of all servers, by address.

    Attributes:
        waiting: run steps whose runs say that they wait for a server that does not answer.
    """

    servers: dict[str, Capabilities] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)

    def add(self, url: str, client: ComfyUIClient) -> Capabilities:
        """Those of a server of which nothing is known yet."""
        return self.servers.setdefault(url, Capabilities(client))

    def barred_at(self, url: str) -> tuple[int, ...]:
        """Run steps that a server can't run."""
        return tuple(self.servers[url].bars) if url in self.servers else ()

    def lift(self, run_step_id: int) -> None:
        """Ask every server again about a step: its run ended, and when it is resumed all may be different."""
        for server in self.servers.values():
            server.bars.pop(run_step_id, None)

    def barred_everywhere(self) -> dict[int, str]:
        """Run steps that no configured server can run, with the reasons."""
        barred = [set(server.bars) for server in self.servers.values()]
        everywhere = set.intersection(*barred) if barred else set()
        return {step: self._words(step) for step in everywhere}

    def away_from(self, run_step_id: int, healthy: Collection[str]) -> str | None:
        """Why a step has to wait: every server that answers bars it; None while one may take it."""
        open_at = [url for url, server in self.servers.items() if run_step_id not in server.bars]
        if any(url in healthy for url in open_at):
            return None
        return f"{self._words(run_step_id)} It waits for {', '.join(open_at)}, which does not answer."

    def _words(self, run_step_id: int) -> str:
        barred = {
            url: server.bars[run_step_id].words
            for url, server in self.servers.items()
            if run_step_id in server.bars
        }
        if len(self.servers) == 1:
            return f"The server can't run it: {next(iter(barred.values()))}."
        return "No server can run it: " + " ".join(f"{url}: {words}." for url, words in barred.items())
