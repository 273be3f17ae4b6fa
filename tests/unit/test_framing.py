"""What of a picture goes out (item 7): crops round faces, padding, and the sizes that Instagram shows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data

from persona_tui.services.publishing.feed_rules import MAX_ASPECT, MIN_ASPECT
from persona_tui.services.publishing.framing import FaceBox, crop_box, frame


def panorama(astronaut_at: float) -> tuple[Image.Image, FaceBox]:
    """A real portrait in a wide noisy scene: the detail lies elsewhere, the face where it is put."""
    rng = np.random.default_rng(7)
    scene = Image.fromarray(rng.integers(0, 255, (512, 2048, 3), dtype=np.uint8))
    left = round(astronaut_at * 2048)
    scene.paste(Image.fromarray(data.astronaut()), (left, 0))
    return scene, FaceBox((left + 170) / 2048, 70 / 512, 110 / 2048, 110 / 512)


@pytest.mark.parametrize("place", [0.0, 0.4, 0.75])
def test_publishing_7_a_crop_keeps_the_face_wherever_it_is(place: float) -> None:
    scene, face = panorama(place)
    left, _, right, _ = crop_box(scene, MIN_ASPECT, [face])
    assert left <= face.left * 2048 and (face.left + face.width) * 2048 <= right
    assert (right - left) / 512 == pytest.approx(MIN_ASPECT)


def test_publishing_7_of_faces_that_do_not_fit_together_the_surest_is_kept() -> None:
    scene, face = panorama(0.0)
    far = FaceBox(0.95, 0.2, 0.04, 0.2)
    left, _, right, _ = crop_box(scene, 1.0, [face, far])
    assert left <= face.left * 2048 and (face.left + face.width) * 2048 <= right


def test_publishing_7_a_head_at_the_top_of_a_tall_picture_is_not_cut() -> None:
    tall = Image.new("RGB", (400, 1600), "grey")
    face = FaceBox(0.3, 0.02, 0.4, 0.1)
    _, top, _, bottom = crop_box(tall, MIN_ASPECT, [face])
    assert top == 0.0 and bottom == pytest.approx(500)


def test_publishing_7_padding_keeps_the_whole_picture_and_says_so() -> None:
    wide = Image.fromarray(np.tile(np.linspace(0, 255, 2000, dtype=np.uint8)[None, :, None], (400, 1, 3)))
    notes: list[str] = []
    padded = frame(wide, None, notes, fit="pad")
    assert padded.width / padded.height <= MAX_ASPECT and padded.width == 1080
    middle = np.asarray(padded)[padded.height // 2]
    assert middle[0, 0] < 8 and middle[-1, 0] > 247, "both ends of the picture are there"
    assert notes == ["Padded 2000 × 400 to 1.91 wide to high."]


@pytest.mark.parametrize("size", [(1, 1), (37, 4000), (5000, 40), (320, 400), (1080, 1350), (3000, 2000)])
@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("aspect", [None, 1.0, 9 / 16])
def test_publishing_7_whatever_goes_in_a_shape_that_is_shown_comes_out(
    size: tuple[int, int], fit: str, aspect: float | None
) -> None:
    out = frame(Image.new("RGB", size, "teal"), aspect, [], fit=fit)  # type: ignore[arg-type]
    shape = out.width / out.height
    assert 320 <= out.width <= 1080
    assert MIN_ASPECT <= shape <= MAX_ASPECT if aspect is None else shape == pytest.approx(aspect, rel=0.01)
