"""R31: clients accept only what the guard passed, and only services/safety can make such a value."""

from __future__ import annotations

import pickle

import pytest

from persona_tui.passed import Passed, content_hash, require_passed
from persona_tui.seal import Seal, take_seal
from persona_tui.services.safety import guard


def test_r31_the_seal_is_handed_out_once() -> None:
    assert guard is not None
    with pytest.raises(RuntimeError, match="only services/safety"):
        take_seal()


def test_r31_a_forged_seal_makes_nothing() -> None:
    with pytest.raises(TypeError, match="services/safety alone"):
        Passed("hello", seal=Seal())


def test_r31_a_plain_value_is_refused_by_clients() -> None:
    with pytest.raises(TypeError, match="str instead of a Passed value"):
        require_passed("hello")


def test_r31_a_passed_value_stays_in_its_process_and_does_not_change() -> None:
    passed = Passed("hello", seal=guard._SEAL)
    with pytest.raises(TypeError):
        pickle.dumps(passed)
    with pytest.raises(AttributeError):
        passed.value = "other"  # type: ignore[misc]
    assert "hello" not in repr(passed)


def test_content_hashes_do_not_depend_on_the_order_of_keys() -> None:
    assert content_hash({"a": 1, "b": [2]}) == content_hash({"b": [2], "a": 1})
    assert content_hash("ü") == content_hash("ü".encode())
