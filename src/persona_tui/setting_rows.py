"""The effective settings as rows: name, value with secrets masked, where it came from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pydantic import BaseModel

MASK = "••••••••"
SECRET_PATHS = frozenset({"notify.dead_man_url"})
"""Settings whose address holds its secret in the path."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting.

    Attributes:
        name: with dots, as in config.toml.
        value: as it takes effect; secrets masked.
        origin: `default`, `set`, or the environment variable that set it.
        about: what the setting is for.
    """

    name: str
    value: str
    origin: str
    about: str


def setting_rows(
    settings: BaseModel, environ: Mapping[str, str] = os.environ, *, prefix: str = ""
) -> Iterator[SettingRow]:
    """Every setting, nested ones with dotted names."""
    from pydantic import BaseModel

    for name, field in type(settings).model_fields.items():
        value, dotted = getattr(settings, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            yield from setting_rows(value, environ, prefix=f"{dotted}.")
            continue
        variable = "PERSONA_" + dotted.replace(".", "__").upper()
        written = "set" if name in settings.model_fields_set else "default"
        origin = variable if variable in environ else written
        shown = masked(value, secret_path=dotted in SECRET_PATHS)
        yield SettingRow(dotted, shown, origin, field.description or "")


def masked_values(settings: BaseModel, *, prefix: str = "") -> dict[str, Any]:
    """The settings as one nested document; numbers and truth stay what they are, secrets are masked."""
    from pydantic import BaseModel

    values: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value, dotted = getattr(settings, name), f"{prefix}{name}"
        if isinstance(value, BaseModel):
            values[name] = masked_values(value, prefix=f"{dotted}.")
        elif value is None or isinstance(value, bool | int | float):
            values[name] = value
        elif isinstance(value, tuple | list):
            values[name] = [masked(item) for item in value]
        elif isinstance(value, Mapping):
            values[name] = {masked(key): masked(item) for key, item in value.items()}
        else:
            values[name] = masked(value, secret_path=dotted in SECRET_PATHS)
    return values


def masked(value: Any, *, secret_path: bool = False) -> str:
    """A value that may be shown: no secret, no user, password or query of an address.

    Args:
        value: any setting's value.
        secret_path: the path of this address is a secret too.
    """
    from pydantic import SecretStr

    if value is None:
        return "not set"
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, Mapping):
        return ", ".join(f"{masked(key)} = {masked(item)}" for key, item in value.items()) or "none"
    if isinstance(value, tuple | list):
        return ", ".join(masked(item) for item in value) or "none"
    if isinstance(value, str) and "://" in value:
        return _masked_url(value, secret_path)
    return str(value) if isinstance(value, Path) else f"{value}"


def _masked_url(url: str, secret_path: bool) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    hidden = f"{MASK}@" if "@" in parts.netloc else ""
    query = f"?{MASK}" if parts.query else ""
    path = f"/{MASK}" if secret_path else f"{parts.path}{query}"
    return f"{parts.scheme}://{hidden}{host}{path}"
