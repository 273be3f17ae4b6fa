"""What a promotion takes out of use, and what rolling back restores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from persona_tui.database.engine import Database
from persona_tui.services.loras import promotion
from persona_tui.services.loras.importing import LoraInput, import_loras
from persona_tui.services.loras.mappings import unuse_lora, use_lora
from persona_tui.services.loras.registry import LoraView, list_loras, remove_lora
from persona_tui.services.loras.shelf import Shelf
from persona_tui.settings import Settings
from tests.support.loras import write_lora
from tests.support.world import make_persona


class Desk:
    """A persona, and LoRAs of it that nobody uses yet."""

    def __init__(self, db: Database, settings: Settings, folder: Path) -> None:
        self.db, self.shelf, self.folder = db, Shelf(settings), folder
        with db.session_scope() as session:
            self.mira = make_persona(session, "Mira").id

    def lora(self, name: str, version: int = 1) -> LoraView:
        file = f"{name}_v{version}.safetensors"
        path = write_lora(self.folder, file, fill=len(list(self.folder.iterdir())) + 1)
        given = LoraInput(persona_id=self.mira, use=False)
        (done,) = import_loras(self.db.session_scope, self.shelf, [path], given)
        assert done.lora is not None, done.sentence
        return done.lora

    def do(self, action: Any, lora: LoraView, *values: Any) -> Any:
        with self.db.session_scope() as session:
            return action(session, self.mira, lora.id, *values)

    @property
    def used(self) -> dict[str, tuple[float, bool]]:
        with self.db.session_scope() as session:
            return {
                lora.label: (user.weight, user.primary)
                for lora in list_loras(session, self.mira)
                for user in lora.users
            }


@pytest.fixture
def desk(db: Database, settings: Settings, tmp_path: Path) -> Desk:
    (tmp_path / "in").mkdir()
    return Desk(db, settings, tmp_path / "in")


def test_training_11_a_promotion_replaces_a_lora_of_another_name_and_rolling_back_restores_it(
    desk: Desk,
) -> None:
    old, new = desk.lora("mira_kohya"), desk.lora("Mira")
    desk.do(use_lora, old, {"weight": 0.7})
    found = desk.do(promotion.look_at_promotion, new)
    assert found.consequence == "mira_kohya@1 is taken out of use."
    desk.do(promotion.promote, new)
    assert desk.used == {"Mira@1": (1, True)}
    assert desk.do(promotion.look_at_roll_back, new).consequence == "Mira@1 is taken out of use."
    desk.do(promotion.roll_back, new)
    assert desk.used == {"mira_kohya@1": (0.7, True)}


def test_training_11_rolling_back_restores_what_stood_beside_it_and_keeps_what_came_since(
    desk: Desk,
) -> None:
    old, first, second, detail, late = (
        desk.lora("mira_kohya"), desk.lora("Mira", 1), desk.lora("Mira", 2), desk.lora("eyes"),
        desk.lora("late"),
    )  # fmt: skip
    desk.do(use_lora, old, {"weight": 0.7})
    desk.do(use_lora, first, {"weight": 0.4})
    desk.do(use_lora, detail, {"weight": 0.3})
    before = desk.used
    assert before == {"mira_kohya@1": (0.7, True), "Mira@1": (0.4, False), "eyes@1": (0.3, False)}
    found = desk.do(promotion.look_at_promotion, second)
    assert found.consequence == "mira_kohya@1 is taken out of use. eyes@1 at 0.3 in use beside Mira@2."
    desk.do(promotion.promote, second)
    assert desk.used == {"Mira@2": (0.4, True), "eyes@1": (0.3, False)}
    desk.do(use_lora, second, {"weight": 0.9})  # its weight alone: what was before stays known
    desk.do(use_lora, late, {})
    found = desk.do(promotion.look_at_roll_back, second)
    assert found.consequence == (
        "Mira@2 is taken out of use. Mira@1 at 0.4, eyes@1 at 0.3, late@1 at 1 in use beside mira_kohya@1."
    )
    desk.do(promotion.roll_back, second)
    assert desk.used == before | {"late@1": (1, False)}


def test_training_11_what_was_used_beside_the_primary_one_goes_back_to_that(desk: Desk) -> None:
    old, new, gone = desk.lora("one"), desk.lora("two"), desk.lora("three")
    desk.do(use_lora, old, {"weight": 0.7})
    desk.do(use_lora, new, {"weight": 0.5})
    desk.do(use_lora, gone, {"weight": 0.2})
    desk.do(promotion.promote, new)
    assert desk.used == {"two@1": (0.5, True), "three@1": (0.2, False)}
    desk.do(unuse_lora, gone)
    with desk.db.session_scope() as session:
        remove_lora(session, gone.id)
    desk.do(promotion.roll_back, new)
    assert desk.used == {"one@1": (0.7, True), "two@1": (0.5, False)}


def test_training_10_an_import_says_who_uses_it_by_that_and_how_to_end_it(
    desk: Desk, db: Database, tmp_path: Path
) -> None:
    def take(name: str, fill: int, **given: Any) -> tuple[str, str]:
        path = write_lora(tmp_path / "other", name, fill=fill)
        (done,) = import_loras(db.session_scope, desk.shelf, [path], LoraInput(**given))
        return done.sentence, done.hint

    sentence, hint = take("Mira.safetensors", 21, persona_id=desk.mira)
    assert sentence == "Mira@1: character, flux; Mira uses it at 1, primary."
    assert hint == "`persona-tui lora unuse 'Mira' 'Mira@1'` takes it out of use."
    sentence, _ = take("nameless.safetensors", 22, persona_id=desk.mira, weight=0.5)
    assert sentence == "nameless@1: character, flux; Mira uses it at 0.5 beside Mira@1."
    sentence, _ = take("nameless.safetensors", 22, persona_id=desk.mira)
    assert sentence == (
        "nameless.safetensors is there already, as nameless@1; Mira still uses it at 0.5 beside Mira@1."
    )
    sentence, _ = take("Mira.safetensors", 23, persona_id=desk.mira, weight=0.8)
    assert sentence == (
        "Mira@2: character, flux; Mira uses it at 0.8, primary in place of Mira@1 beside nameless@1."
    )
    assert take("ink.safetensors", 24) == ("ink@1: style, flux.", "")
    assert take("late.safetensors", 25, persona_id=desk.mira, use=False)[1] == ""
