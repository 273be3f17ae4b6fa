"""The registry of LoRAs: versions, identity by content, who uses which, and what stays with a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, NotAllowedNow, StorageError, UnknownName
from persona_tui.models.safety import AuditEvent
from persona_tui.services.loras import registry
from persona_tui.services.loras.importing import LoraInput, LoraOutcome, import_loras
from persona_tui.services.loras.mappings import unuse_lora, use_lora
from persona_tui.services.loras.registry import LoraView
from persona_tui.services.loras.shelf import Shelf
from persona_tui.settings import Settings
from tests.support.loras import QWEN, write_lora, write_sidecar
from tests.support.world import make_persona


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(Settings(data_dir=tmp_path / "data"))


@pytest.fixture
def take_in(db: Database, shelf: Shelf, tmp_path: Path) -> Callable[..., LoraView]:
    """Writes a LoRA file, other bytes each time, and imports it."""
    made: list[int] = []

    def take(name: str = "mira.safetensors", given: Any = None, **options: Any) -> LoraView:
        made.append(1)
        path = write_lora(tmp_path / f"in{len(made)}", name, fill=len(made), **options)
        (outcome,) = take_files(db, shelf, [path], given)
        assert outcome.lora is not None, outcome.sentence
        return outcome.lora

    return take


def take_files(db: Database, shelf: Shelf, paths: list[Path], given: Any = None) -> list[LoraOutcome]:
    return list(import_loras(db.session_scope, shelf, paths, LoraInput.model_validate(given or {})))


def persona(db: Database, name: str = "Mira") -> int:
    with db.session_scope() as session:
        return make_persona(session, name).id


def test_a_file_becomes_the_next_version_of_its_name(take_in: Callable[..., LoraView], shelf: Shelf) -> None:
    first, second = take_in(), take_in("MIRA.safetensors")
    assert [(one.name, one.version) for one in (first, second)] == [("mira", 1), ("mira", 2)]
    assert first.file_name == f"mira-v1-{first.sha256[:8]}.safetensors"
    assert all(shelf.holds(one.file_name) for one in (first, second))
    assert len(list(shelf.folder.iterdir())) == 2
    assert (first.family, first.model_type, first.key_format, first.rank) == ("flux", "style", "diffusers", 2)


def test_the_version_that_a_file_asks_for_is_taken_where_it_is_free(
    take_in: Callable[..., LoraView],
) -> None:
    assert take_in("mira_v5.safetensors").version == 5
    assert take_in("mira_v5.safetensors").version == 6
    assert take_in("mira_v2.safetensors").version == 2


def test_the_same_bytes_are_not_imported_twice(db: Database, shelf: Shelf, tmp_path: Path) -> None:
    mira = persona(db)
    path = write_lora(tmp_path / "in")
    copy = path.with_name("again.safetensors")
    copy.write_bytes(path.read_bytes())
    first, second = take_files(db, shelf, [path, copy])
    assert (first.outcome, second.outcome) == ("imported", "already there")
    assert second.sentence == "again.safetensors is there already, as mira@1."
    (third,) = take_files(db, shelf, [path], {"persona_id": mira, "weight": 0.6})
    assert third.lora is not None
    assert [(user.persona, user.weight) for user in third.lora.users] == [("Mira", 0.6)]
    assert len(list(shelf.folder.iterdir())) == 1


def test_a_lost_file_comes_back_when_it_is_imported_again(db: Database, shelf: Shelf, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "in")
    (first,) = take_files(db, shelf, [path])
    assert first.lora is not None
    shelf.drop(first.lora.file_name)
    take_files(db, shelf, [path])
    assert shelf.holds(first.lora.file_name)


def test_one_bad_file_spoils_nothing_and_leaves_nothing(db: Database, shelf: Shelf, tmp_path: Path) -> None:
    good, bad = write_lora(tmp_path / "in"), tmp_path / "in" / "bad.safetensors"
    bad.write_bytes(b"PK\x03\x04")
    outcomes = take_files(db, shelf, [bad, good])
    assert [one.outcome for one in outcomes] == ["failed", "imported"]
    assert outcomes[0].hint
    assert len(list(shelf.folder.iterdir())) == 1


def test_a_name_of_somebody_elses_lora_is_refused_and_no_file_is_left(
    db: Database, shelf: Shelf, take_in: Callable[..., LoraView], tmp_path: Path
) -> None:
    take_in(given={"persona_id": persona(db)})
    path = write_lora(tmp_path / "other", fill=99)
    (outcome,) = take_files(db, shelf, [path], {"persona_id": persona(db, "Nils")})
    assert (outcome.outcome, outcome.sentence) == (
        "failed",
        "There is a LoRA called mira that belongs to somebody else.",
    )
    assert len(list(shelf.folder.iterdir())) == 1


def test_a_folder_that_can_not_be_made_is_said(db: Database, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    shelf = Shelf(Settings(data_dir=tmp_path / "data"))
    with pytest.raises(StorageError, match="can't be made"), shelf.taking_in(write_lora(tmp_path)):
        raise AssertionError("it was copied")
    (outcome,) = take_files(db, shelf, [tmp_path / "mira.safetensors"])
    assert outcome.outcome == "failed"


def test_a_lora_is_found_by_name_and_by_version(session: Session, take_in: Callable[..., LoraView]) -> None:
    take_in()
    take_in()
    assert registry.find_lora(session, "Mira").version == 2
    assert registry.find_lora(session, "mira@1").version == 1
    assert registry.find_lora(session, "mira@v1").version == 1
    for words in ("nils", "mira@7"):
        with pytest.raises(UnknownName, match="There is no LoRA"):
            registry.find_lora(session, words)
    with pytest.raises(InvalidRequest, match="no version"):
        registry.find_lora(session, "mira@new")


def test_the_first_of_its_kind_is_primary_and_switching_moves_it(
    db: Database, take_in: Callable[..., LoraView]
) -> None:
    mira = persona(db)
    one = take_in("one.safetensors", {"persona_id": mira})
    two = take_in("two.safetensors", {"persona_id": mira})
    other = take_in("qwen.safetensors", {"persona_id": mira}, layers=QWEN)
    assert [lora.users[0].primary for lora in (one, two, other)] == [True, False, True]
    with db.session_scope() as session:
        use_lora(session, mira, two.id, {"primary": True, "weight": 0.5})
        one, two = registry.get_lora(session, one.id), registry.get_lora(session, two.id)
    assert [(lora.users[0].primary, lora.users[0].weight) for lora in (one, two)] == [
        (False, 1.0),
        (True, 0.5),
    ]


def test_another_version_takes_the_place_of_the_one_before(
    db: Database, take_in: Callable[..., LoraView]
) -> None:
    mira = persona(db)
    first = take_in(given={"persona_id": mira, "weight": 0.7})
    second = take_in(given={"persona_id": mira})
    with db.session_scope() as session:
        assert registry.get_lora(session, first.id).users == ()
        (user,) = registry.get_lora(session, second.id).users
        assert (user.weight, user.primary) == (0.7, True)
        use_lora(session, mira, first.id, {})
        assert registry.get_lora(session, second.id).users == ()
        assert [lora.label for lora in registry.list_loras(session, mira)] == ["mira@2", "mira@1"]


def test_the_weight_of_the_file_beside_it_is_what_a_persona_begins_with(
    db: Database, shelf: Shelf, tmp_path: Path
) -> None:
    path = write_lora(tmp_path / "in")
    write_sidecar(path, weight=0.65)
    (outcome,) = take_files(db, shelf, [path], {"persona_id": persona(db)})
    assert outcome.lora is not None and outcome.lora.users[0].weight == 0.65


@pytest.mark.parametrize("weight", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_weight_outside_0_to_1_is_refused(
    db: Database, take_in: Callable[..., LoraView], weight: float
) -> None:
    lora = take_in()
    mira = persona(db)
    with db.session_scope() as session, pytest.raises(InvalidRequest, match="Weight"):
        use_lora(session, mira, lora.id, {"weight": weight})


def test_a_likeness_serves_its_own_persona_alone(db: Database, take_in: Callable[..., LoraView]) -> None:
    lora = take_in(given={"persona_id": persona(db)})
    nils = persona(db, "Nils")
    with db.session_scope() as session, pytest.raises(InvalidRequest, match="likeness of Mira"):
        use_lora(session, nils, lora.id, {})


def test_unuse_keeps_the_lora_and_removing_takes_the_mapping_along(
    db: Database, take_in: Callable[..., LoraView]
) -> None:
    mira = persona(db)
    lora = take_in(given={"persona_id": mira})
    with db.session_scope() as session:
        assert unuse_lora(session, mira, lora.id).users == ()
        with pytest.raises(NotAllowedNow, match="does not use mira@1"):
            unuse_lora(session, mira, lora.id)
        use_lora(session, mira, lora.id, {})
        registry.remove_lora(session, lora.id)
        with pytest.raises(UnknownName):
            registry.get_lora(session, lora.id)
        told = select(AuditEvent.action).where(AuditEvent.action.like("lora.%"))  # type: ignore[attr-defined]
        actions = list(session.exec(told.order_by(AuditEvent.id)))  # type: ignore[arg-type]
    assert actions == ["lora.import", "lora.use", "lora.unuse", "lora.use", "lora.remove"]


def test_a_lora_that_a_run_used_stays(db: Database, take_in: Callable[..., LoraView]) -> None:
    from tests.support.world import grow_run

    lora = take_in()
    with db.session_scope() as session:
        run = grow_run(session, None, 1).run_id
        session.execute(
            text("INSERT INTO run_loras (run_id, lora_model_id, weight) VALUES (:run, :lora, 1)"),
            {"run": run, "lora": lora.id},
        )
    with db.session_scope() as session, pytest.raises(NotAllowedNow, match="was used by 1 run") as refused:
        registry.remove_lora(session, lora.id)
    assert "lora unuse" in refused.value.hint
