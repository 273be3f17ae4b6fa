"""Folders of base models: a wrong, gated, cut or absent one is told before anything large is read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.host_memory import is_out_of_memory
from persona_tui.gpu.training.families import Family

_POINTER = b"version https://git-lfs"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


class BadBase(InvalidRequest):
    """A base model's folder that can't be used."""

    title = "Base model can't be used"
    hint = "Fetch the model anew, or name another folder."


def check_base(
    folder: Path, family: Family, *, expects: Mapping[str, bool], unlike: Mapping[str, int]
) -> None:
    """See whether a folder holds a family's pipeline with weights that are all there.

    Args:
        expects: what the transformer's config has to say; absent is False.
        unlike: what it may not say.

    Raises:
        BadBase: it does not.
    """
    again = f"Fetch {family.title} anew; where it is gated, accept its licence at {family.licence.url} first."
    if not folder.is_dir():
        raise BadBase(f"There is no folder {folder}.", hint=f"Name the folder that holds {family.title}.")
    parts = _json(folder / "model_index.json", again)
    found = parts.get("_class_name")
    if found != family.pipeline:
        raise BadBase(
            f"{folder} holds a {found}, not {family.title} ({family.pipeline}).",
            hint="Name another base model or another folder.",
        )
    config = _json(folder / "transformer" / "config.json", again)
    wrong = [name for name, wanted in expects.items() if bool(config.get(name)) != wanted]
    wrong += [name for name, other in unlike.items() if config.get(name) == other]
    if wrong:
        raise BadBase(
            f"{folder} is not {family.title}: its transformer has {wrong[0]} {config.get(wrong[0], False)}.",
            hint="Name another base model or another folder.",
        )
    for name, named in parts.items():
        if isinstance(named, list) and any(named) and not any((folder / name).glob("*")):
            raise BadBase(f"{folder} lacks its {name}.", hint=again)
    for part in sorted(path.parent for path in folder.glob("*/config.json")):
        _check_weights(part, again)


def _json(path: Path, hint: str) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadBase(f"{path.parent} has no {path.name}.", hint=hint) from None
    except (OSError, ValueError):
        raise BadBase(f"{path} can't be read.", hint=hint) from None
    if not isinstance(read, dict):
        raise BadBase(f"{path} is no model's description.", hint=hint)
    return read


def weight_files(part: Path) -> list[Path]:
    """The files that hold a component's weights, all of them named whether they are there or not.

    Beside them may lie the same weights in another type, with a word more in their names.
    """
    for index in sorted(part.glob("*.safetensors.index.json"), key=_length):
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return [part / name for name in sorted(set(names))]
    return sorted(part.glob("*.safetensors"), key=_length)[:1]


def _length(path: Path) -> int:
    return len(path.name)


def _check_weights(part: Path, hint: str) -> None:
    """See whether a component's weights are there, are weights, and end where they say.

    Raises:
        BadBase: they are not.
    """
    from safetensors import SafetensorError, safe_open

    try:
        files = weight_files(part)
    except (OSError, ValueError, KeyError, AttributeError):
        raise BadBase(f"The list of {part}'s weights can't be read.", hint=hint) from None
    if not files:
        pickles = [path.name for path in part.iterdir() if path.suffix in _PICKLES]
        if pickles:
            raise BadBase(
                f"{part} has its weights as {pickles[0]}, a kind of file that can run code.",
                hint="Fetch the safetensors files of the same model.",
            )
        raise BadBase(f"{part} holds no weights.", hint=hint)
    for path in files:
        try:
            with path.open("rb") as file:
                start = file.read(len(_POINTER))
            if start == _POINTER:
                raise BadBase(
                    f"{path} is only a pointer to weights.", hint="Run `git lfs pull` in that folder."
                )
            with safe_open(path, framework="pt"):
                pass
        except FileNotFoundError:
            raise BadBase(f"{path} is missing.", hint=hint) from None
        except (OSError, SafetensorError) as error:
            raise BadBase(f"{path} is damaged or cut off ({error}).", hint=hint) from None


@contextmanager
def reading(folder: Path, what: str) -> Iterator[None]:
    """Say in a sentence what diffusers says in many.

    Raises:
        BadBase: what is read in this context can't be.
        torch.OutOfMemoryError, MemoryError, ImportError, RuntimeError: it can, but there is no memory for it.
    """
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError) or is_out_of_memory(error):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadBase(f"{folder}'s {what} can't be loaded: {first}") from error
