"""ComfyUI over HTTP and websocket: submit, follow, fetch.

Written against v0.8.0 and tolerant of older and newer servers. A prompt's id is the caller's: the same id
sent twice runs twice, so look at `history` before sending again.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote

from pydantic import SecretStr
from websockets.exceptions import ConnectionClosedError

from persona_tui.clients.comfyui_events import (
    ComfyEvent,
    Executed,
    Executing,
    ExecutionCached,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    Idle,
    Preview,
    Progress,
    Status,
    parse_frame,
)
from persona_tui.clients.comfyui_facts import (
    Device,
    HistoryEntry,
    LogTail,
    OutputFile,
    QueueState,
    Submitted,
    SystemStats,
    entry_in,
    log_in,
    mapping_in,
    queue_in,
    shortened,
    stats_in,
    submitted_in,
)
from persona_tui.clients.comfyui_refusals import (
    WorkflowRejected,
    choices_in,
    node_sentence,
    refusal_of,
    rejection_of,
    unlisted_choice,
)
from persona_tui.clients.comfyui_wire import (
    ComfyService,
    open_events,
    without_credentials,
)
from persona_tui.clients.fast_wire import FastWire
from persona_tui.errors import (
    ClientError,
    ServiceGarbled,
    ServiceRefused,
    ServiceUnreachable,
)
from persona_tui.passed import Passed, Workflow, require_passed

LARGEST_ANSWER = 256 * 1024 * 1024
_UNSAFE_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
_FOLDERS = frozenset({"output", "temp", "input"})


class ComfyUIClient:
    """One ComfyUI server.

    Raises from every call: `ServiceUnreachable` (nothing was sent), `ServiceTimeout`, `ServiceGarbled`,
    `KeyRejected` (401, 403), `ServiceRefused`, and `ClientError` for a connection that broke.
    """

    def __init__(
        self,
        base_url: str,
        api_key: SecretStr | str | None = None,
        *,
        timeout: float = 30.0,
        largest_answer: int = LARGEST_ANSWER,
    ) -> None:
        """Args:
        base_url: scheme, host, port, path prefix; `user:password@` becomes Basic authentication.
        api_key: sent as a bearer token, also when the websocket opens.
        timeout: seconds for one HTTP call.
        largest_answer: bytes of an answer's body that are read at most.
        """
        address, basic = without_credentials(base_url)
        key = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
        self._headers = {"Authorization": f"Bearer {key}"} if key else basic
        self._timeout = timeout
        wire = FastWire("ComfyUI", address.rstrip("/"), self._headers, timeout, largest_answer=largest_answer)
        self._http = ComfyService("ComfyUI", address, timeout=timeout, wire=wire)

    @property
    def base_url(self) -> str:
        """The server's address, without credentials."""
        return self._http.base_url

    async def __aenter__(self) -> ComfyUIClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all HTTP connections."""
        await self._http.aclose()

    async def submit(
        self,
        workflow: Passed[Workflow],
        *,
        prompt_id: str,
        client_id: str,
        extra: Mapping[str, Any] | None = None,
    ) -> Submitted:
        """Put a workflow into the queue.

        Args:
            prompt_id: the caller's id for it (a UUID).
            client_id: whose websocket gets its events; without one v0.8.0 loses cached prompts' outputs.
            extra: `extra_data`, such as {"preview_method": "auto"}.

        Raises:
            WorkflowRejected: the workflow is invalid; where only a part is, that part's rest is withdrawn.
        """
        require_passed(workflow)
        body: dict[str, Any] = {"prompt": workflow.value, "prompt_id": prompt_id, "client_id": client_id}
        if extra:
            body["extra_data"] = dict(extra)
        try:
            answer = mapping_in(await self._http.request_json("POST", "/prompt", json=body), "a prompt")
        except WorkflowRejected as problem:
            raise await self._with_nearest_names(problem) from None
        submitted = submitted_in(answer)
        if answer.get("node_errors"):
            await self._withdraw(submitted.prompt_id)
            rejection = rejection_of({"message": "a part of it is invalid"}, answer["node_errors"])
            raise await self._with_nearest_names(rejection)
        return submitted

    async def _with_nearest_names(self, problem: WorkflowRejected) -> WorkflowRejected:
        """Ask for the names that the server has, where its refusal leaves a long list out."""
        unlisted = unlisted_choice(problem.node_errors)
        if unlisted is None:
            return problem
        kind, name = unlisted
        try:
            info = await self.object_info(kind)
        except ClientError:
            return problem
        names: list[str] = []
        match info.get(kind):
            case {"input": {"required": dict() as declared}} if name in declared:
                names = choices_in(declared[name])
        return WorkflowRejected(node_sentence(problem.node_errors, names), node_errors=problem.node_errors)

    async def _withdraw(self, prompt_id: str) -> None:
        """Take a prompt back as far as it goes; what can't be taken back runs for nothing."""
        try:
            await self.delete_pending(prompt_id)
            await self.interrupt(prompt_id)
        except ClientError:
            return

    async def queue(self) -> QueueState:
        """Ids of the prompts that run and wait."""
        return queue_in(await self._http.request_json("GET", "/queue"))

    async def history(self, prompt_id: str) -> HistoryEntry | None:
        """What became of a prompt; None: the server does not know it (it restarted, or never got it).

        A prompt moves from the queue to the history at one instant, so: history, queue, history once more.
        """
        entry = await self._entry(prompt_id)
        if entry is not None:
            return entry
        queue = await self.queue()
        if prompt_id in queue.running or prompt_id in queue.pending:
            return HistoryEntry(prompt_id, "running")
        return await self._entry(prompt_id)

    async def _entry(self, prompt_id: str) -> HistoryEntry | None:
        answer = await self._http.request_json("GET", f"/history/{quote(prompt_id, safe='')}")
        return entry_in(prompt_id, answer)

    async def view(self, output: OutputFile) -> bytes:
        """A file's bytes as they are; whether they are a picture is for the caller to check.

        Raises:
            ServiceGarbled: the file's name leads out of its folder, or it is larger than 256 MiB.
            ServiceRefused: status 404: the file is gone.
        """
        _refuse_escape(output)
        query = {"filename": output.filename, "subfolder": output.subfolder, "type": output.type}
        response = await self._http.send("GET", "/view", params=query)
        if response.status_code == 404:
            raise ServiceRefused(f"ComfyUI no longer has {shortened(output.filename, 100)}.", status=404)
        if not response.is_success:
            raise refusal_of(response)
        return response.content

    async def upload_image(self, picture: Passed[bytes], name: str) -> str:
        """Put a picture into the server's input folder.

        Args:
            name: the wanted file name; the server keeps it for equal bytes and changes it for others.

        Returns:
            The name to use in LoadImage.
        """
        require_passed(picture)
        safe = _UNSAFE_IN_NAMES.sub("-", name.rpartition("/")[2]).strip(".-") or "picture.png"
        answer = await self._http.request_json(
            "POST", "/upload/image", files={"image": (safe, picture.value)}, data={"type": "input"}
        )
        match answer:
            case {"name": str() as given, **rest} if given:
                subfolder = rest.get("subfolder")
                return f"{subfolder}/{given}" if isinstance(subfolder, str) and subfolder else given
        raise ServiceGarbled("ComfyUI took the picture but gave it no name.")

    async def interrupt(self, prompt_id: str) -> None:
        """Stop this prompt if it runs; another one is left alone.

        Older servers stop whatever runs, so the queue is asked first.
        """
        if prompt_id in (await self.queue()).running:
            await self._send("/interrupt", {"prompt_id": prompt_id})

    async def delete_pending(self, prompt_id: str) -> None:
        """Take this prompt out of the queue if it waits; a running one is left alone."""
        await self._send("/queue", {"delete": [prompt_id]})

    async def free(self, *, unload_models: bool = True, free_memory: bool = True) -> None:
        """Have the server let go of models and cached results when it is idle."""
        await self._send("/free", {"unload_models": unload_models, "free_memory": free_memory})

    async def _send(self, path: str, body: Mapping[str, Any]) -> None:
        response = await self._http.send("POST", path, json=body)
        if not response.is_success:
            raise refusal_of(response)

    async def object_info(self, node_class: str | None = None) -> Mapping[str, Any]:
        """Node class → its inputs and outputs; of one class or of all (0.6 MB and more: keep it)."""
        path = "/object_info" if node_class is None else f"/object_info/{quote(node_class, safe='')}"
        return mapping_in(await self._http.request_json("GET", path), "its nodes")

    async def models(self, folder: str) -> tuple[str, ...]:
        """Names of the models of one kind, such as `loras`, as the server writes them; new ones show at once.

        Raises:
            ServiceRefused: status 404: the server has no such kind.
        """
        names = await self._http.request_json("GET", f"/models/{quote(folder, safe='')}")
        if not isinstance(names, list):
            raise ServiceGarbled("ComfyUI's list of models can't be read.")
        return tuple(name for name in names if isinstance(name, str))

    async def lora_names(self) -> tuple[str, ...]:
        """Names of the server's LoRAs as it writes them: with subfolders, on Windows with backslashes."""
        try:
            return await self.models("loras")
        except ServiceRefused as problem:
            if problem.status != 404:
                raise
        # Servers before the route say it in the declaration of their loader.
        declared = await self.object_info("LoraLoader")
        match declared.get("LoraLoader"):
            case {"input": {"required": {"lora_name": config}}}:
                return tuple(choices_in(config))
        raise ServiceGarbled("ComfyUI does not say which LoRAs it has.")

    async def log_tail(self) -> LogTail | None:
        """The end of the server's log; None where it, or a proxy before it, does not show it."""
        for path in ("/internal/logs/raw", "/internal/logs"):
            try:
                answer = await self._http.request_json("GET", path)
            except ServiceRefused:
                continue
            except ServiceGarbled:
                return None
            return log_in(answer)
        return None

    async def system_stats(self) -> SystemStats:
        """The server's version and cards."""
        return stats_in(await self._http.request_json("GET", "/system_stats"))

    async def events(self, client_id: str) -> AsyncIterator[ComfyEvent]:
        """Follow the prompts that were submitted under this client id, until the connection ends.

        The first event is a `Status`. Events missed before or between connections are lost, so read `history`
        after each (re)connect. A server keeps one connection per client id and forgets the newer one when the
        older ends: after a silence, too, the history is the truth.

        Raises:
            ServiceUnreachable: no connection, or it broke; a connection closed in order just ends.
        """
        socket = await open_events(self.base_url, self._headers, client_id, timeout=self._timeout)
        try:
            await socket.send(
                json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
            )
            async for frame in socket:
                event = parse_frame(frame)
                if event is not None:
                    yield event
        except ConnectionClosedError:
            raise ServiceUnreachable("The event stream of ComfyUI broke.", sent=False) from None
        finally:
            await socket.close()


def _refuse_escape(output: OutputFile) -> None:
    """Refuse a name that a hostile or broken server gave to lead elsewhere."""
    steps = output.subfolder.replace("\\", "/").split("/")
    plain = output.filename not in {"", ".", ".."} and not re.search(r"[/\\]", output.filename)
    if not plain or ".." in steps or output.subfolder.startswith(("/", "\\")) or output.type not in _FOLDERS:
        raise ServiceGarbled(
            f"ComfyUI named a file that leads out of its folder: {shortened(output.filename, 80)}."
        )


__all__ = [
    "ComfyEvent",
    "ComfyUIClient",
    "Device",
    "Executed",
    "Executing",
    "ExecutionCached",
    "ExecutionError",
    "ExecutionInterrupted",
    "ExecutionStart",
    "ExecutionSuccess",
    "HistoryEntry",
    "Idle",
    "OutputFile",
    "Preview",
    "Progress",
    "QueueState",
    "Status",
    "Submitted",
    "SystemStats",
    "WorkflowRejected",
]
