"""Every setting: one TOML file, overridden by PERSONA_* environment variables.

Nested names join with two underscores: `[comfyui] urls` is `PERSONA_COMFYUI__URLS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as UnreadableVariable

from persona_tui.errors import SettingsError

Environment = Literal["live", "sandbox"]

APP_NAME = "persona-tui"


def _is_http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")) or not value.split("://", 1)[1].strip("/"):
        raise ValueError("must be a URL that starts with http:// or https://")
    return value.rstrip("/")


def _is_store_url(value: str) -> str:
    if not value.startswith(("file:", "s3://")):
        raise ValueError("must start with file: or s3://")
    return value


HttpUrl = Annotated[str, AfterValidator(_is_http_url)]
StoreUrl = Annotated[str, AfterValidator(_is_store_url)]


def config_home() -> Path:
    """Folder of config.toml, keys and the incarnation id."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / APP_NAME


def data_home() -> Path:
    """Default data folder: /var/lib/persona-tui as root (PostgreSQL runs there as another user)."""
    if os.geteuid() == 0 and not os.environ.get("XDG_DATA_HOME"):
        return Path("/var/lib") / APP_NAME
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / APP_NAME


class Section(BaseModel):
    """A table of config.toml; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ComfyUISettings(Section):
    """The picture generator."""

    urls: Annotated[tuple[HttpUrl, ...], NoDecode] = ("http://127.0.0.1:8188",)
    """Addresses of the ComfyUI servers; in the environment separated by commas."""
    api_key: SecretStr | None = None
    """Bearer key, for servers behind a proxy that asks for one."""
    lora_dir: Path | dict[HttpUrl, Path] | None = None
    """Folder that ComfyUI reads LoRAs from, as this machine sees it (ComfyUI has no LoRA upload); or a table
    of address = folder where each server has its own, in the environment as a JSON object."""
    depth: int = Field(default=2, ge=1, le=16)
    """Jobs kept in each server's queue at least: 1 runs, the rest wait behind it."""
    ahead: float = Field(default=3.0, ge=0, le=60)
    """Seconds of work kept in each server's queue: short jobs queue deeper than `depth`, up to 64."""
    timeout: float = Field(default=30.0, gt=0, le=600)
    """Seconds that one HTTP call may take."""
    daily_max_pictures: int | None = Field(default=None, ge=1)
    """Pictures that all runs together may make on a day of the default zone; unset, as many as they want."""
    daily_max_gpu_minutes: float | None = Field(default=None, gt=0)
    """Minutes of the cards that all runs together may use on a day of the default zone."""

    def lora_dir_of(self, url: str) -> Path | None:
        """The folder from which the server at this address reads LoRAs; None where none is set for it."""
        if isinstance(self.lora_dir, dict):
            return self.lora_dir.get(url.rstrip("/"))
        return self.lora_dir

    @property
    def lora_dirs(self) -> tuple[Path, ...]:
        """Every LoRA folder that is set."""
        if isinstance(self.lora_dir, dict):
            return tuple(dict.fromkeys(self.lora_dir.values()))
        return () if self.lora_dir is None else (self.lora_dir,)

    @field_validator("lora_dir")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {url: path.expanduser() for url, path in value.items()}
        return value.expanduser() if isinstance(value, Path) else value

    @field_validator("urls", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("urls")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("must name at least one server")
        return value


class ModelsSettings(Section):
    """Weights on this machine."""

    dir: Path | None = None
    """Folder with diffusers models and other weights."""


class ClipSettings(Section):
    """The picture embedding model."""

    checkpoint: Path | None = None
    """Weights of open_clip's ViT-B-32 (.pt or .safetensors), or a folder with an open_clip_config.json."""
    download: bool = True
    """Without a checkpoint fetch 605 MB from the model hub once, in the background; never in the sandbox."""

    @field_validator("checkpoint")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()


class FacesSettings(Section):
    """Counting faces and telling them apart."""

    detector: Literal["hog", "cnn"] = "hog"
    """How faces are found, with the extra `faces`; cnn finds more and takes ten times as long."""
    arcface: Path | None = None
    """ONNX file of an ArcFace model."""


class SecretsSettings(Section):
    """Where the keys lie that tokens are encrypted with."""

    keys: Literal["file", "keyring"] = "file"
    """`file`: systemd's credential, else a 0600 file beside config.toml; `keyring`: the desktop's own keyring
    (extra `keyring`), which no service without a desktop can read."""


class InstagramSettings(Section):
    """Instagram Graph API."""

    base_url: HttpUrl = "https://graph.instagram.com"
    """Host of the API; anything but Meta's hosts over TLS counts as a sandbox and must be on loopback."""
    api_version: str = Field(default="v26.0", pattern=r"^v\d{1,3}\.\d$")
    """Version sent with each call."""
    app_id: str | None = None
    """Id of the Meta app."""
    app_secret: SecretStr | None = None
    """Secret of the Meta app."""
    redirect_url: HttpUrl | None = None
    """Address, registered at the Meta app, that a login leads back to where Meta wants https."""
    min_gap_minutes: int = Field(default=60, ge=0, le=1440)
    """Least time between two posts of one account, in minutes."""
    max_hashtags: int = Field(default=5, ge=0, le=30)
    """Most hashtags on a post; Instagram announced a cap of 5."""


class GeminiSettings(Section):
    """Google's Gemini."""

    api_key: SecretStr | None = None
    """API key; without it the local model or the templates write."""
    base_url: HttpUrl | None = None
    """Another host, for a proxy or the sandbox."""
    model: str = "gemini-3.5-flash"
    """Model id; `persona-tui doctor` asks whether it exists."""


class LocalLLMSettings(Section):
    """A local language model with an OpenAI-compatible API (Ollama, vLLM, llama.cpp, LM Studio)."""

    base_url: HttpUrl | None = None
    """Address up to and including /v1."""
    model: str = "gemma3:27b"
    """Model name as that server lists it."""
    api_key: SecretStr | None = None
    """Key, where the server wants one."""


class VisionSettings(Section):
    """Captions, objects and taste of pictures, by a language model that sees."""

    by: Literal["local", "gemini", "both", "off"] = "local"
    """Who is shown the pictures: the local model, Gemini (they leave this machine), the local model first and
    then Gemini, or nobody."""


class MediaSettings(Section):
    """Where pictures are kept."""

    url: StoreUrl | None = None
    """The store: file:/folder or s3://bucket/prefix; default is `media` in the data folder."""
    publish_url: StoreUrl | None = None
    """Where copies for Instagram go: file:/folder or s3://bucket/prefix."""
    public_base_url: HttpUrl | None = None
    """The address under which the world sees `publish_url`."""


class LibrarySettings(Section):
    """Imported photographs."""

    kept: Literal["copy", "reference"] = "copy"
    """What an import keeps: a copy of each original, or only where it lies; then it must stay there."""
    restore_days: int = Field(default=30, ge=0, le=3650)
    """Days for which a deleted photo can come back; then its files are removed."""


class NotifySettings(Section):
    """What reaches the operator outside the app."""

    dead_man_url: HttpUrl | None = None
    """Pinged by the leader after each good tick; a dead host can't report itself."""
    command: str | None = None
    """Program that gets one line of text on stdin for each alarm."""


class TerminalSettings(Section):
    """The terminal."""

    protocol: Literal["auto", "kitty", "sixel", "iterm2", "halfblock"] = "auto"
    """How pictures are drawn; auto asks the terminal."""
    theme: Literal["dark", "light"] = "dark"
    """Colours."""
    animations: bool | None = None
    """Moving and blinking things; default is off over SSH."""


class BackupSettings(Section):
    """Backups made before an upgrade."""

    keep: int = Field(default=5, ge=1, le=100)
    """Automatic backups kept."""


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
