"""What the services need from outside, opened once per process: database, media, writers, clients.

A command opens this alone; the app and the scheduler open it as part of a `runtime.Core`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sqlalchemy import text

from persona_tui.database import migrate
from persona_tui.database.engine import Database, open_database
from persona_tui.errors import NotAllowedNow, SettingsError
from persona_tui.logs import configure_logging, register_secret
from persona_tui.services.media import MediaStore
from persona_tui.settings import Settings

if TYPE_CHECKING:
    from persona_tui.clients.comfyui import ComfyUIClient
    from persona_tui.clients.instagram import InstagramClient
    from persona_tui.clients.instagram_login import LoginName
    from persona_tui.clients.instagram_tokens import TokenClient
    from persona_tui.clients.media_host import MediaHost
    from persona_tui.database.link import DatabaseLink
    from persona_tui.services.generation.bench import Endpoint
    from persona_tui.services.generation.lora_desk import LoraDesk
    from persona_tui.services.generation.lora_servers import LoraServers
    from persona_tui.services.loras.shelf import Shelf
    from persona_tui.services.secrets import Keyring
    from persona_tui.services.training.start import Starter
    from persona_tui.services.writers import Writer

Say = Callable[[str], None]


def _silent(_sentence: str) -> None:
    """Say nothing."""


class Resources:
    """One process's hold on the outside."""

    def __init__(self, settings: Settings, database: Database) -> None:
        """Use `open`."""
        self.settings = settings
        self.database = database
        self.media = MediaStore(settings)

    @classmethod
    def open(cls, settings: Settings, *, say: Say = _silent, link: DatabaseLink | None = None) -> Resources:
        """Open the database (starting the embedded one), bring its schema up to date, check who we are.

        Args:
            say: gets a sentence before each step that may take seconds.
            link: the database, reached already; it passes into our hands, also when this fails.

        Raises:
            PersonaError: folder, database, schema or settings are in the way.
        """
        with ExitStack() as undo:
            if link is not None:
                undo.callback(link.dispose)
            prepare_process(settings)
            if link is None:
                say("Opening the database…")
            database = open_database(settings, link=link)
            undo.callback(database.dispose)
            if migrate.schema_state(database) != "current":
                say("Bringing the database up to date…")
                migrate.upgrade(database, backup_dir=settings.data_dir / "backups", keep=settings.backup.keep)
            _claim_environment(database, settings)
            opened = cls(settings, database)
            undo.pop_all()
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database; the last process stops the embedded one."""
        self.database.dispose()

    def now(self) -> datetime:
        """The database's clock, which in the sandbox may run ahead (R7)."""
        with self.database.session_scope() as session:
            now: datetime = session.execute(text("SELECT persona_now()")).scalar_one()
        return now.astimezone(UTC)

    @cached_property
    def keyring(self) -> Keyring:
        """The keys that tokens at rest are encrypted with."""
        from persona_tui.services.desktop_keys import DesktopKeys
        from persona_tui.services.secrets import Keyring

        desktop = DesktopKeys() if self.settings.secrets.keys == "keyring" else None
        return Keyring.open(self.settings.config_dir, desktop=desktop)

    @cached_property
    def writers(self) -> Sequence[Writer]:
        """Language models in the order in which they are asked."""
        return tuple(writer for writer in (self._gemini, self._local_model) if writer is not None)

    @cached_property
    def seers(self) -> Sequence[Writer]:
        """Language models that are shown pictures of the library, in the order in which they are asked."""
        by = self.settings.vision.by
        local = self._local_model if by in {"local", "both"} else None
        gemini = self._gemini if by in {"gemini", "both"} else None
        return tuple(seer for seer in (local, gemini) if seer is not None)

    @cached_property
    def _gemini(self) -> Writer | None:
        from persona_tui.clients.gemini import GeminiClient
        from persona_tui.services.writers import Writer

        gemini = self.settings.gemini
        if gemini.api_key is None:
            return None
        return Writer(
            gemini.model, GeminiClient(gemini.api_key, model=gemini.model, base_url=gemini.base_url)
        )

    @cached_property
    def _local_model(self) -> Writer | None:
        from persona_tui.clients.openai_compatible import OpenAICompatibleClient
        from persona_tui.services.writers import Writer

        local = self.settings.local_llm
        if local.base_url is None:
            return None
        client = OpenAICompatibleClient(local.base_url, model=local.model, api_key=local.api_key)
        return Writer(local.model, client)

    def comfyui_clients(self) -> dict[str, ComfyUIClient]:
        """A client per ComfyUI server, by address."""
        return {url: self.comfyui_client(url) for url in self.settings.comfyui.urls}

    def comfyui_client(self, url: str) -> ComfyUIClient:
        """A client for a ComfyUI server; one that is not of the settings is not shown their key."""
        from persona_tui.clients.comfyui import ComfyUIClient

        comfyui = self.settings.comfyui
        ours = url.rstrip("/") in {known.rstrip("/") for known in comfyui.urls}
        return ComfyUIClient(url, comfyui.api_key if ours else None, timeout=comfyui.timeout)

    @cached_property
    def lora_shelf(self) -> Shelf:
        """Our own folder of LoRA files."""
        from persona_tui.services.loras.shelf import Shelf

        return Shelf(self.settings)

    def lora_desk(self, url: str, client: ComfyUIClient) -> LoraDesk:
        """What brings LoRAs to a server."""
        from persona_tui.services.generation.lora_desk import LoraDesk

        return LoraDesk.over(client, self.lora_shelf, self.settings.comfyui.lora_dir_of(url))

    def endpoints(self, only: str | None = None) -> list[Endpoint]:
        """The ComfyUI servers with their LoRAs' desks.

        Args:
            only: address of the one that is wanted, which need not be of the settings; None: all of those.
        """
        from persona_tui.services.generation.bench import Endpoint

        clients = self.comfyui_clients() if only is None else {only: self.comfyui_client(only)}
        return [Endpoint(url, client, self.lora_desk(url, client)) for url, client in clients.items()]

    def lora_servers(self, only: str | None = None) -> LoraServers:
        """What pictures LoRAs outside of runs, at any server or at one; to be closed.

        Args:
            only: address of that one.
        """
        from persona_tui.services.generation.lora_servers import LoraServers

        url = None if only is None else only.rstrip("/")
        return LoraServers(self.database.session_scope, self.endpoints(url))

    @property
    def trainings(self) -> Starter:
        """What trainings are started and watched with."""
        from persona_tui.services.training.start import Starter

        return Starter(self.database.session_scope, self.settings, self.comfyui_clients)

    def media_host(self) -> MediaHost:
        """Where copies for Instagram go.

        Raises:
            NotAllowedNow: no such place is set.
        """
        from persona_tui.clients.media_host import MediaHost

        media = self.settings.media
        if media.publish_url is None:
            raise NotAllowedNow(
                "There is no public place for pictures yet, and Instagram fetches them from one.",
                title="No media host",
                hint="Set PERSONA_MEDIA__PUBLISH_URL and PERSONA_MEDIA__PUBLIC_BASE_URL.",
            )
        return MediaHost(media.publish_url, media.public_base_url)

    @property
    def second_media_host(self) -> Callable[[], MediaHost] | None:
        """What opens the place that is used while the first one fails; None where none is set."""
        from persona_tui.clients.media_host import MediaHost

        media = self.settings.media
        url, base = media.second_publish_url, media.second_public_base_url
        return None if url is None else lambda: MediaHost(url, base)

    def instagram_client(
        self, ig_user_id: str, token: str, login: LoginName = "instagram"
    ) -> InstagramClient:
        """A client for one account, under the login that its token came from."""
        from pydantic import SecretStr

        from persona_tui.clients.instagram import InstagramClient
        from persona_tui.clients.instagram_login import login_of

        instagram = self.settings.instagram
        return InstagramClient(
            SecretStr(token),
            ig_user_id=ig_user_id,
            login=login_of(login),
            base_url=None if login == "facebook" and self._is_live else instagram.base_url,
            api_version=instagram.api_version,
            environment=self.settings.environment,
            app_secret=instagram.app_secret,
        )

    def token_client(self, login: LoginName) -> TokenClient:
        """A client for the tokens of a login."""
        from persona_tui.clients.instagram_login import login_of
        from persona_tui.clients.instagram_tokens import TokenClient

        instagram = self.settings.instagram
        return TokenClient(
            login_of(login),
            app_id=instagram.app_id,
            app_secret=instagram.app_secret,
            base_url=None if self._is_live else instagram.base_url,
            api_version=instagram.api_version,
            environment=self.settings.environment,
        )

    @property
    def _is_live(self) -> bool:
        return self.settings.environment == "live"


def prepare_process(settings: Settings) -> None:
    """Logs to the file, secrets known to the redactor."""
    for secret in _secrets(settings):
        register_secret(secret)
    configure_logging(settings.log_file)


def _secrets(settings: Settings) -> list[str]:
    held = (
        settings.comfyui.api_key,
        settings.instagram.app_secret,
        settings.gemini.api_key,
        settings.local_llm.api_key,
        settings.database_url,
    )
    return [secret.get_secret_value() for secret in held if secret is not None]


def _claim_environment(database: Database, settings: Settings) -> None:
    """A fresh database takes the settings' environment; after that they must agree (R20)."""
    with database.session_scope() as session:
        held = session.execute(text("SELECT environment FROM installation")).scalar_one()
        if held == settings.environment:
            return
        used = session.execute(
            text("SELECT EXISTS (SELECT FROM instagram_accounts) OR EXISTS (SELECT FROM scheduling_posts)")
        ).scalar_one()
        if used:
            raise SettingsError(
                f"This database is {held}, but the settings say {settings.environment}.",
                hint="Use another data folder or database: live and sandbox never mix.",
            )
        session.execute(
            text("UPDATE installation SET environment = :wanted, clock_offset = interval '0'"),
            {"wanted": settings.environment},
        )
