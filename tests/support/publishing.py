"""A small world to publish in: a persona, an account at the sandbox, pictures, posts; all rows are real."""

from __future__ import annotations

import asyncio
import hashlib
import io
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.instagram_login import LoginName, login_of
from persona_tui.clients.instagram_tokens import TokenClient
from persona_tui.clients.media_host import MediaHost
from persona_tui.database.engine import Database
from persona_tui.sandbox.instagram.logins import APP_ID
from persona_tui.services.films import middle_frame
from persona_tui.services.leadership import this_process
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.media import MediaStore
from persona_tui.services.publishing.accounts import add_account
from persona_tui.services.publishing.claims import take_over
from persona_tui.services.publishing.formats import Format, set_format
from persona_tui.services.publishing.grants import account_token
from persona_tui.services.publishing.policy import PublishPolicy, ReconcilePolicy
from persona_tui.services.publishing.posts import (
    PostView,
    draft_for_winner,
    get_post,
    publish_now,
    schedule,
    write_caption,
)
from persona_tui.services.publishing.publisher import Publisher, TickReport
from persona_tui.services.publishing.reconcile import Reconciler, ReconcileReport
from persona_tui.services.publishing.tokens import TokenKeeper
from persona_tui.services.publishing.winners import draft_post
from persona_tui.services.secrets import Keyring
from persona_tui.setting_sections import InstagramSettings
from persona_tui.settings import Settings
from tests.support.films import film
from tests.support.instagram import plain_transport
from tests.support.publishing_rows import make_candidate, make_persona, picture
from tests.support.publishing_sandbox import calm, http, new_token, shared_sandbox, steer
from tests.support.sandbox import SandboxProcess

R = TypeVar("R")

PUBLISH_QUICKLY = PublishPolicy(
    polls=(0.0, 0.02, 0.05, 0.1), later_polls=(0.0,), backoff=(0.0,), patience=30.0
)
RECONCILE_QUICKLY = replace(
    ReconcilePolicy.of("sandbox"), pauses=(0.0,), quiet_for=timedelta(0), settle=timedelta(0), patience=30.0
)


@dataclass(frozen=True)
class Site:
    """Where the sandbox's servers are."""

    instagram: str
    media: str
    media_dir: Path
    app_secret: str = "a-secret-of-no-app"


@dataclass
class World:
    """What a publishing test works with."""

    db: Database
    site: Site
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

    @property
    def sandbox(self) -> SandboxProcess:
        """The run's one sandbox."""
        return shared_sandbox()

    # Rows

    def post(
        self, *, at: datetime | None = None, alt_text: str = "A cup by the window", **options: Any
    ) -> PostView:
        """A generated picture, drafted, captioned and scheduled: for now, or for `at`."""
        with self.db.session_scope() as session:
            draft = draft_for_winner(session, self.candidate(session))
            write_caption(session, draft.id, f"Morning {draft.id}", ["coffee"], alt_text)
            return schedule(session, draft.id, at or self.clock(session), **options)

    def carousel(self, count: int = 3, **format: Any) -> PostView:
        """Generated pictures as one post, captioned and due; `format`: tags, place and the like."""
        with self.db.session_scope() as session:
            refs = [PictureRef(candidate_id=self.candidate(session)) for _ in range(count)]
            draft = draft_post(session, refs, "carousel")
            write_caption(session, draft.id, f"Morning {draft.id}", ["coffee"], "Three cups")
            set_format(session, draft.id, Format(kind="carousel", **format))
            return publish_now(session, draft.id)

    def reel(self) -> PostView:
        """A film of a generator's as a post, captioned and due."""
        self.pictures += 1
        with self.db.session_scope() as session:
            made = PictureRef(photo_id=self.film(session, film(seed=self.pictures)))
            draft = draft_post(session, [made], "reel", edited=True)
            write_caption(session, draft.id, f"Morning {draft.id}", ["coffee"])
            return publish_now(session, draft.id)

    def candidate(self, session: Session, *, persona_id: int | None = None) -> int:
        """A run's generated picture."""
        self.pictures += 1
        stored = self.media.put(picture(self.persona_id * 1000 + self.pictures))
        return make_candidate(session, persona_id or self.persona_id, stored.key, stored.sha256)

    def photo(self, session: Session, *, made_by_model: bool = False) -> int:
        """An imported photograph, or what a generator wrote its prompt into."""
        self.pictures += 1
        chunks = {"parameters": "a cup, masterpiece"} if made_by_model else {}
        stored = self.media.put(picture(self.persona_id * 1000 + self.pictures, chunks))
        return int(
            session.execute(
                text(
                    "INSERT INTO photos (persona_id, sha256, media_key, format, width, height, byte_count)"
                    " VALUES (:persona, :sha, :key, 'PNG', 80, 100, 1) RETURNING id"
                ),
                {"persona": self.persona_id, "sha": stored.sha256, "key": stored.key},
            ).scalar_one()
        )

    def film(self, session: Session, data: bytes) -> int:
        """An imported film."""
        facts, poster = middle_frame(io.BytesIO(data))
        sha256 = hashlib.sha256(data).hexdigest()
        values = {
            "persona": self.persona_id,
            "sha": sha256,
            "key": self.media.keep_file(io.BytesIO(data), sha256, "mp4", poster),
            "width": facts.width,
            "height": facts.height,
            "seconds": facts.seconds,
        }
        made = session.execute(
            text(
                "INSERT INTO photos (persona_id, kind, sha256, media_key, format, width, height, byte_count,"
                " duration_seconds)"
                " VALUES (:persona, 'video', :sha, :key, 'MP4', :width, :height, 1, :seconds) RETURNING id"
            ),
            values,
        )
        return int(made.scalar_one())

    # The program's parts

    def publisher(self, **options: Any) -> Publisher:
        """A publisher of this process."""
        given: dict[str, Any] = {
            "policy": PUBLISH_QUICKLY,
            "owner": self.owner,
            "pool": ThreadPool(),
            **options,
        }
        return Publisher(
            self.db.session_scope,
            self.media,
            make_client=self.client,
            host=self.host,
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

    def client(self, ig_user_id: str, token: str, login: LoginName = "instagram") -> InstagramClient:
        """A client of the sandbox's Instagram."""
        return InstagramClient(
            SecretStr(token),
            ig_user_id=ig_user_id,
            login=login_of(login),
            base_url=self.site.instagram,
            environment="sandbox",
            app_secret=self.settings.instagram.app_secret,
            transport=plain_transport(),
        )

    def token_client(self, login: LoginName) -> TokenClient:
        """A client for tokens at the sandbox."""
        instagram = self.settings.instagram
        return TokenClient(
            login_of(login),
            app_id=instagram.app_id,
            app_secret=instagram.app_secret,
            base_url=self.site.instagram,
            environment="sandbox",
            transport=plain_transport(),
        )

    def token_keeper(self) -> TokenKeeper:
        """What keeps this world's tokens alive."""
        return TokenKeeper(
            self.db.session_scope,
            make_client=self.client,
            make_token_client=self.token_client,
            keyring=self.keyring,
        )

    def stored_token(self, account_id: int | None = None) -> str:
        """The token in use, in clear."""
        with self.db.session_scope() as session:
            return account_token(session, self.keyring, account_id or self.account_id).get_secret_value()

    def host(self) -> MediaHost:
        """The sandbox's public folder."""
        return MediaHost(f"file://{self.site.media_dir}", self.site.media)

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

    def go_back_before_publishing(self, post_id: int) -> None:
        """Leave the post as a backup would hold it that was made before it went out."""
        guarded = ("scheduling_posts", "publish_replies")
        with self.db.owner_engine().begin() as connection:
            for table in guarded:
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            connection.execute(text("DELETE FROM publish_replies"))
            connection.execute(text("DELETE FROM publish_attempts"))
            connection.execute(
                text(
                    "UPDATE scheduling_posts SET state = 'scheduled', media_id = NULL, published_at = NULL,"
                    " permalink = '', creation_id = NULL, container_created_at = NULL WHERE id = :id"
                ),
                {"id": post_id},
            )
            for table in guarded:
                connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))

    def facts(self) -> dict[str, Any]:
        """What another process needs to know of this world."""
        return {
            "instagram": self.site.instagram,
            "media": self.site.media,
            "media_dir": str(self.site.media_dir),
            "app_secret": self.site.app_secret,
            "folder": str(self.folder),
            "data_dir": str(self.db.settings.data_dir),
            "database_schema": self.db.settings.database_schema,
        }

    async def settle(self, post_id: int, *, rounds: int = 12) -> PostView:
        """Rounds of a fresh publisher and reconciler, as after a restart, until the post is out."""
        for _ in range(rounds):
            await self.publish()
            if self.view(post_id).state == "published":
                break
            await self.reconcile()
        return self.view(post_id)

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
        answer = http().get(f"{self.sandbox.instagram}/_sandbox/ledger", params={"event": event})
        return [entry for entry in answer.json() if entry.get("ig_user_id") == self.ig_user_id]

    def ledger_length(self) -> int:
        """How many entries Instagram's ledger has by now."""
        return len(http().get(f"{self.sandbox.instagram}/_sandbox/ledger").json())

    def received_since(self, number: int) -> list[str]:
        """Hashes of all that Instagram received from that entry of its ledger on."""
        answer = http().get(
            f"{self.sandbox.instagram}/_sandbox/ledger", params={"event": "received", "since": number}
        )
        return [str(entry["sha256"]) for entry in answer.json()]

    def everything_stored(self) -> list[str]:
        """Each row of each table as text, as a backup would hold it; binary values in hex and as they are."""
        with self.db.session_scope() as session:
            tables = session.execute(
                text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
            ).scalars()
            return [
                f"{row[0]}"
                for table in tables.all()
                for row in session.execute(text(f'SELECT t::text FROM "{table}" t'))
            ]

    def db_session(self) -> Session:
        """A session of one's own, to read with."""
        return Session(self.db.engine)

    def dead_owner(self) -> str:
        """A process of this machine that has ended."""
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        me = this_process()
        return f"{me.host}:{me.boot_id}:{gone.pid}:{me.started}"

    def overtake(self, post_id: int) -> None:
        """Another process takes the post, as after a lease that ran out."""
        with self.db.session_scope() as session:
            fence = session.execute(
                text("SELECT fence FROM scheduling_posts WHERE id = :id"), {"id": post_id}
            ).scalar_one()
            take_over(session, post_id, fence)

    def with_gap(self, minutes: int) -> World:
        """This world with a least time between two posts of an account."""
        instagram = self.settings.instagram.model_copy(update={"min_gap_minutes": minutes})
        return replace(self, settings=self.settings.model_copy(update={"instagram": instagram}))

    def behave(self, **changes: Any) -> None:
        """Change how the sandbox's Instagram behaves."""
        steer("behaviour", changes)

    def phone_post(self, **facts: Any) -> str:
        """The account's owner publishes by phone; the item's id."""
        return str(steer("foreign_posts", {"ig_user_id": self.ig_user_id, **facts})["ids"][0])

    def plan(self, call: str, kind: str, *, service: str = "instagram", **more: Any) -> None:
        """Plan a fault at the sandbox; see `persona_tui.sandbox.faults.Fault`."""
        address = self.sandbox.addresses[service]
        fault = {"call": call, "kind": kind, **more}
        http().post(f"{address}/_sandbox/faults", json=fault).raise_for_status()

    def clear_faults(self) -> None:
        """Forget the faults of Instagram that have not struck."""
        http().delete(f"{self.site.instagram}/_sandbox/faults").raise_for_status()

    def advance_clocks(self, seconds: float) -> None:
        """Move the sandbox's clock and the database's on together."""
        clock = f"{self.site.instagram}/_sandbox/clock"
        http().post(clock, json={"advance": seconds}).raise_for_status()
        self.do(
            "UPDATE installation SET clock_offset = clock_offset + make_interval(secs => :seconds)",
            seconds=seconds,
        )


class ThreadPool:
    """The work pool's interface in a thread: a child process takes seconds to start, and needs one loop."""

    async def run(self, function: Callable[..., R], *args: object, timeout: float | None = None) -> R:
        """Run the real function here."""
        async with asyncio.timeout(timeout):
            return await asyncio.to_thread(function, *args)


_accounts = iter(range(1, 10_000))


def make_world(db: Database, folder: Path, *, name: str = "Ada", login: LoginName | None = None) -> World:
    """A persona with an account of its own at a calm sandbox; nothing is planned yet.

    Args:
        login: as in `add_persona`.
    """
    calm()
    sandbox = shared_sandbox()
    world = _world(db, Site(sandbox.instagram, sandbox.media, sandbox.media_dir, sandbox.token), folder)
    add_persona(world, name, login)
    return world


def world_of(db: Database, facts: Mapping[str, Any]) -> World:
    """The world that `World.facts` describes, in another process."""
    site = Site(facts["instagram"], facts["media"], Path(facts["media_dir"]), facts["app_secret"])
    return _world(db, site, Path(facts["folder"]))


def _world(db: Database, site: Site, folder: Path) -> World:
    settings = Settings(
        data_dir=folder / "data",
        environment="sandbox",
        instagram=InstagramSettings(
            base_url=site.instagram or "http://127.0.0.1:9",
            min_gap_minutes=0,
            app_id=APP_ID,
            app_secret=SecretStr(site.app_secret),
        ),
    )
    keyring = Keyring.open(folder / "config", environ={})
    return World(db, site, folder, settings, keyring, MediaStore(settings))


def make_rows(db: Database, folder: Path, *, name: str = "Ada") -> World:
    """A persona with an account, for tests that call nobody."""
    world = _world(db, Site("", "", folder), folder)
    world.ig_user_id, world.token = f"178414{next(_accounts):011d}", "IGAAtoken-of-the-test"
    _connect(world, name)
    return world


def add_persona(world: World, name: str, login: LoginName | None = None, **token: Any) -> None:
    """Another persona with an account; the world works for it from now on.

    Args:
        login: its own token of this login; None: the sandbox's bearer, which never dies.
        token: what it is like; see `persona_tui.sandbox.instagram.logins.NewToken`.
    """
    world.ig_user_id = f"178414{next(_accounts):011d}"
    steer("accounts", {"ig_user_id": world.ig_user_id, "username": name.lower(), "is_me": True})
    if login is None:
        world.token = world.sandbox.token
        _connect(world, name)
        return
    world.token, root = tokens_of(world.ig_user_id, login, **token)
    ends = world.now() + timedelta(days=60)
    _connect(world, name, login=login, token_expires_at=ends, **({"root": root} if root else {}))


def tokens_of(ig_user_id: str, login: LoginName, **token: Any) -> tuple[str, str | None]:
    """What its owner gets for an account: its calls' token and, under Facebook Login, the user's behind it.

    Args:
        token: as in `add_persona`.
    """
    if login == "instagram":
        return new_token(ig_user_id, login=login, kind="account", **token), None
    root = new_token(ig_user_id, login=login, kind="user", **token)
    return new_token(ig_user_id, login=login, kind="page", seconds=None), root


def _connect(world: World, name: str, **more: Any) -> None:
    account: dict[str, Any] = {"ig_user_id": world.ig_user_id, "username": name.lower(), "token": world.token}
    with world.db.session_scope() as session:
        world.persona_id = make_persona(session, name)
        account["persona_id"] = world.persona_id
        world.account_id = add_account(session, world.keyring, {**account, **more}).id
