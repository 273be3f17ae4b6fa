"""Workflows from files: the API export, a PNG that carries its prompt, and all that is neither."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.services.generation.workflow_files import LARGEST_FILE, read_workflow

WORKFLOW = {"1": {"class_type": "EmptyImage", "inputs": {"width": 64, "text": "ein Krug, 静か"}}}


def png(**texts: str) -> bytes:
    """A picture with text chunks."""
    info, file = PngInfo(), BytesIO()
    for key, value in texts.items():
        info.add_itxt(key, value)
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def test_a_file_and_a_picture_give_the_same_workflow(tmp_path: Path) -> None:
    plain, picture = tmp_path / "a.json", tmp_path / "a.png"
    plain.write_text(json.dumps(WORKFLOW), "utf-8")
    picture.write_bytes(png(prompt=json.dumps(WORKFLOW), workflow='{"nodes": []}'))
    assert read_workflow(plain) == read_workflow(picture) == WORKFLOW


def test_a_picture_with_only_the_editor_s_file_gives_that(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(png(workflow='{"nodes": [], "links": []}'))
    assert read_workflow(picture) == {"nodes": [], "links": []}


def test_placeholders_without_quotes_are_read_and_those_inside_texts_stay(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"seed": {{auto_seed}}, "at": [{{ x }}], "text": "a {{prompt}} \\" {{b}}"}', "utf-8")
    assert read_workflow(file) == {
        "seed": "{{auto_seed}}",
        "at": ["{{ x }}"],
        "text": 'a {{prompt}} " {{b}}',
    }


def test_the_bytes_count_not_the_name(tmp_path: Path) -> None:
    picture = tmp_path / "a.json"
    picture.write_bytes(png(prompt=json.dumps(WORKFLOW)))
    assert read_workflow(picture) == WORKFLOW


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is no workflow that can be read"),
        (b"\xff\xfe\x00", "is no workflow that can be read"),
        (b"[" * 100_000, "is no workflow that can be read"),
        (b"[1]", "is no workflow."),
        (png(), "carries no prompt"),
        (png(comment="{}"), "carries no prompt"),
        (png(prompt="no json"), "is no workflow that can be read"),
        (png(prompt="{}")[:60], "is a PNG that can't be read"),
    ],
)
def test_what_is_no_workflow_is_told(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "x"
    file.write_bytes(content)
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        read_workflow(file)
    assert caught.value.hint


def test_a_missing_file_a_folder_and_a_huge_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownName):
        read_workflow(tmp_path / "nothing.json")
    with pytest.raises(InvalidRequest, match="is a folder, and no workflow"):
        read_workflow(tmp_path)
    huge = tmp_path / "huge.json"
    with huge.open("wb") as opened:
        opened.truncate(LARGEST_FILE + 1)
    with pytest.raises(InvalidRequest, match="too large"):
        read_workflow(huge)
