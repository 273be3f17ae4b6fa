"""What is well and what is not: one check per thing the program stands on. Never starts a server (R8)."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from sqlalchemy import text

from persona_tui.database.engine import Database
from persona_tui.database.migrate import schema_state
from persona_tui.errors import PersonaError
from persona_tui.gpu import faces
from persona_tui.gpu.nvml import Card, read_cards
from persona_tui.services.leadership import list_processes
from persona_tui.services.library import embeddings, vision
from persona_tui.services.publishing.account_check import alarms
from persona_tui.services.publishing.accounts import list_accounts
from persona_tui.services.publishing.breakers import open_breakers
from persona_tui.services.training.scorers import judges
from persona_tui.settings import Settings, config_file

if TYPE_CHECKING:
    from persona_tui.terminal.tmux import Tmux

State = Literal["ok", "warn", "fail", "off"]

LOW_DISK_BYTES = 5 * 1024**3
LATE_POST_MINUTES = 10


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        state: `off` says that it is not set up, which is no fault.
        hint: what to do, empty when all is well.
    """

    name: str
    state: State
    sentence: str
    hint: str = ""


class _Checkable(Protocol):
    async def check(self) -> str: ...


def run_checks(
    settings: Settings,
    database: Database | None,
    *,
    database_problem: PersonaError | None = None,
    cards: Callable[[], Sequence[Card]] = read_cards,
    environ: Mapping[str, str] = os.environ,
) -> list[Check]:
    """All checks, in the order in which a person would mend things. Blocks on the network; use a thread.

    Args:
        database: an open one, None when it could not be opened.
        database_problem: why it could not.
        cards: reads the NVIDIA cards.
    """
    checks = [_folder(settings), _disk(settings), _config(), _database(database, database_problem)]
    if database is not None:
        checks += _inside(database)
    checks += asyncio.run(_services(settings))
    checks += [_clip(settings), _faces(settings), _likeness(settings), _vision(settings)]
    checks += [*_media_hosts(settings), _gpu(cards), _terminal(environ), *_pictures(environ)]
    return checks


def _folder(settings: Settings) -> Check:
    folder = settings.data_dir
    if not folder.exists():
        return Check("folder", "warn", f"{folder} does not exist yet.", "It is made at the first start.")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check("folder", "fail", f"{folder} can't be written.", "Give this user the folder.")
    return Check("folder", "ok", f"{folder}")


def _disk(settings: Settings) -> Check:
    place = settings.data_dir
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    words = f"{free / 1024**3:.1f} GiB free"
    if free < LOW_DISK_BYTES:
        return Check("disk", "warn", f"{words} at {place}.", "Make room: pictures and backups need it.")
    return Check("disk", "ok", words)


def _config() -> Check:
    path = config_file()
    if not path.exists():
        return Check("config", "off", f"{path} does not exist: environment and defaults count.")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return Check("config", "warn", f"{path} can be read by others.", f"chmod 600 {path}")
    return Check("config", "ok", f"{path}")


def _database(database: Database | None, problem: PersonaError | None) -> Check:
    if database is None:
        sentence = problem.message if problem else "It is not running."
        return Check("database", "fail", sentence, problem.hint if problem else "Start `persona-tui`.")
    with database.session_scope() as session:
        version = session.execute(text("SHOW server_version")).scalar_one()
    kind = "embedded" if database.is_embedded else "external"
    return Check("database", "ok", f"PostgreSQL {version}, {kind}")


def _inside(database: Database) -> list[Check]:
    state = schema_state(database)
    if state != "current":
        hint = "Start `persona-tui` or run `persona-tui db upgrade`."
        return [Check("schema", "fail", f"The schema is {state}.", hint)]
    return [Check("schema", "ok", "current"), _leader(database), _publishing(database), _accounts(database)]


def _leader(database: Database) -> Check:
    with database.session_scope() as session:
        leader = next((beat for beat in list_processes(session) if beat.leader), None)
    if leader is None:
        hint = "Run `persona-tui scheduler` so that posts go out."
        return Check("leader", "warn", "No process leads: nothing is published.", hint)
    if leader.age_seconds > 20:
        hint = "A standby takes over by itself; else restart it."
        return Check("leader", "fail", f"The leader was silent for {leader.age_seconds:.0f} s.", hint)
    return Check("leader", "ok", f"{leader.kind} {leader.pid} on {leader.host}")


def _publishing(database: Database) -> Check:
    with database.session_scope() as session:
        held, reason, paused = session.execute(
            text("SELECT publishing_held, held_reason, publishing_paused FROM installation")
        ).one()
        resting = open_breakers(session)
        late = session.execute(
            text(
                "SELECT count(*) FROM scheduling_posts WHERE state = 'scheduled'"
                " AND scheduled_at < persona_now() - make_interval(mins => :late)"
            ),
            {"late": LATE_POST_MINUTES},
        ).scalar_one()
        stuck = session.execute(
            text(
                "SELECT count(*) FROM scheduling_posts WHERE state IN ('needs_human', 'fix_needed', 'missed')"
            )
        ).scalar_one()
    if held:
        return Check(
            "publishing", "fail", f"Held: {reason}", "Confirm with `persona-tui db confirm-restore`."
        )
    if paused:
        hint = "`persona-tui post resume-all` lets posts go out again."
        return Check("publishing", "warn", "You have paused all publishing.", hint)
    if resting:
        return Check(
            "publishing", "warn", " ".join(one.sentence for one in resting), "It is tried again by itself."
        )
    if late:
        return Check("publishing", "fail", f"{late} posts are overdue.", "Start the app or the scheduler.")
    if stuck:
        return Check("publishing", "warn", f"{stuck} posts wait for you.", "Open Posts (F8).")
    return Check("publishing", "ok", "nothing overdue")


def _accounts(database: Database) -> Check:
    with database.session_scope() as session:
        count = len(list_accounts(session))
        found = alarms(session)
    if found:
        hint = "Open Accounts (Ctrl+Y), or `persona-tui account check`."
        return Check("accounts", "fail", " ".join(found), hint)
    if not count:
        return Check("accounts", "off", "No Instagram account is connected.")
    return Check("accounts", "ok", f"{count} connected, no token ends soon")


async def _services(settings: Settings) -> list[Check]:
    checks = [*(_comfyui(settings, url) for url in settings.comfyui.urls)]
    return list(await asyncio.gather(*checks, _gemini(settings), _local_llm(settings)))


async def _comfyui(settings: Settings, url: str) -> Check:
    from persona_tui.clients.comfyui import ComfyUIClient

    key = settings.comfyui.api_key
    client = ComfyUIClient(url, key.get_secret_value() if key else None, timeout=5.0)
    try:
        stats = await client.system_stats()
    except PersonaError as problem:
        return Check("comfyui", "warn", problem.message, "Start ComfyUI or set PERSONA_COMFYUI__URLS.")
    finally:
        await client.aclose()
    return Check("comfyui", "ok", f"{url}: version {stats.version}")


async def _gemini(settings: Settings) -> Check:
    from persona_tui.clients.gemini import GeminiClient

    gemini = settings.gemini
    if gemini.api_key is None:
        return Check("gemini", "off", "No key: ideas and captions come from elsewhere.", "")
    return await _asked("gemini", GeminiClient(gemini.api_key, model=gemini.model, base_url=gemini.base_url))


async def _local_llm(settings: Settings) -> Check:
    from persona_tui.clients.openai_compatible import OpenAICompatibleClient

    local = settings.local_llm
    if local.base_url is None:
        return Check("local model", "off", "No address: not used.", "")
    client = OpenAICompatibleClient(local.base_url, model=local.model, api_key=local.api_key, timeout=5.0)
    return await _asked("local model", client)


async def _asked(name: str, client: _Checkable) -> Check:
    try:
        return Check(name, "ok", await client.check())
    except PersonaError as problem:
        return Check(name, "fail", problem.message, problem.hint)


def _clip(settings: Settings) -> Check:
    try:
        model = embeddings.current_model(settings)
    except PersonaError as problem:
        return Check("clip", "fail", problem.message, problem.hint)
    if model.speaks:
        return Check("clip", "ok", f"{model.name}, weights {model.hash[:12]} at {model.weights.path}")
    return Check("clip", "fail" if settings.clip.checkpoint else "off", model.notice, model.hint)


def _faces(settings: Settings) -> Check:
    if not faces.is_installed():
        hint = "pip install 'persona-tui[faces]'"
        return Check("faces", "off", "Faces are not counted: the extra is not installed.", hint)
    return Check("faces", "ok", f"{faces.MODEL}, found by {settings.faces.detector}")


def _likeness(settings: Settings) -> Check:
    """What tells people and drawn characters apart when a training is evaluated."""
    found = judges(settings)

    def named(by: str) -> str:
        return f"{by}{' (weak)' if by in found.weak else ''}" if by else "nothing"

    words = f"people by {named(found.people)}; drawn characters by {named(found.drawn)}"
    if found.problem:
        return Check("likeness", "fail", found.problem, found.hint)
    if not faces.is_installed():
        return Check(
            "likeness", "warn", words, "pip install 'persona-tui[faces]' tells people by their faces."
        )
    if found.drawn in found.weak or not found.drawn:
        hint = (
            "For drawn characters put a DINOv2 (config.json, model.safetensors) in a folder and name it in "
            "PERSONA_FACES__DINO."
        )
        return Check("likeness", "ok", words, hint)
    return Check("likeness", "ok", words)


def _vision(settings: Settings) -> Check:
    lack = vision.lack_of(settings)
    if lack:
        return Check("vision", "off", f"Pictures are not described. {lack}")
    leaving = settings.vision.by != "local"
    where = "pictures leave this machine" if leaving else "pictures stay with the local server"
    return Check("vision", "ok", f"{' or '.join(vision.models_of(settings))}; {where}")


def _media_hosts(settings: Settings) -> list[Check]:
    media = settings.media
    if media.publish_url is None:
        hint = "Set PERSONA_MEDIA__PUBLISH_URL and PERSONA_MEDIA__PUBLIC_BASE_URL before the first post."
        return [Check("media host", "off", "No public place for pictures is set.", hint)]
    first = _media_host("media host", media.publish_url, media.public_base_url, "PUBLIC_BASE_URL")
    if media.second_publish_url is None:
        hint = "Set PERSONA_MEDIA__SECOND_PUBLISH_URL: it is used while the first one fails."
        return [first, Check("second media host", "off", "None: posts wait while the first fails.", hint)]
    if media.second_publish_url == media.publish_url:
        hint = "Set PERSONA_MEDIA__SECOND_PUBLISH_URL to another one."
        return [first, Check("second media host", "warn", "It is the same place as the first.", hint)]
    second = (media.second_publish_url, media.second_public_base_url)
    return [first, _media_host("second media host", *second, "SECOND_PUBLIC_BASE_URL")]


def _media_host(name: str, url: str, base: str | None, variable: str) -> Check:
    """Args:
    variable: what sets `base`.
    """
    if base is None and not url.startswith("s3:"):
        hint = f"Set PERSONA_MEDIA__{variable} to the address of that folder."
        return Check(name, "fail", "The public folder has no address.", hint)
    return Check(name, "ok", base or url)


def _gpu(cards: Callable[[], Sequence[Card]]) -> Check:
    found = cards()
    if not found:
        return Check("gpu", "off", "No NVIDIA card is seen: pictures come from ComfyUI elsewhere.")
    words = ", ".join(f"{card.name} {card.memory_total / 1024**3:.0f} GiB" for card in found)
    return Check("gpu", "ok", words)


def _terminal(environ: Mapping[str, str]) -> Check:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return Check("terminal", "off", "Not a terminal: the app can't be shown here, commands work.")
    columns, rows = os.get_terminal_size()
    name = environ.get("TERM", "unknown")
    if columns < 80 or rows < 24:
        return Check("terminal", "warn", f"{name}, {columns}×{rows}.", "Make it at least 80×24.")
    return Check("terminal", "ok", f"{name}, {columns}×{rows}")


def _pictures(environ: Mapping[str, str]) -> list[Check]:
    """What a multiplexer makes of pictures; nothing where there is none."""
    from persona_tui.terminal import tmux

    if "TMUX" in environ:
        return [_through_tmux(tmux.ask(environ), tmux.PASSTHROUGH_LINE)]
    name = "zellij" if "ZELLIJ" in environ else "screen" if "STY" in environ else None
    if name is None:
        return []
    hint = "For sharp pictures leave it, or use tmux in kitty or Ghostty."
    return [Check("pictures", "off", f"In {name} pictures are half blocks.", hint)]


def _through_tmux(state: Tmux | None, line: str) -> Check:
    if state is None:
        return Check("pictures", "off", "tmux does not answer: pictures are half blocks.")
    if state.placeholders and not state.passthrough:
        hint = f"Write `{line}` into ~/.tmux.conf and run `tmux source-file ~/.tmux.conf`; then start anew."
        return Check("pictures", "warn", f"tmux lets no picture through to {state.outside}.", hint)
    if state.placeholders:
        return Check("pictures", "ok", f"tmux lets pictures through to {state.outside}")
    if state.sixel:
        return Check("pictures", "ok", f"{state.outside} draws sixel, where tmux was built with it")
    name = state.outside or "The terminal outside tmux"
    hint = "For sharp pictures use kitty (0.28 or later) or Ghostty outside tmux."
    return Check("pictures", "off", f"{name} shows no pictures in tmux: they are half blocks.", hint)
