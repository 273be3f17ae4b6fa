"""Items 2 and 3 by commands: datasets and consents, and how they refuse."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Shell
from tests.support.datasets import draw_all


def test_training_2_a_dataset_is_made_filled_mended_and_exported(peopled: Shell, tmp_path: Path) -> None:
    assert peopled("dataset", "create", "Mira", "v1").code == 2  # she has no trigger word
    said = peopled("dataset", "create", "Mira", "v1", "--trigger", "ohwx_mira")
    assert said.code == 0 and "does not say who is in it" in said.out
    source = draw_all(tmp_path / "in", 9, caption=None, side=600)
    (source / "broken.jpg").write_text("no picture")
    said = peopled("dataset", "add", "Mira", "v1", str(source), "--json")
    assert (said.code, said.json["counts"]) == (1, {"added": 9, "already there": 0, "left out": 1})
    said = peopled("dataset", "status", "Mira", "v1")
    assert said.code == 1 and "9 pictures without caption" in said.out
    assert "9 captions" in peopled("dataset", "captions", "Mira", "v1", "--mend").out
    assert peopled("dataset", "subject", "Mira", "v1", "--consent", "7").code == 2
    said = peopled("consent", "add", "Mira", "--who", "Ana", "--evidence", "letter", "--json")
    consent = said.json["id"]
    said = peopled("dataset", "subject", "Mira", "v1", "--consent", str(consent))
    assert "✅ Mira/v1: real." in said.out
    said = peopled("dataset", "subject", "Mira", "v1", "--drawn")
    assert "✅ Mira/v1: real, drawn." in said.out
    assert "drawn: likeness goes by the whole figure" in peopled("dataset", "status", "Mira", "v1").out
    assert peopled("dataset", "subject", "Mira", "v1", "--photographed").code == 0
    assert not peopled("dataset", "status", "Mira", "v1", "--json").json["drawn"]
    said = peopled("dataset", "status", "Mira", "v1", "--pictures", "--json")
    assert said.code == 0 and len(said.json["pictures"]) == 9
    file = said.json["pictures"][0]["file"]
    assert peopled("dataset", "role", "Mira", "v1", file, "--give", "judge").code == 2
    assert "anchors" in peopled("dataset", "role", "Mira", "v1", file, "--give", "anchor").out
    assert peopled("dataset", "export", "Mira", "v1", str(tmp_path / "out")).code == 0
    assert (tmp_path / "out" / file).with_suffix(".txt").read_text().startswith("photo of ohwx_mira")
    assert peopled("dataset", "export", "Mira", "v1", str(tmp_path / "out")).code == 2
    said = peopled("consent", "withdraw", str(consent))
    assert said.code == 1 and "nobody is there to ask" in said.err
    assert peopled("consent", "withdraw", str(consent), "--yes").code == 0
    assert [one["state"] for one in peopled("consent", "list", "--json").json] == ["withdrawn"]
    assert [one["name"] for one in peopled("dataset", "status", "Mira", "--json").json] == ["v1"]
