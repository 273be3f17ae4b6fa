"""The tables of config.toml: what each part of the program lets be set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import NoDecode


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
    """ONNX file of an ArcFace model; most that are published may not be used commercially, which is asked."""
    dino: Path | None = None
    """Folder of a DINOv2 model (config.json, model.safetensors) that tells drawn characters apart; unset, the
    hub's cache is looked into. Without it CLIP does so, weakly."""

    @field_validator("arcface", "dino")
    @classmethod
    def _expand(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser()


class TrainingSettings(Section):
    """Training LoRAs."""

    cards: str = ""
    """Cards that train together unless a plan names others, such as "0,1"; empty: the first."""


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
    second_publish_url: StoreUrl | None = None
    """Another place for them, used while the first one fails."""
    second_public_base_url: HttpUrl | None = None
    """The address under which the world sees `second_publish_url`."""


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
