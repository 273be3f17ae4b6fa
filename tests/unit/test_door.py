"""R31: clients accept only what the guard passed, and only services/safety can make such a value."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil

import pytest

from persona_tui import clients
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


def test_library_0_every_client_method_that_takes_a_picture_takes_a_passed_one() -> None:
    takers = {
        f"{owner.__name__}.{name}": str(parameter.annotation)
        for module in pkgutil.iter_modules(clients.__path__, f"{clients.__name__}.")
        for owner in vars(importlib.import_module(module.name)).values()
        if inspect.isclass(owner) and owner.__module__ == module.name
        for name, method in inspect.getmembers(owner, inspect.iscoroutinefunction)
        for parameter in inspect.signature(method).parameters.values()
        if "bytes" in str(parameter.annotation)
    }
    assert {"ComfyUIClient.upload_image", "GeminiClient.generate", "MediaHost.put"} <= takers.keys()
    assert all("Passed[bytes]" in kind for kind in takers.values()), takers
