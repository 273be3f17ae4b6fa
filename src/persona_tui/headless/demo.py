"""The demo's world: a sample persona, the sandbox, and folders of their own."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from persona_tui.errors import NotAllowedNow, PersonaError, UnknownName
from persona_tui.resources import Resources, Say
from persona_tui.services.generation.pipelines import ensure_examples
from persona_tui.services.planning.personas import PersonaInput, create_persona, find_persona
from persona_tui.services.planning.pillars import create_pillar
from persona_tui.services.publishing.accounts import account_of_persona, add_account, replace_token
from persona_tui.setting_sections import (
    ComfyUISettings,
    GeminiSettings,
    InstagramSettings,
    MediaSettings,
    VisionSettings,
)
from persona_tui.settings import Settings, config_home, data_home, load_settings
from persona_tui.stand_ins import StandIns, running_stand_ins

PERSONA = "Mira Vale"
SCHEMA = "persona_demo"
IG_USER_ID = "17841400000000001"
APP_ID = "2000000000000001"
"""The Meta app of the sandbox, whose secret is the sandbox's token: logins can be tried in the browser."""

SAMPLE = PersonaInput(
    name=PERSONA,
    description="A fictional ceramicist with a small studio by the harbour. She makes bowls for daily use.",
    age=34,
    zone="Europe/Lisbon",
    posts_per_week=4,
    trigger_word="miravale",
    disclosure="Mira is an AI persona.",
)
PILLARS: tuple[dict[str, Any], ...] = (
    {
        "name": "At the wheel",
        "weight": 40,
        "priority": 5,
        "description": "Hands, clay and the wheel; the work itself.",
        "guidelines": {"tone": "calm, concrete", "topics": ["throwing", "trimming", "glaze tests"]},
    },
    {
        "name": "Studio mornings",
        "weight": 30,
        "priority": 4,
        "description": "First light, tea, shelves of drying bowls.",
        "guidelines": {"tone": "quiet", "topics": ["window light", "routine"]},
    },
    {
        "name": "Out of the kiln",
        "weight": 20,
        "priority": 3,
        "description": "Finished pieces, and what went wrong.",
        "guidelines": {"tone": "honest", "topics": ["glaze", "cracks", "opening the kiln"]},
    },
    {
        "name": "Harbour walks",
        "weight": 10,
        "priority": 2,
        "description": "Where the colours come from: sea, stone, rain.",
        "guidelines": {"tone": "wide, slow", "topics": ["sea", "fog", "stones"]},
    },
)


def demo_data_dir() -> Path:
    """The demo's own data folder, beside the real one."""
    return data_home().with_name(data_home().name + "-demo")


def demo_config_dir() -> Path:
    """The demo's own keys, beside the real ones."""
    return config_home().with_name(config_home().name + "-demo")


def reset() -> None:
    """Wipe the demo's own folders and, on an external database, its own schema; nothing else.

    Raises:
        NotAllowedNow: a demo is running.
    """
    if _runs():
        raise _running()
    settings = load_settings().model_copy(update=_places())
    if settings.database_url is not None:
        _drop_schema(settings)
    elif settings.data_dir.exists():
        _stop_embedded(settings)
    for folder in (settings.data_dir, settings.config_dir):
        shutil.rmtree(folder, ignore_errors=True)


def _running() -> NotAllowedNow:
    return NotAllowedNow("A demo is running.", hint="Leave it first, then reset.")


def _stop_embedded(settings: Settings) -> None:
    from persona_tui.database.embedded import EmbeddedServer
    from persona_tui.database.holders import count_holders

    try:
        server = EmbeddedServer.attach_only(settings.data_dir)
    except PersonaError:
        return  # it does not run
    if count_holders(server.folders.holders):
        raise _running()
    server.stop()


def _drop_schema(settings: Settings) -> None:
    from psycopg import sql

    from persona_tui.database.engine import open_database

    database = open_database(settings)
    try:
        with database.connect("owner", autocommit=True) as connection:
            schema = sql.Identifier(settings.database_schema)
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
    finally:
        database.dispose()


def _places() -> dict[str, Any]:
    return {
        "data_dir": demo_data_dir(),
        "config_dir": demo_config_dir(),
        "database_schema": SCHEMA,
        "environment": "sandbox",
    }


def demo_settings(stand_ins: StandIns) -> Settings:
    """The operator's own terminal and keys, and the sandbox for all else: nothing leaves the machine."""
    token = SecretStr(stand_ins.token)
    return load_settings().model_copy(
        update={
            **_places(),
            "comfyui": ComfyUISettings(urls=(stand_ins.comfyui,), api_key=token, lora_dir=stand_ins.lora_dir),
            "instagram": InstagramSettings(
                base_url=stand_ins.instagram, app_id=APP_ID, app_secret=token, min_gap_minutes=0
            ),
            "gemini": GeminiSettings(base_url=stand_ins.gemini, api_key=token),
            "local_llm": type(load_settings().local_llm)(),
            "vision": VisionSettings(by="gemini"),
            "media": MediaSettings(
                publish_url=f"file://{stand_ins.media_dir}", public_base_url=stand_ins.media
            ),
        }
    )


def environment_file() -> Path:
    """Where a running demo says how other commands reach it; it is there as long as the demo runs."""
    return demo_data_dir() / "environment"


@contextmanager
def _the_only_demo() -> Iterator[None]:
    """Hold the demo's folder, which the kernel lets go of however this process ends.

    Two demos would share a schema and the sandbox's state, but not the sandbox: the second one's token in
    the account ends the publishing of the first.

    Raises:
        NotAllowedNow: a demo is running.
    """
    folder = demo_data_dir()
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "demo.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotAllowedNow(
                "A demo is running already.",
                hint='Leave it first; for a second screen on it: eval "$(script/demo --env)" && persona-tui.',
            ) from None
        yield
    finally:
        os.close(descriptor)


def _runs() -> bool:
    """Whether a demo holds the folder: what a killed one has written is not believed."""
    try:
        descriptor = os.open(demo_data_dir() / "demo.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


NOTHING_SET = "echo 'Nothing was set: commands work on your own data, not on a demo.' >&2; false"
"""What a shell's eval gets where no demo runs, so that it fails and `&&` stops there."""


def demo_environment() -> str:
    """Lines for a shell with which commands work on the running demo, and on nothing else.

    Raises:
        NotAllowedNow: no demo is running.
    """
    try:
        if _runs():
            return environment_file().read_text("utf-8")
    except FileNotFoundError:
        pass  # it is just starting or ending
    raise NotAllowedNow(
        "No demo is running, so there is none to reach.", hint="Start `script/demo` in another terminal."
    )


@contextmanager
def _told_to_shells(stand_ins: StandIns) -> Iterator[None]:
    places = {"PERSONA_" + name.upper(): str(value) for name, value in _places().items()}
    variables = {
        **places,
        "PERSONA_COMFYUI__URLS": stand_ins.comfyui,
        "PERSONA_COMFYUI__API_KEY": stand_ins.token,
        "PERSONA_COMFYUI__LORA_DIR": str(stand_ins.lora_dir),
        "PERSONA_INSTAGRAM__BASE_URL": stand_ins.instagram,
        "PERSONA_INSTAGRAM__APP_ID": APP_ID,
        "PERSONA_INSTAGRAM__APP_SECRET": stand_ins.token,
        "PERSONA_INSTAGRAM__MIN_GAP_MINUTES": "0",
        "PERSONA_GEMINI__BASE_URL": stand_ins.gemini,
        "PERSONA_GEMINI__API_KEY": stand_ins.token,
        "PERSONA_VISION__BY": "gemini",
        "PERSONA_MEDIA__PUBLISH_URL": f"file://{stand_ins.media_dir}",
        "PERSONA_MEDIA__PUBLIC_BASE_URL": stand_ins.media,
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    path = environment_file()
    path.unlink(missing_ok=True)
    with open(path, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.writelines(lines)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def demo_world(say: Say) -> Iterator[Settings]:
    """The sandbox and the sample persona, ready to be played with.

    Raises:
        NotAllowedNow: a demo is running already.
        PersonaError: the sandbox or the database does not start.
    """
    say("Starting the sandbox…")
    with _the_only_demo(), running_stand_ins(demo_data_dir() / "sandbox") as stand_ins:
        settings = demo_settings(stand_ins)
        with Resources.open(settings, say=say) as opened:
            seed(opened, stand_ins)
        with _told_to_shells(stand_ins):
            yield settings


def seed(opened: Resources, stand_ins: StandIns) -> None:
    """Make the sample persona, its pillars, pipelines and account where they are missing."""
    with opened.database.session_scope() as session:
        ensure_examples(session)
        try:
            persona = find_persona(session, PERSONA)
        except UnknownName:
            persona = create_persona(session, SAMPLE)
            for pillar in PILLARS:
                create_pillar(session, persona.id, pillar)
        account = account_of_persona(session, persona.id)
        token = SecretStr(stand_ins.token)
        if account is not None:
            replace_token(session, opened.keyring, account.id, token)
            return
        add_account(
            session,
            opened.keyring,
            {
                "persona_id": persona.id,
                "ig_user_id": IG_USER_ID,
                "username": "sandbox_studio",
                "token": token,
            },
        )
