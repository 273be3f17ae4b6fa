"""The address of an external database: read, completed, and shown without its password."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from persona_tui.errors import SettingsError

_HINT = "It reads postgresql://user:password@host:5432/name; : @ / % in a password are percent-encoded."


def url_parameters(url: str) -> dict[str, Any]:
    """libpq's parameters of a URL.

    Raises:
        SettingsError: it can't be read; nothing of it is repeated.
    """
    try:
        parameters = dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError:
        raise SettingsError("PERSONA_DATABASE_URL can't be read.", hint=_HINT) from None
    if "@" in str(parameters.get("host", "")):  # the rest of a password with an unencoded @
        raise SettingsError("PERSONA_DATABASE_URL has a host name with @ in it.", hint=_HINT)
    return parameters


def external_conninfo(url: str, dbname: str | None = None) -> str:
    """How libpq connects to an external database; the URL's own choices win over our defaults.

    Raises:
        SettingsError: as `url_parameters`.
    """
    defaults = {"connect_timeout": 5, "application_name": "persona-tui"}
    named = {"dbname": dbname} if dbname else {}
    return make_conninfo(**{**defaults, **url_parameters(url), **named})


def with_schema(conninfo: str, schema: str) -> str:
    """Add what every connection of ours has: its schema before public, UTC, READ COMMITTED."""
    ours = f"-csearch_path={schema},public -ctimezone=UTC -cdefault_transaction_isolation=read\\ committed"
    theirs = conninfo_to_dict(conninfo).get("options")
    return make_conninfo(conninfo, options=f"{theirs} {ours}" if theirs else ours)


def masked(conninfo: str) -> str:
    """A connection as a URL that may be shown: no password, and of the parameters only a socket's folder."""
    parameters = conninfo_to_dict(conninfo)
    user = quote(str(parameters.get("user", "")), safe="")
    secret = ":***" if parameters.get("password") else ""
    login = f"{user}{secret}@" if user else ""
    host, port = str(parameters.get("host", "")), parameters.get("port")
    name = quote(str(parameters.get("dbname", "")), safe="")
    if host.startswith("/"):
        return f"postgresql://{login}/{name}?host={quote(host)}"
    place = f"[{host}]" if ":" in host else host
    return f"postgresql://{login}{place}{f':{port}' if port else ''}/{name}"
