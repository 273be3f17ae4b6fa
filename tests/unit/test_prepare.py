"""Preparing pictures for the feed: any source in, a JPEG that keeps every rule out."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin
from skimage import data

from persona_tui.errors import InvalidRequest
from persona_tui.sandbox.instagram import pictures
from persona_tui.sandbox.instagram.errors import Refused
from persona_tui.services.decoding import MAX_PIXELS, decode
from persona_tui.services.publishing.feed_rules import (
    FeedRule,
    PictureNotAccepted,
    colour_profile_of,
    foreign_segments,
    segments,
    validate_for_instagram,
    xmp_of,
)
from persona_tui.services.publishing.prepare import (
    PictureUnreadable,
    PreparedPicture,
    ProvenanceContradicted,
    prepare_feed_picture,
)
from persona_tui.services.safety.disclosure import (
    Provenance,
    digital_source_type,
    is_ai_label,
    read_digital_source_type,
)
from persona_tui.services.srgb import srgb_profile, to_srgb


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def short(value: object) -> str | None:
    return "" if isinstance(value, bytes) else None


def astronaut(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(data.astronaut()).convert(mode)


def opened(prepared: PreparedPicture) -> Image.Image:
    picture = Image.open(io.BytesIO(prepared.jpeg))
    picture.load()
    return picture


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    first, second = (np.asarray(p.convert("RGB"), dtype=float) for p in (one, other))
    return float(np.abs(first - second).mean())


def assert_fit_for_instagram(
    prepared: PreparedPicture, provenance: Provenance = Provenance.GENERATED
) -> None:
    """By our own validator, by the stand-in's independent one, and by what the bytes hold."""
    validate_for_instagram(prepared.jpeg)
    pictures.judge(prepared.jpeg)
    picture = opened(prepared)
    assert picture.mode == "RGB"
    assert picture.size == (prepared.width, prepared.height)
    assert not picture.info.get("progressive")
    assert 320 <= prepared.width <= 1080
    assert prepared.aspect == prepared.width / prepared.height
    assert read_digital_source_type(xmp_of(prepared.jpeg) or b"") == digital_source_type(provenance)
    assert colour_profile_of(prepared.jpeg) == srgb_profile()
    assert foreign_segments(prepared.jpeg) == ()


def sixteen_bit_grey() -> bytes:
    ramp = np.linspace(0, 65535, 400 * 400, dtype=np.uint16).reshape(400, 400)
    return saved(Image.fromarray(ramp), "PNG")


def palette_with_hole() -> bytes:
    picture = astronaut("P")
    return saved(picture, "PNG", transparency=0)


def float_tiff() -> bytes:
    return saved(Image.fromarray(np.random.default_rng(1).random((350, 400), dtype=np.float32)), "TIFF")


def lab_tiff() -> bytes:
    lab = ImageCms.profileToProfile(
        astronaut(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    lab.info.clear()
    return saved(lab, "TIFF")


def animation() -> bytes:
    frames = [Image.new("P", (400, 400), colour) for colour in (3, 7, 9)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=40)


def multi_picture() -> bytes:
    return saved(astronaut(), "MPO", save_all=True, append_images=[astronaut("L").convert("RGB")])


SOURCES: dict[str, Callable[[], bytes]] = {
    "rgb png": lambda: saved(astronaut(), "PNG"),
    "rgba png": lambda: saved(astronaut("RGBA"), "PNG"),
    "grey png": lambda: saved(astronaut("L"), "PNG"),
    "grey with alpha": lambda: saved(astronaut("LA"), "PNG"),
    "one bit": lambda: saved(astronaut("1"), "PNG"),
    "palette with a hole": palette_with_hole,
    "16 bit grey": sixteen_bit_grey,
    "float tiff": float_tiff,
    "lab tiff": lab_tiff,
    "32 bit integer tiff": lambda: saved(
        Image.fromarray(np.arange(160_000, dtype=np.int32).reshape(400, 400)), "TIFF"
    ),
    "cmyk jpeg": lambda: saved(astronaut("CMYK"), "JPEG"),
    "cmyk tiff": lambda: saved(astronaut("CMYK"), "TIFF"),
    "grey jpeg": lambda: saved(astronaut("L"), "JPEG"),
    "progressive jpeg": lambda: saved(astronaut(), "JPEG", progressive=True),
    "mpo": multi_picture,
    "webp": lambda: saved(astronaut("RGBA"), "WEBP"),
    "avif": lambda: saved(astronaut(), "AVIF"),
    "jpeg 2000": lambda: saved(astronaut(), "JPEG2000"),
    "bmp": lambda: saved(astronaut(), "BMP"),
    "gif animation": animation,
    "premultiplied tiff": lambda: saved(astronaut("RGBA"), "TIFF"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_of_source_becomes_a_fit_jpeg(name: str) -> None:
    assert_fit_for_instagram(prepare_feed_picture(SOURCES[name](), provenance=Provenance.GENERATED))


SIZES = [
    (1, 1), (1, 3000), (3000, 1), (7, 5), (319, 399), (320, 400), (323, 500), (321, 402), (333, 416),
    (832, 1216), (1000, 1250), (1024, 1025), (1080, 1350), (1080, 1351), (1081, 565), (1440, 1800),
    (1920, 1080), (2000, 1000), (2160, 4096), (3000, 1571), (613, 321),
]  # fmt: skip


@pytest.mark.long(but=["1x1", "1x3000", "3000x1", "320x400", "1081x565", "832x1216"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_size_becomes_a_fit_jpeg(size: tuple[int, int]) -> None:
    source = saved(Image.effect_noise(size, 40).convert("RGB"), "PNG", compress_level=1)
    assert_fit_for_instagram(prepare_feed_picture(source, provenance=Provenance.GENERATED))


@pytest.mark.parametrize("photograph", [0, 1], ids=["china", "flower"])
def test_real_photographs_keep_their_shape_and_look(photograph: int) -> None:
    from sklearn.datasets import load_sample_images  # takes seconds to import, in each of pytest's processes

    original = Image.fromarray(load_sample_images().images[photograph])
    prepared = prepare_feed_picture(saved(original, "PNG"), provenance=Provenance.PHOTOGRAPH)
    assert_fit_for_instagram(prepared, Provenance.PHOTOGRAPH)
    assert (prepared.width, prepared.height) == original.size
    assert mean_difference(opened(prepared), original) < 3.0
    assert prepared.notes == ()


def test_the_same_source_gives_the_same_bytes() -> None:
    source = saved(astronaut(), "PNG")
    first, second = (prepare_feed_picture(source, provenance=Provenance.EDITED) for _ in range(2))
    assert first == second


def test_no_moment_is_written_into_the_file() -> None:
    """LittleCMS stamps the profiles it makes; the stamp here is the first second of 2000."""
    assert struct.unpack(">6H", srgb_profile()[24:36]) == (2000, 1, 1, 0, 0, 0)


def test_a_result_crosses_a_process_boundary() -> None:
    prepared = prepare_feed_picture(saved(astronaut(), "PNG"), provenance=Provenance.EDITED)
    assert pickle.loads(pickle.dumps(prepared)) == prepared
    problem = pickle.loads(pickle.dumps(PictureNotAccepted("no", rule=FeedRule.SIZE)))
    assert (problem.message, problem.rule) == ("no", FeedRule.SIZE)


def test_a_portrait_is_scaled_to_the_width_of_the_feed() -> None:
    prepared = prepare_feed_picture(
        saved(Image.new("RGB", (2000, 2500)), "PNG"), provenance=Provenance.EDITED
    )
    assert (prepared.width, prepared.height) == (1080, 1350)


def test_a_tall_picture_is_cropped_around_what_there_is_to_see() -> None:
    tall = Image.new("RGB", (512, 1400), (40, 60, 90))
    tall.paste(astronaut(), (0, 700))
    prepared = prepare_feed_picture(saved(tall, "PNG"), provenance=Provenance.GENERATED)
    assert (prepared.width, prepared.height) == (512, 640)
    rows, wanted = (np.asarray(p.convert("L"), float).mean(axis=1) for p in (opened(prepared), astronaut()))
    top = min(range(640 - 512 + 1), key=lambda at: float(np.abs(rows[at : at + 512] - wanted).sum()))
    assert mean_difference(opened(prepared).crop((0, top, 512, top + 512)), astronaut()) < 3.0


def test_a_portrait_keeps_its_head_over_a_busy_hem() -> None:
    upper = astronaut().resize((832, 832))
    portrait = Image.new("RGB", (832, 1216))
    portrait.paste(upper, (0, 0))
    portrait.paste(upper.transpose(Image.Transpose.FLIP_TOP_BOTTOM).crop((0, 0, 832, 384)), (0, 832))
    prepared = prepare_feed_picture(saved(portrait, "PNG"), provenance=Provenance.GENERATED)
    assert (prepared.width, prepared.height) == (832, 1040)
    rows, wanted = (np.asarray(p.convert("L"), float).mean(axis=1) for p in (opened(prepared), portrait))
    top = min(range(1216 - 1040 + 1), key=lambda at: float(np.abs(wanted[at : at + 1040] - rows).sum()))
    assert top <= 20


def test_a_flat_tall_picture_loses_its_lower_end() -> None:
    ramp = np.repeat(np.linspace(0, 250, 2000)[:, None, None], 500, axis=1).repeat(3, axis=2).astype(np.uint8)
    prepared = prepare_feed_picture(saved(Image.fromarray(ramp), "PNG"), provenance=Provenance.GENERATED)
    values = np.asarray(opened(prepared).convert("L"), dtype=int)
    assert values[0, 250] < 25
    assert values[-1, 250] < 110  # 625 of 2000 rows are kept


def test_a_wide_picture_is_cropped_around_its_subject() -> None:
    wide = Image.new("RGB", (3000, 512), (40, 60, 90))
    wide.paste(astronaut(), (1900, 0))
    prepared = prepare_feed_picture(saved(wide, "PNG"), provenance=Provenance.GENERATED)
    columns, wanted = (
        np.asarray(p.convert("L"), float).mean(axis=0) for p in (opened(prepared), astronaut())
    )
    assert prepared.height == 512
    left = min(
        range(columns.size - 512 + 1), key=lambda at: float(np.abs(columns[at : at + 512] - wanted).sum())
    )
    assert mean_difference(opened(prepared).crop((left, 0, left + 512, 512)), astronaut()) < 3.0


def test_a_wide_picture_is_cropped_to_the_widest_that_is_taken() -> None:
    prepared = prepare_feed_picture(
        saved(Image.new("RGB", (3000, 900)), "PNG"), provenance=Provenance.GENERATED
    )
    assert prepared.width == 1080
    assert 1.90 < prepared.aspect <= 1.91
    assert any(note.startswith("Cropped 3000 × 900") for note in prepared.notes)


def test_all_pictures_of_a_carousel_can_be_given_one_shape() -> None:
    shapes = [(832, 1216), (1200, 800), (500, 500)]
    prepared = [
        prepare_feed_picture(
            saved(Image.new("RGB", size), "PNG"), provenance=Provenance.GENERATED, aspect=0.8
        )
        for size in shapes
    ]
    assert {one.aspect for one in prepared} == {0.8}
    with pytest.raises(InvalidRequest):
        prepare_feed_picture(
            saved(Image.new("RGB", (9, 9)), "PNG"), provenance=Provenance.EDITED, aspect=0.75
        )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_and_dropped(orientation: int) -> None:
    upright = astronaut().crop((0, 0, 400, 500))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposes that lead from upright to stored
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Camera of the canary"
    source = saved(stored, "JPEG", exif=exif, quality=95)
    prepared = prepare_feed_picture(source, provenance=Provenance.PHOTOGRAPH)
    assert (prepared.width, prepared.height) == (400, 500)
    assert mean_difference(opened(prepared), upright) < 4.0
    assert b"canary" not in prepared.jpeg
    assert_fit_for_instagram(prepared, Provenance.PHOTOGRAPH)


def test_broken_exif_does_not_stop_a_picture() -> None:
    source = saved(astronaut(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\x99" * 40)
    assert_fit_for_instagram(prepare_feed_picture(source, provenance=Provenance.GENERATED))


def test_transparent_parts_become_white() -> None:
    picture = Image.new("RGBA", (400, 400), (255, 0, 0, 255))
    picture.paste((0, 255, 0, 0), (0, 0, 200, 400))
    prepared = prepare_feed_picture(saved(picture, "PNG"), provenance=Provenance.GENERATED)
    pixels = opened(prepared)
    assert min(pixels.getpixel((50, 200))) > 250
    assert pixels.getpixel((350, 200))[0] > 240 and max(pixels.getpixel((350, 200))[1:]) < 15
    assert "Filled transparent parts with white." in prepared.notes


def test_sixteen_bits_keep_the_whole_range() -> None:
    values = np.asarray(opened(prepare_feed_picture(sixteen_bit_grey(), provenance=Provenance.GENERATED)))
    assert values.min() < 5 and values.max() > 250


def swapped_profile() -> bytes:
    """A profile whose red and green are swapped: colours change visibly when it is honoured."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132])
    for index in range(count):
        at = 132 + 12 * index
        if bytes(profile[at : at + 4]) in {b"rXYZ", b"gXYZ"}:
            profile[at : at + 4] = b"gXYZ" if profile[at : at + 4] == b"rXYZ" else b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def test_colours_go_through_the_profile_in_the_file() -> None:
    source = saved(Image.new("RGB", (400, 400), (250, 10, 10)), "PNG", icc_profile=swapped_profile())
    red, green, _blue = opened(prepare_feed_picture(source, provenance=Provenance.GENERATED)).getpixel((9, 9))
    assert green > 200 and red < 60


@pytest.mark.parametrize("profile", [b"no profile at all", srgb_profile()[:200]], ids=["text", "cut"])
def test_a_broken_colour_profile_is_noted_and_passed_over(profile: bytes) -> None:
    source = saved(Image.new("RGB", (400, 400), (250, 10, 10)), "PNG", icc_profile=profile)
    prepared = prepare_feed_picture(source, provenance=Provenance.GENERATED)
    assert any("colour profile" in note for note in prepared.notes)
    assert opened(prepared).getpixel((9, 9))[0] > 240


def test_a_profile_for_another_kind_of_picture_is_not_applied() -> None:
    source = saved(astronaut("CMYK"), "JPEG", icc_profile=srgb_profile())
    prepared = prepare_feed_picture(source, provenance=Provenance.GENERATED)
    assert_fit_for_instagram(prepared)
    assert any("can't be used" in note for note in prepared.notes)


def comfyui_png() -> bytes:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("prompt", '{"1": {"class_type": "canary"}}')
    chunks.add_itxt("workflow", '{"nodes": ["canary"]}', zip=True)
    return saved(astronaut(), "PNG", pnginfo=chunks)


def test_generator_data_is_dropped() -> None:
    prepared = prepare_feed_picture(comfyui_png(), provenance=Provenance.GENERATED)
    assert b"canary" not in prepared.jpeg
    assert "Left out the generator's data: prompt, workflow." in prepared.notes
    assert_fit_for_instagram(prepared)


def test_a_comment_in_the_source_is_dropped() -> None:
    prepared = prepare_feed_picture(
        saved(astronaut(), "JPEG", comment=b"canary"), provenance=Provenance.EDITED
    )
    assert b"canary" not in prepared.jpeg


def test_a_generated_picture_cannot_pass_as_a_photograph() -> None:
    labelled = prepare_feed_picture(saved(astronaut(), "PNG"), provenance=Provenance.GENERATED).jpeg
    for source in (comfyui_png(), labelled):
        with pytest.raises(ProvenanceContradicted):
            prepare_feed_picture(source, provenance=Provenance.PHOTOGRAPH)
    real = prepare_feed_picture(saved(astronaut(), "PNG"), provenance=Provenance.PHOTOGRAPH).jpeg
    assert prepare_feed_picture(real, provenance=Provenance.PHOTOGRAPH).jpeg.startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    ("provenance", "term", "label"),
    [
        (Provenance.GENERATED, "trainedAlgorithmicMedia", True),
        (Provenance.EDITED, "compositeWithTrainedAlgorithmicMedia", True),
        (Provenance.PHOTOGRAPH, "digitalCapture", False),
    ],
)
def test_the_file_and_the_label_tell_how_the_picture_was_made(
    provenance: Provenance, term: str, label: bool
) -> None:
    prepared = prepare_feed_picture(saved(astronaut(), "PNG"), provenance=provenance)
    packet = Image.open(io.BytesIO(prepared.jpeg)).info["xmp"]
    assert read_digital_source_type(packet) == f"http://cv.iptc.org/newscodes/digitalsourcetype/{term}"
    assert is_ai_label(provenance) is label


@pytest.mark.parametrize(
    "packet",
    [
        b'<r Iptc4xmpExt:DigitalSourceType="http://x/y"/>',
        b"<r Iptc4xmpExt:DigitalSourceType = 'http://x/y'/>",
        b"<Iptc4xmpExt:DigitalSourceType>http://x/y</Iptc4xmpExt:DigitalSourceType>",
        b'<Iptc4xmpExt:DigitalSourceType rdf:resource="http://x/y"/>',
    ],
)
def test_all_spellings_of_the_source_type_are_read(packet: bytes) -> None:
    assert read_digital_source_type(packet) == "http://x/y"


def test_quality_falls_until_the_file_fits() -> None:
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 256, (1350, 1080, 3), dtype=np.uint8))
    source = saved(noise, "PNG", compress_level=1)
    free = prepare_feed_picture(source, provenance=Provenance.GENERATED)
    limit = len(free.jpeg) // 2
    tight = prepare_feed_picture(source, provenance=Provenance.GENERATED, max_bytes=limit)
    assert free.quality == 92
    assert 40 <= tight.quality < 92
    assert limit * 0.9 < len(tight.jpeg) <= limit  # the highest quality that fits, not just a low one


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def unreadable() -> Iterator[tuple[str, bytes]]:
    whole = saved(astronaut(), "PNG")
    yield "empty", b""
    yield "text", b"hello, picture"
    yield "cut off", whole[: len(whole) // 2]
    yield "bomb over the limit", png_that_claims(MAX_PIXELS // 10_000 + 1, 10_000)
    yield "bomb over Pillow's limit", png_that_claims(60_000, 60_000)
    yield "postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize(("name", "source"), list(unreadable()), ids=short)
def test_what_is_no_safe_picture_is_refused_in_words(name: str, source: bytes) -> None:
    with pytest.raises(PictureUnreadable) as caught:
        prepare_feed_picture(source, provenance=Provenance.GENERATED)
    assert caught.value.message.endswith(".")
    assert ("million pixels" in caught.value.message) == name.startswith("bomb")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_publishing_7_what_import_takes_is_made_ready_without_copies_of_its_full_size(kind: str) -> None:
    picture = Image.new("L", (11_000, 9_000), 40)
    picture.paste(200, (0, 0, 5_500, 9_000))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    source = saved(picture, kind, exif=exif.tobytes())
    facts, _ = decode(source, 256)

    prepared = prepare_feed_picture(source, provenance=Provenance.PHOTOGRAPH)

    assert (facts.width, facts.height) == (9_000, 11_000)
    assert_fit_for_instagram(prepared, Provenance.PHOTOGRAPH)
    assert (prepared.width, prepared.height) == (1080, 1320)
    assert "Read at 5500 × 4500 instead of 11000 × 9000." in prepared.notes
    shown = opened(prepared).convert("L")
    assert [round(shown.getpixel((540, row)) / 20) for row in (300, 1000)] == [10, 2]


def test_publishing_7_a_large_sixteen_bit_picture_is_scaled_in_little_memory() -> None:
    ramp = np.linspace(0, 65535, 2_000, dtype=np.uint16)
    picture = Image.fromarray(np.tile(ramp, (2_000, 1)))
    tracemalloc.start()
    try:
        grey = np.asarray(to_srgb(picture, []).convert("L"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(grey[0], np.rint(ramp.astype(np.float64) * (255 / 65535)).astype(np.uint8))
    assert peak < 2_000 * 2_000 * 16


def test_damaged_files_never_raise_anything_but_our_errors() -> None:
    rng = np.random.default_rng(3)
    wholes = [
        saved(astronaut().resize((64, 80)), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")
    ]
    prepared = 0
    for whole in wholes:
        for _ in range(15):
            damaged = np.frombuffer(whole, dtype=np.uint8).copy()
            damaged[rng.integers(0, damaged.size, 6)] = rng.integers(0, 256, 6)
            try:
                prepare_feed_picture(damaged.tobytes(), provenance=Provenance.GENERATED)
                prepared += 1
            except PictureUnreadable:
                pass
    assert prepared > 0


def test_heic_is_read_where_pillow_heif_is_installed() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(astronaut()).save(file)
    assert_fit_for_instagram(
        prepare_feed_picture(file.getvalue(), provenance=Provenance.PHOTOGRAPH), Provenance.PHOTOGRAPH
    )


def not_accepted() -> Iterator[tuple[FeedRule, tuple[int, int], bytes]]:
    square = astronaut()
    yield FeedRule.FORMAT, (36001, 2207005), saved(square, "PNG")
    yield FeedRule.FORMAT, (36001, 2207005), multi_picture()
    yield FeedRule.COLOUR, (36001, 2207005), saved(square.convert("CMYK"), "JPEG")
    yield FeedRule.ASPECT, (36003, 2207009), saved(Image.new("RGB", (749, 1000)), "JPEG")
    yield FeedRule.ASPECT, (36003, 2207009), saved(Image.new("RGB", (1920, 1000)), "JPEG")
    yield FeedRule.DAMAGED, (9004, 2207052), saved(square, "JPEG")[:-4000]
    yield FeedRule.SIZE, (36000, 2207004), saved(square, "JPEG") + bytes(9_000_000)


@pytest.mark.parametrize(("rule", "numbers", "jpeg"), list(not_accepted()), ids=short)
def test_our_validator_and_the_stand_in_refuse_the_same(
    rule: FeedRule, numbers: tuple[int, int], jpeg: bytes
) -> None:
    with pytest.raises(PictureNotAccepted) as ours:
        validate_for_instagram(jpeg)
    with pytest.raises(Refused) as theirs:
        pictures.judge(jpeg)
    assert ours.value.rule == rule
    assert (theirs.value.error.code, theirs.value.error.subcode) == numbers


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": b"Exif\0\0II*\0"}])
def test_jpegs_that_instagram_takes_pass_both(options: dict[str, object]) -> None:
    jpeg = saved(astronaut(), "JPEG", **options)
    validate_for_instagram(jpeg)
    pictures.judge(jpeg)


def test_arithmetic_coding_and_segments_that_lie_are_refused() -> None:
    jpeg = saved(astronaut(), "JPEG")
    start = next(i for i in range(len(jpeg)) if jpeg[i : i + 2] == b"\xff\xc0")
    with pytest.raises(PictureNotAccepted) as coding:
        validate_for_instagram(jpeg[: start + 1] + b"\xc9" + jpeg[start + 2 :])
    assert coding.value.rule == FeedRule.CODING
    with pytest.raises(PictureNotAccepted) as lying:
        list(segments(b"\xff\xd8\xff\xe0\xff\xff" + b"\0" * 50))
    assert lying.value.rule == FeedRule.DAMAGED
