"""What the parts work with: a database, a store of pictures, servers, and runs that keep an engine busy."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlmodel import Session

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.database.engine import Database, open_database
from persona_tui.database.migrate import upgrade
from persona_tui.services.generation.engine import Endpoint, Engine, EngineOptions
from persona_tui.services.generation.pipelines import import_pipeline
from persona_tui.services.generation.runs import RunInput, create_run
from persona_tui.services.media import MediaStore
from persona_tui.settings import Settings

Graph = dict[str, Any]

MOST_PER_RUN = 50
LOOK_SECONDS = 0.5
DONE = "SELECT count(*) AS done, max(finished_at) AS latest FROM comfyui_jobs WHERE state = 'done'"


@dataclass(frozen=True)
class Server:
    """A ComfyUI server: its address, and the bearer that the sandbox asks for."""

    url: str
    token: str | None = None


@dataclass(frozen=True)
class Studio:
    """A database and a store of its own."""

    database: Database
    settings: Settings

    def engine(self, servers: Sequence[Server], options: EngineOptions | None = None) -> Engine:
        """An engine over these servers, as the app makes it."""
        endpoints = [Endpoint(one.url, ComfyUIClient(one.url, one.token)) for one in servers]
        return Engine(
            self.database.session_scope,
            MediaStore(self.settings),
            endpoints,
            options=options or EngineOptions(previews=False),
        )

    def order(self, graph: Graph, pictures: int) -> None:
        """Runs that want so many pictures of one graph, each run in a colour of its own."""
        with self.database.session_scope() as session:
            name = f"bench {time.monotonic_ns()}"
            step = {"name": "picture", "workflow": graph, "children_per_parent": 1}
            import_pipeline(session, {"name": name, "steps": [step]})
            for first in range(0, pictures, MOST_PER_RUN):
                wanted = min(MOST_PER_RUN, pictures - first)
                asked = {
                    "pipeline": name,
                    "prompt": "a celadon vase",
                    "variables": {"color": fresh_colour()},
                    "steps": {1: {"children_per_parent": wanted}},
                }
                create_run(session, RunInput.model_validate(asked))

    def done(self) -> tuple[int, datetime | None]:
        """Jobs whose pictures are kept, and when the last one was."""
        with self.database.session_scope() as session:
            row = session.execute(text(DONE)).one()
        return row.done, row.latest

    @contextmanager
    def slow_commits(self, seconds: float) -> Iterator[None]:
        """Each commit takes so much longer while the block runs."""

        def wait(_session: Session) -> None:
            time.sleep(seconds)

        event.listen(Session, "before_commit", wait)
        try:
            yield
        finally:
            event.remove(Session, "before_commit", wait)


@contextmanager
def studio() -> Iterator[Studio]:
    """A studio in a temporary folder, with an embedded PostgreSQL of its own."""
    with tempfile.TemporaryDirectory(prefix="persona-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        settings = Settings(data_dir=folder / "data", environment="sandbox", database_url=None)
        database = open_database(settings)
        try:
            upgrade(database, backup_dir=None, keep=1)
            with database.connect("owner") as connection:
                connection.execute("UPDATE installation SET environment = 'sandbox'")
                connection.commit()
            yield Studio(database, settings)
        finally:
            database.dispose()


@contextmanager
def sandboxes(count: int, seconds: float) -> Iterator[tuple[Server, ...]]:
    """So many sandboxes, each a process, whose sampler takes so many seconds; pictures of 64×64."""
    with tempfile.TemporaryDirectory(prefix="persona-bench-", ignore_cleanup_errors=True) as name:
        children = [_sandbox(Path(name) / str(number), seconds) for number in range(count)]
        try:
            yield tuple(_address(child) for child in children)
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.communicate()


def _sandbox(state: Path, seconds: float) -> subprocess.Popen[bytes]:
    state.mkdir()
    options = ["--state", str(state), "--latency", str(seconds), "--image-size", "64x64", "--watch-parent"]
    return subprocess.Popen(
        [sys.executable, "-m", "persona_tui.sandbox", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _address(child: subprocess.Popen[bytes]) -> Server:
    assert child.stdout is not None
    told = json.loads(child.stdout.readline())
    return Server(told["comfyui"], told["token"])


@contextmanager
def servers(asked: str, seconds: float) -> Iterator[Server]:
    """The server that the command line names: the sandbox, or one that runs already."""
    if asked != "sandbox":
        yield Server(asked.rstrip("/"))
        return
    with sandboxes(1, seconds) as (one,):
        yield one


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """One node of a graph in API format."""
    return {"class_type": kind, "inputs": inputs}


def trivial_graph() -> Graph:
    """A plain picture of 64×64, saved: what a server does fastest."""
    return {
        "1": node("EmptyImage", width=64, height=64, batch_size=1, color="{{color}}"),
        "2": node("SaveImage", images=["1", 0], filename_prefix="bench/{{job_id}}"),
    }


def timed_graph(asked: str, seconds: float) -> Graph:
    """A picture that takes so many seconds: the sandbox's sampler, or sleep_node.py on a real server."""
    save = node("SaveImage", images=["8", 0], filename_prefix="bench/{{job_id}}")
    if asked != "sandbox":
        image = node("EmptyImage", width=64, height=64, batch_size=1, color="{{color}}")
        return {
            "1": image,
            "8": node("PersonaBenchSleep", image=["1", 0], seconds=seconds, key="{{job_id}}"),
            "9": save,
        }
    return {
        "4": node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors"),
        "5": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "6": node("CLIPTextEncode", text="{{prompt}}", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "3": node(
            "KSampler", model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0],
            seed="{{seed}}", steps=1, cfg=7.0, sampler_name="euler", scheduler="normal", denoise=1.0,
        ),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": save,
    }  # fmt: skip


def fresh_colour() -> int:
    """A colour that no cache knows."""
    return (time.monotonic_ns() // 1000) % 0xFFFFFF


async def run_until(studio: Studio, engine: Engine, pictures: int) -> float:
    """Run an engine until so many pictures are kept in all; returns the seconds up to the last one."""
    stop = asyncio.Event()
    began = datetime.now(UTC)
    running = asyncio.create_task(engine.run(stop))
    done, latest = 0, None
    while done < pictures:
        if running.done():
            raise SystemExit("The engine ended by itself.")
        await asyncio.sleep(LOOK_SECONDS)
        done, latest = await asyncio.to_thread(studio.done)
    stop.set()
    await running
    assert latest is not None
    return (latest - began).total_seconds()
