"""A small world to publish in: a persona, an account at the sandbox, pictures, posts; all rows are real."""

from __future__ import annotations

import atexit
import io
import json
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.media_host import MediaHost
from persona_tui.database.engine import Database
from persona_tui.pool import WorkPool
from persona_tui.sandbox.instagram.behaviour import Behaviour
from persona_tui.services.leadership import this_process
from persona_tui.services.media import MediaStore
from persona_tui.services.publishing.accounts import add_account
from persona_tui.services.publishing.policy import PublishPolicy, ReconcilePolicy
from persona_tui.services.publishing.posts import (
    PostView,
    draft_for_winner,
    get_post,
    schedule,
    write_caption,
)
from persona_tui.services.publishing.publisher import Publisher, TickReport
from persona_tui.services.publishing.reconcile import Reconciler, ReconcileReport
from persona_tui.services.secrets import Keyring
from persona_tui.settings import InstagramSettings, MediaSettings, Settings
from tests.support.sandbox import SandboxProcess

PUBLISH_QUICKLY = PublishPolicy(
    polls=(0.0, 0.02, 0.05, 0.1), later_polls=(0.0,), backoff=(0.0,), patience=30.0
)
RECONCILE_QUICKLY = replace(ReconcilePolicy.of("sandbox"), pauses=(0.0,), patience=30.0)


def picture(seed: int, size: tuple[int, int] = (80, 100)) -> bytes:
    """A PNG of noise that no other seed has."""
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    return out.getvalue()


@dataclass
class World:
    """What a publishing test works with."""

    db: Database
    sandbox: SandboxProcess
    folder: Path
    settings: Settings
    keyring: Keyring
    media: MediaStore
    persona_id: int = 0
    account_id: int = 0
    ig_user_id: str = ""
    token: str = ""
    pictures: int = 0
    owner: str = field(default_factory=lambda: this_process().id)

    # Rows

    def post(
        self, *, at: datetime | None = None, alt_text: str = "A cup by the window", **options: Any
    ) -> PostView:
        """A generated picture, drafted, captioned and scheduled: for now, or for `at`."""
        with self.db.session_scope() as session:
            draft = draft_for_winner(session, self.candidate(session))
            write_caption(session, draft.id, f"Morning {draft.id}", ["coffee"], alt_text)
            return schedule(session, draft.id, at or self.clock(session), **options)

    def candidate(self, session: Session, *, persona_id: int | None = None) -> int:
        """A run's generated picture."""
        self.pictures += 1
        stored = self.media.put(picture(self.persona_id * 1000 + self.pictures))
        return make_candidate(session, persona_id or self.persona_id, stored.key, stored.sha256)

    def photo(self, session: Session) -> int:
        """An imported photograph."""
        self.pictures += 1
        stored = self.media.put(picture(self.persona_id * 1000 + self.pictures))
        return int(
            session.execute(
                text(
                    "INSERT INTO photos (persona_id, sha256, media_key, format, width, height, byte_count)"
                    " VALUES (:persona, :sha, :key, 'PNG', 80, 100, 1) RETURNING id"
                ),
                {"persona": self.persona_id, "sha": stored.sha256, "key": stored.key},
            ).scalar_one()
        )

    # The program's parts

    def publisher(self, **options: Any) -> Publisher:
        """A publisher of this process."""
        given: dict[str, Any] = {"policy": PUBLISH_QUICKLY, "owner": self.owner, **options}
        pool = given.pop("pool", None) or _pool()
        return Publisher(
            self.db.session_scope,
            self.media,
            make_client=self.client,
            host=self.host,
            pool=pool,
            keyring=self.keyring,
            settings=self.settings,
            **given,
        )

    def reconciler(self, **options: Any) -> Reconciler:
        """A reconciler of this process."""
        given: dict[str, Any] = {"policy": RECONCILE_QUICKLY, "owner": self.owner, **options}
        return Reconciler(
            self.db.session_scope,
            make_client=self.client,
            keyring=self.keyring,
            settings=self.settings,
            **given,
        )

    def client(self, ig_user_id: str, token: str) -> InstagramClient:
        """A client of the sandbox's Instagram."""
        return InstagramClient(
            SecretStr(token), ig_user_id=ig_user_id, base_url=self.sandbox.instagram, environment="sandbox"
        )

    def host(self) -> MediaHost:
        """The sandbox's public folder."""
        return MediaHost(f"file://{self.sandbox.media_dir}", self.sandbox.media)

    async def publish(self, **options: Any) -> TickReport:
        """One round of a fresh publisher."""
        publisher = self.publisher(**options)
        try:
            return await publisher.tick(self.now())
        finally:
            await publisher.aclose()

    async def reconcile(self, **options: Any) -> ReconcileReport:
        """One round of a fresh reconciler."""
        reconciler = self.reconciler(**options)
        try:
            return await reconciler.tick(self.now())
        finally:
            await reconciler.aclose()

    # Looking

    def now(self) -> datetime:
        """The database's clock."""
        with self.db.session_scope() as session:
            return self.clock(session)

    def clock(self, session: Session) -> datetime:
        """The database's clock."""
        moment: datetime = session.execute(text("SELECT persona_now()")).scalar_one()
        return moment.astimezone(UTC)

    def view(self, post_id: int) -> PostView:
        """The post as it is shown."""
        with self.db.session_scope() as session:
            return get_post(session, post_id)

    def one(self, statement: str, **values: Any) -> Any:
        """The one value that a statement gives."""
        with self.db.session_scope() as session:
            return session.execute(text(statement), values).scalar_one()

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """All rows that a statement gives."""
        with self.db.session_scope() as session:
            return [tuple(row) for row in session.execute(text(statement), values)]

    def do(self, statement: str, **values: Any) -> None:
        """Run a statement as the database's owner, past what the app's role may do."""
        with self.db.owner_engine().begin() as connection:
            connection.execute(text(statement), values)

    def published(self) -> list[dict[str, Any]]:
        """What this account really published through the API, as the sandbox remembers it."""
        return [
            entry
            for entry in self.sandbox.ledger("instagram", "published")
            if entry["ig_user_id"] == self.ig_user_id
        ]

    def calls(self, event: str) -> list[dict[str, Any]]:
        """Ledger entries of this account."""
        return [
            entry
            for entry in self.sandbox.ledger("instagram", event)
            if entry["ig_user_id"] == self.ig_user_id
        ]

    def behave(self, **changes: Any) -> None:
        """Change how the sandbox's Instagram behaves."""
        steer(self.sandbox, "behaviour", changes)

    def phone_post(self, **facts: Any) -> str:
        """The account's owner publishes by phone; the item's id."""
        return str(steer(self.sandbox, "foreign_posts", {"ig_user_id": self.ig_user_id, **facts})["id"])

    def advance_clocks(self, seconds: float) -> None:
        """Move the sandbox's clock and the database's on together."""
        self.sandbox.advance(seconds)
        self.do(
            "UPDATE installation SET clock_offset = clock_offset + make_interval(secs => :seconds)",
            seconds=seconds,
        )


@cache
def _pool() -> WorkPool:
    """One pool for the whole run: its child takes a second to start."""
    return WorkPool()


@cache
def shared_sandbox() -> SandboxProcess:
    """One sandbox for the whole run; it ends with the run. Each world has an account of its own there."""
    folder = tempfile.mkdtemp(prefix="persona-sandbox-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    process = SandboxProcess(Path(folder))
    atexit.register(process.kill)
    return process


def calm(sandbox: SandboxProcess) -> None:
    """No faults, the machine's own time, and an Instagram that behaves."""
    sandbox.clear_faults("instagram")
    sandbox.clear_faults("media")
    sandbox.control("instagram", "POST", "clock", json={"offset": 0})
    steer(sandbox, "behaviour", Behaviour(container_seconds=0).model_dump(mode="json"))


def steer(sandbox: SandboxProcess, what: str, body: dict[str, Any]) -> Any:
    """POST to the Instagram stand-in's own steering routes."""
    answer = httpx.post(
        f"{sandbox.instagram}/sandbox/{what}",
        json=body,
        headers={"Authorization": f"Bearer {sandbox.token}"},
        trust_env=False,
    )
    answer.raise_for_status()
    return answer.json()


_accounts = iter(range(1, 10_000))


def make_world(db: Database, folder: Path, *, name: str = "Ada") -> World:
    """A persona with an account of its own at a calm sandbox; nothing is planned yet."""
    sandbox = shared_sandbox()
    calm(sandbox)
    settings = Settings(
        data_dir=folder / "data",
        environment="sandbox",
        instagram=InstagramSettings(base_url=sandbox.instagram, min_gap_minutes=0),
        media=MediaSettings(publish_url=f"file://{sandbox.media_dir}", public_base_url=sandbox.media),
    )
    world = World(
        db, sandbox, folder, settings, Keyring.open(folder / "config", environ={}), MediaStore(settings)
    )
    add_persona(world, name)
    return world


def add_persona(world: World, name: str) -> None:
    """Another persona with an account; the world works for it from now on."""
    world.ig_user_id = f"178414{next(_accounts):011d}"
    world.token = world.sandbox.token
    steer(
        world.sandbox, "accounts", {"ig_user_id": world.ig_user_id, "username": name.lower(), "is_me": True}
    )
    with world.db.session_scope() as session:
        world.persona_id = make_persona(session, name)
        account = add_account(
            session,
            world.keyring,
            {
                "persona_id": world.persona_id,
                "ig_user_id": world.ig_user_id,
                "username": name.lower(),
                "token": world.token,
            },
        )
    world.account_id = account.id


def make_persona(session: Session, name: str) -> int:
    """A persona's row."""
    return int(
        session.execute(
            text("INSERT INTO personas (name, age, zone) VALUES (:name, 27, 'Europe/Berlin') RETURNING id"),
            {"name": name},
        ).scalar_one()
    )


def make_candidate(session: Session, persona_id: int, key: str, sha256: str) -> int:
    """A generated picture with all that it hangs on: pipeline, run, step, slot, job."""

    def insert(table: str, **values: Any) -> int:
        columns, places = ", ".join(values), ", ".join(f":{name}" for name in values)
        statement = f"INSERT INTO {table} ({columns}) VALUES ({places}) RETURNING id"
        return int(session.execute(text(statement), values).scalar_one())

    pipeline = insert("pipelines", name=f"p{sha256[:16]}")
    version = insert("pipeline_versions", pipeline_id=pipeline, number=1)
    step = insert("pipeline_steps", pipeline_version_id=version, position=1, name="base")
    run = insert(
        "pipeline_runs", pipeline_version_id=version, persona_id=persona_id, name="r", prompt="p", seed=1
    )
    run_step = insert(
        "pipeline_run_steps",
        run_id=run,
        pipeline_version_id=version,
        pipeline_step_id=step,
        position=1,
        children_per_parent=1,
        top_k=1,
    )
    slot = insert("generation_slots", run_step_id=run_step, run_id=run, slot_no=1)
    job = insert(
        "comfyui_jobs",
        prompt_id=f"{sha256[:8]}-{sha256[8:12]}-4{sha256[13:16]}-8{sha256[17:20]}-{sha256[20:32]}",
        run_id=run,
        run_step_id=run_step,
        slot_id=slot,
        endpoint="http://127.0.0.1:1",
        workflow=json.dumps({}),
        seed=1,
    )
    return insert(
        "image_candidates",
        run_id=run,
        run_step_id=run_step,
        persona_id=persona_id,
        slot_id=slot,
        job_id=job,
        media_key=key,
        sha256=sha256,
        width=80,
        height=100,
        seed=1,
    )
