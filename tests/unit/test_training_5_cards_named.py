"""Item 5: which cards a training is put on, and what can't be meant."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.nvml import Card
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.supervisor import Stages
from persona_tui.services.lease import places
from persona_tui.services.training.cards import chosen_places, require_shared, shared_words
from persona_tui.services.training.processes import environment_for

GIB = 1 << 30
CARDS = tuple(Card(number, "RTX 4090", 24 * GIB, 0, 0, 40, "575", f"GPU-{number}") for number in (0, 1, 2))
HERE, BARE = places(CARDS), places(())


def test_training_5_cards_are_named_by_their_numbers() -> None:
    assert chosen_places("1", HERE) == (HERE[1],)
    assert chosen_places(" 2, 0", HERE) == (HERE[2], HERE[0])
    assert environment_for(chosen_places("2,0", HERE))["CUDA_VISIBLE_DEVICES"] == "2,0"
    assert chosen_places("cpu", BARE) == BARE and environment_for(BARE)["CUDA_VISIBLE_DEVICES"] == ""
    assert chosen_places("cpu,CPU", BARE) == BARE * 2


def test_training_5_memory_of_a_card_is_shared_out_as_the_operator_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)
    assert environment_for(HERE[:1])["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:512")
    assert "PYTORCH_ALLOC_CONF" not in environment_for(HERE[:1])


@pytest.mark.parametrize(
    ("words", "here", "said"),
    [
        ("3", HERE, "There is no card 3."),
        ("0,1,2,3", HERE, "There is no card 3."),
        ("1,0,1", HERE, "Card 1 is named twice."),
        ("0,two", HERE, "names no card: two"),
        ("0,", HERE, "names no card: nothing"),
        ("", HERE, "names no card: nothing"),
        ("-1", HERE, "names no card: -1"),
        ("²", HERE, "names no card: ²"),
        ("0,cpu", HERE, "names the CPU beside cards"),
        ("cpu", HERE, "only where there is no card"),
        ("0", BARE, "There is no card 0."),
        (",".join(["cpu"] * ((os.cpu_count() or 1) + 1)), BARE, "processes are too many"),
    ],
)
def test_training_5_cards_that_can_not_be_meant_are_refused(words: str, here: object, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as refused:
        chosen_places(words, here)  # type: ignore[arg-type]
    assert refused.value.hint


def test_training_5_each_card_has_a_part_of_every_step() -> None:
    with pytest.raises(InvalidRequest, match="has 1 batch, and 2 cards would share it") as refused:
        require_shared(1, 2)
    assert "--accumulation 2" in refused.value.hint
    require_shared(2, 2)
    assert shared_words(4, 2) == "2 cards share each step of 4 batches."
    assert "wait for the others" in shared_words(3, 2)


def test_training_5_several_processes_are_started_by_accelerate(tmp_path: Path) -> None:
    alone, both = (Stages(RunFolder(tmp_path), "stages", count, ()) for count in (1, 2))
    assert "accelerate.commands.launch" not in alone.command("train")
    told = both.command("train")
    assert told[1:3] == ["-m", "accelerate.commands.launch"] and told[-4:] == [
        "-m",
        "stages",
        "train",
        str(tmp_path),
    ]
    assert told[told.index("--num_processes") + 1] == "2"
    # Only what is learnt is shared.
    assert both.command("encode") == alone.command("encode")
