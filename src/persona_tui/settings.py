"""Every setting: one TOML file, overridden by PERSONA_* environment variables.

Nested names join with two underscores: `[comfyui] urls` is `PERSONA_COMFYUI__URLS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariable

from persona_tui.errors import SettingsError
from persona_tui.setting_sections import (
    BackupSettings,
    ClipSettings,
    ComfyUISettings,
    FacesSettings,
    GeminiSettings,
    InstagramSettings,
    LibrarySettings,
    LocalLLMSettings,
    MediaSettings,
    ModelsSettings,
    NotifySettings,
    SecretsSettings,
    TerminalSettings,
    TrainingSettings,
    VisionSettings,
)

Environment = Literal["live", "sandbox"]

APP_NAME = "persona-tui"


def config_home() -> Path:
    """Folder of config.toml, keys and the incarnation id."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / APP_NAME


def data_home() -> Path:
    """Default data folder: /var/lib/persona-tui as root (PostgreSQL runs there as another user)."""
    if os.geteuid() == 0 and not os.environ.get("XDG_DATA_HOME"):
        return Path("/var/lib") / APP_NAME
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / APP_NAME


class Settings(BaseSettings):
    """All settings of one program start."""

    model_config = SettingsConfigDict(
        env_prefix="PERSONA_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        env_ignore_empty=True,
    )

    data_dir: Path = Field(default_factory=data_home)
    """Folder of everything the program keeps: database, media, logs, backups."""
    config_dir: Path = Field(default_factory=config_home)
    """Folder of keys and of the incarnation id; never inside the data folder."""
    database_url: SecretStr | None = None
    """postgresql://user:password@host/name (PostgreSQL 15 or newer with pgvector); default: embedded."""
    database_schema: str = Field(default="public", pattern=r"^[a-z_][a-z0-9_]{0,62}$")
    """Schema of our tables in that database."""
    database_memory_mb: int | None = Field(default=None, ge=16, le=65_536)
    """Megabytes in which the embedded database keeps its pages, from its next start on; unset, an eighth of
    the machine's memory, 256 at most."""
    environment: Environment = "live"
    """`sandbox` only in the demo, rehearsal and tests: nothing of it ever reaches a real account."""
    default_zone: str = "UTC"
    """IANA time zone for new personas."""
    keys: dict[str, str] = Field(default_factory=dict)
    """Rebound keys: action name = key."""
    comfyui: ComfyUISettings = ComfyUISettings()
    """Picture generation."""
    models: ModelsSettings = ModelsSettings()
    """Weights on this machine."""
    clip: ClipSettings = ClipSettings()
    """Picture embeddings."""
    faces: FacesSettings = FacesSettings()
    """Face embeddings."""
    training: TrainingSettings = TrainingSettings()
    """Training LoRAs."""
    instagram: InstagramSettings = InstagramSettings()
    """Publishing."""
    secrets: SecretsSettings = SecretsSettings()
    """Keys of tokens."""
    gemini: GeminiSettings = GeminiSettings()
    """Words by Gemini."""
    local_llm: LocalLLMSettings = LocalLLMSettings()
    """Words by a local model."""
    vision: VisionSettings = VisionSettings()
    """Pictures described."""
    media: MediaSettings = MediaSettings()
    """Pictures."""
    library: LibrarySettings = LibrarySettings()
    """Photographs."""
    notify: NotifySettings = NotifySettings()
    """Alarms."""
    terminal: TerminalSettings = TerminalSettings()
    """Screen."""
    backup: BackupSettings = BackupSettings()
    """Backups."""

    @field_validator("data_dir", "config_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must start with postgresql://")
        return value

    @field_validator("default_zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        from zoneinfo import available_timezones

        if value not in available_timezones():
            raise ValueError("must be an IANA time zone such as Europe/Berlin")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over what `load_settings` read from the file."""
        return env_settings, init_settings

    @property
    def log_file(self) -> Path:
        """The rotating JSON log."""
        return self.data_dir / "logs" / "persona-tui.log"

    @property
    def media_dir(self) -> Path:
        """The local media folder, also when the store is remote (thumbnails live here)."""
        return self.data_dir / "media"


def config_file() -> Path:
    """The TOML file that is read, whether or not it exists."""
    return Path(os.environ.get("PERSONA_CONFIG_FILE") or config_home() / "config.toml")


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    import tomllib

    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError(
            f"{path} can't be read: {problem}.", hint="Mend or move the file, then try again."
        ) from None


def _origin(location: tuple[int | str, ...], path: Path, environ: Mapping[str, str]) -> str:
    names = [str(part) for part in location if isinstance(part, str)]
    variable = "PERSONA_" + "__".join(names).upper()
    for length in range(len(names), 0, -1):
        candidate = "PERSONA_" + "__".join(names[:length]).upper()
        if candidate in environ:
            return candidate
    return f"{'.'.join(names)} in {path}" if path.exists() else variable


def load_settings(**overrides: Any) -> Settings:
    """Read config.toml and the environment.

    Args:
        overrides: values that count as if the file held them (the environment still wins).

    Raises:
        SettingsError: names the field, the file or variable it came from, and what is allowed.
    """
    path = config_file()
    values = {**_read_toml(path), **overrides}
    try:
        return Settings(**values)
    except ValidationError as problem:
        first = problem.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            reason = "there is no such setting"
        raise SettingsError(
            f"{_origin(first['loc'], path, os.environ)}: {field}: {reason}.",
            hint="`persona-tui settings show` lists every setting with what it may hold.",
        ) from None
    except UnreadableVariable as problem:
        named = re.search(r'field "(\w+)"', str(problem))
        variable = f"PERSONA_{named[1].upper()}" if named else "A PERSONA_ variable"
        raise SettingsError(
            f"{variable} is no JSON object.", hint="Set its parts one by one: PERSONA_SECTION__NAME=value."
        ) from None


__all__ = [
    "Settings",
    "config_file",
    "config_home",
    "data_home",
    "load_settings",
]
