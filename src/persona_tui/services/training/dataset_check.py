"""What speaks against training on a dataset, before any of its pictures is encoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from persona_tui.gpu.training.buckets import Size
from persona_tui.gpu.training.manifest import Manifest, Picture
from persona_tui.services.training.captions import trigger_count
from persona_tui.services.training.dataset_files import strays
from persona_tui.services.training.splitting import held_out_count, near_pairs

FEWEST = 5
"""Pictures to learn from; with fewer a LoRA learns the pictures and not the person."""
ENOUGH = 12
MANY = 500
LONGEST_ASPECT = 2.0
Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something wrong with a dataset: `error` keeps it from being trained on."""

    level: Level
    sentence: str
    hint: str = ""


def check_dataset(
    manifest: Manifest, folder: Path, looks: Mapping[str, int], buckets: Sequence[int]
) -> tuple[Finding, ...]:
    """All findings, errors first. Reads every file, so it takes seconds with thousands of them.

    Args:
        looks: perceptual hashes by SHA-256, as far as they are known.
        buckets: sides in pixels that the training will use.
    """
    wrong = strays(folder, manifest)
    mend = "Put the file back, or `dataset remove` it."
    found = [
        *(Finding("error", f"{name}: {why}.", mend) for name, why in _few(wrong)),
        *_counts(manifest),
        *_captions(manifest),
        *_pairs(manifest),
        *_sizes([one for one in manifest.pictures if one.file not in wrong], folder, min(buckets)),
        *_likes(manifest.pictures, looks),
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda finding: finding.level != "error"))


def picture_sizes(manifest: Manifest, folder: Path) -> tuple[Size, ...]:
    """Widths and heights of a checked dataset's pictures, as they are stored.

    Which of them lie on their side only a decoded PNG tells, and buckets are alike for both.
    """
    return tuple(_size(folder / picture.file) for picture in manifest.pictures)


def _size(path: Path) -> Size:
    with Image.open(path) as image:
        return image.size


def _counts(manifest: Manifest) -> Iterator[Finding]:
    learnt, held = len(manifest.of_role("train", "anchor")), len(manifest.of_role("held_out"))
    if learnt < FEWEST:
        yield Finding(
            "error",
            f"There are {_pictures(learnt)} to learn from and {held} held out; {FEWEST} is the least.",
            "Add more with `dataset add`: 20 to 60 that differ in angle, light and expression are best.",
        )
    elif learnt < ENOUGH:
        yield Finding(
            "warning",
            f"{_pictures(learnt).capitalize()} to learn from are few: the LoRA will repeat them.",
            "20 to 60 are best; under 8 no run stops by itself.",
        )
    elif learnt > MANY:
        yield Finding(
            "warning",
            f"{learnt} pictures are more than a LoRA can use: most would be seen once or not at all.",
            "Choose the 20 to 60 best ones, each with an angle or light of its own.",
        )
    wanted = held_out_count(learnt + held)
    if not held and learnt >= FEWEST:
        yield Finding(
            "error",
            "No picture is held out, so nothing could tell likeness from copying.",
            "`dataset role PERSONA NAME FILE --give held_out` holds one out.",
        )
    elif held < wanted:
        yield Finding(
            "warning",
            f"{held} held out of {learnt + held}; {wanted} judge better.",
            "Add pictures, or hold out more.",
        )


def _captions(manifest: Manifest) -> Iterator[Finding]:
    trigger = manifest.trigger_word
    empty = [one for one in manifest.pictures if not one.caption.strip()]
    if empty:
        word = "instruction" if manifest.wheel == "editor" else "caption"
        yield Finding(
            "error",
            f"{_pictures(len(empty)).capitalize()} without {word}, such as {empty[0].file}.",
            "`dataset captions PERSONA NAME --mend` writes plain ones; better say what each picture shows.",
        )
    if not trigger:
        return
    counts = {
        one.file: trigger_count(one.caption, trigger) for one in manifest.pictures if one.caption.strip()
    }
    for files, words in (
        ([file for file, count in counts.items() if count == 0], f"without the trigger word {trigger}"),
        (
            [file for file, count in counts.items() if count > 1],
            f"with the trigger word {trigger} more than once",
        ),
    ):
        if files:
            yield Finding(
                "error",
                f"{len(files)} caption{'s' * (len(files) > 1)} {words}, such as that of {files[0]}.",
                "`dataset captions PERSONA NAME --mend` puts it in exactly once.",
            )


def _pairs(manifest: Manifest) -> Iterator[Finding]:
    if manifest.wheel != "editor":
        return
    alone = [one.file for one in manifest.pictures if not one.control]
    if alone:
        yield Finding(
            "error",
            f"{_pictures(len(alone)).capitalize()} without a source picture, such as {alone[0]}.",
            "Remove them, and add them again with --control.",
        )


def _sizes(pictures: Sequence[Picture], folder: Path, smallest: int) -> Iterator[Finding]:
    small, blurred, long = [], [], []
    for picture in pictures:
        try:
            width, height = _size(folder / picture.file)
        except OSError:
            yield Finding("error", f"{picture.file}: no picture that can be read.", "`dataset remove` it.")
            continue
        if min(width, height) * 2 < smallest:
            small.append(f"{picture.file} ({width}×{height})")
        elif min(width, height) < smallest:
            blurred.append(f"{picture.file} ({width}×{height})")
        if max(width, height) > LONGEST_ASPECT * min(width, height):
            long.append(picture.file)
    if small:
        yield Finding(
            "error",
            f"{_pictures(len(small)).capitalize()} under half of {smallest} pixels, such as {small[0]}.",
            "Remove them: enlarged so much they teach blur.",
        )
    if blurred:
        yield Finding(
            "warning", f"{_pictures(len(blurred)).capitalize()} will be enlarged, such as {blurred[0]}."
        )
    if long:
        yield Finding(
            "warning", f"{_pictures(len(long)).capitalize()} longer than 2:1 will be cut, such as {long[0]}."
        )


def _likes(pictures: Sequence[Picture], looks: Mapping[str, int]) -> Iterator[Finding]:
    places = near_pairs([looks.get(picture.sha256) for picture in pictures])
    pairs = [(pictures[one], pictures[other]) for one, other in places]
    leaks = [pair for pair in pairs if _is_leak(pair)]
    if leaks:
        one, other = leaks[0]
        yield Finding(
            "error",
            f"{len(leaks)} held-out picture{'s' * (len(leaks) > 1)} looks like one that is learnt from:"
            f" {one.file} and {other.file}.",
            "Remove one of the two, or give both the same role.",
        )
    alike = [pair for pair in pairs if not _is_leak(pair)]
    if alike:
        one, other = alike[0]
        yield Finding(
            "warning",
            f"{len(alike)} pair{'s' * (len(alike) > 1)} of pictures look alike, such as {one.file} and"
            f" {other.file}; what they show is learnt twice.",
            "`dataset remove PERSONA NAME FILE` takes the worse one out.",
        )


def _is_leak(pair: tuple[Picture, Picture]) -> bool:
    return (pair[0].role == "held_out") != (pair[1].role == "held_out")


def _few(wrong: Mapping[str, str], most: int = 3) -> list[tuple[str, str]]:
    entries = list(wrong.items())
    if len(entries) <= most:
        return entries
    return [
        *entries[: most - 1],
        (f"{len(entries) - most + 1} more files", "they are gone or changed as well"),
    ]


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"
