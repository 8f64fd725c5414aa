"""Images in folders and zips: layouts, kinds of files, and what is said of broken ones."""

import io
import os
import struct
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from objectives.images.data import image_folder
from objectives.images.images import TEST, TRAIN, UNLABELLED, VALID, DataError, Images

RNG = np.random.default_rng(0)


def picture(height: int = 8, width: int = 8, mode: str = "RGB", value: int | None = None) -> Image.Image:
    noise = RNG.integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(noise if value is None else np.full_like(noise, value)).convert(mode)


def save(file: Path, image: Image.Image, **options: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)


def fill(folder: Path, files: dict[str, int], **options) -> None:
    """So many pictures in each sub-folder."""
    for name, count in files.items():
        for k in range(count):
            save(folder / name / f"{k}.png", picture(**options))


def zipped(folder: Path) -> Path:
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, file.relative_to(folder))
    return target


both_forms = pytest.mark.parametrize("pack", [lambda folder: folder, zipped], ids=["folder", "zip"])


def read(folder: Path, **knobs: object) -> Images:
    return image_folder.build(image_folder.Config(path=str(folder), **knobs))


# ── Layouts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@both_forms
@pytest.mark.parametrize("around", ["", "outer/inner"])
def test_folders_are_classes_or_parts(pack, around: str, tmp_path: Path) -> None:
    fill(tmp_path / "data" / around, {"train/dog": 9, "train/cat/young": 8, "val/cat": 2, "val/dog": 3, "test/cat": 1})
    fill(tmp_path / "data" / around, {"unlabelled": 4, "train/unlabeled": 2})
    images = read(pack(tmp_path / "data"))
    assert images.classes == ("cat", "dog")
    have = Counter(zip(images.part.tolist(), images.labels.tolist(), strict=True))
    assert have == {(TRAIN, 0): 8, (TRAIN, 1): 9, (TRAIN, -1): 6, (VALID, 0): 2, (VALID, 1): 3, (TEST, 0): 1}


def test_a_zip_reads_as_its_folder_does(tmp_path: Path) -> None:
    fill(tmp_path / "data", {"b": 12, "a": 11, "unlabelled": 3})
    one, other = read(tmp_path / "data"), read(zipped(tmp_path / "data"))
    for field in ("pixels", "labels", "part", "classes"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_pixels_and_labels_stay_together(tmp_path: Path) -> None:
    for k, name in enumerate(("ant", "bee", "cow")):
        for n in range(70):
            save(tmp_path / name / f"{n}.png", picture(value=10 * k))
    images = read(tmp_path, limit=60, limit_test=21)
    np.testing.assert_array_equal(images.pixels[:, 0, 0, 0], 10 * images.labels)


def test_the_order_in_which_files_are_listed_does_not_matter(tmp_path: Path, monkeypatch) -> None:
    fill(tmp_path, {"a": 10, "b": 10})
    expected, walk = read(tmp_path), image_folder.os.walk

    def backwards(path, **options):
        return [(folder, folders, files[::-1]) for folder, folders, files in [*walk(path, **options)][::-1]]

    monkeypatch.setattr(image_folder.os, "walk", backwards)
    np.testing.assert_array_equal(read(tmp_path).pixels, expected.pixels)
    np.testing.assert_array_equal(read(tmp_path).part, expected.part)


@pytest.mark.parametrize("where", ["", "unlabelled", "train", "unlabelled/by/month"])
def test_images_without_classes_are_unlabelled(where: str, tmp_path: Path) -> None:
    fill(tmp_path, {where: 10})
    images = read(tmp_path)
    assert images.classes == ()
    assert not images.labelled
    assert (images.labels == UNLABELLED).all()
    assert Counter(images.part.tolist()) == {TRAIN: 6, VALID: 2, TEST: 2}


def test_train_may_be_a_class_among_others(tmp_path: Path) -> None:
    fill(tmp_path, {"train": 4, "car": 4, "bus": 4})
    assert read(tmp_path).classes == ("bus", "car", "train")


def test_training_folders_alone_are_split(tmp_path: Path) -> None:
    fill(tmp_path, {"train/car": 5, "train/bus": 5, "unlabelled": 3})
    images = read(tmp_path)
    assert images.classes == ("bus", "car")
    assert Counter(images.part.tolist()) == {TRAIN: 9, VALID: 2, TEST: 2}


def test_files_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5, "b": 5, ".cache": 1, "__MACOSX/a": 2})
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "a" / "._1.png").write_text("not an image")
    assert len(read(tmp_path)) == 10


def png() -> bytes:
    raw = io.BytesIO()
    picture().save(raw, "png")
    return raw.getvalue()


def test_a_zip_is_read_where_it_lies(tmp_path: Path) -> None:
    fill(tmp_path / "data", {"a": 5})
    (tmp_path / "lone").mkdir()
    zipped(tmp_path / "data").rename(tmp_path / "lone" / "data.zip")
    read(tmp_path / "lone" / "data.zip")
    assert [file.name for file in (tmp_path / "lone").rglob("*")] == ["data.zip"]


EVIL = ["../../cat/0.png", "/cat/0.png", "cat/../../0.png", "..\\cat\\0.png", "C:/0.png", "..", "notes/../../x.txt"]


@pytest.mark.parametrize("name", EVIL)
def test_a_zip_with_names_that_lead_out_of_it_is_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for k in range(5):
            archive.writestr(f"cat/{k}.png", png())
        archive.writestr(name, png())
    with pytest.raises(DataError) as caught:
        read(tmp_path / "data.zip")
    assert f"data.zip: the member {name!r} is no plain path inside the archive" in str(caught.value)


def test_a_zip_with_a_name_that_hides_another_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("cat/0.pngQ.exe", png())
    raw = (tmp_path / "data.zip").read_bytes()
    (tmp_path / "data.zip").write_bytes(raw.replace(b"0.pngQ", b"0.png\0"))
    with pytest.raises(DataError, match=r"the member 'cat/0\.png\\x00\.exe' is no plain path"):
        read(tmp_path / "data.zip")


# ── Images ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_what_is_used_is_decoded(tmp_path: Path, monkeypatch) -> None:
    fill(tmp_path, {"a": 50, "b": 50})
    decoded, decode = [], image_folder._decode
    monkeypatch.setattr(image_folder, "_decode", lambda raw, config: decoded.append(raw) or decode(raw, config))
    assert len(read(tmp_path, limit=6, limit_test=4)) == 14
    assert len(set(decoded)) == 14


@pytest.mark.parametrize("side", [8, 64])  # small files are decoded one by one, large ones by threads
def test_every_image_lands_in_its_place(side: int, tmp_path: Path) -> None:
    pictures = [picture(side, side) for _ in range(40)]
    for k, image in enumerate(pictures):
        save(tmp_path / f"{k:02}.png", image)
    expected = np.stack([np.asarray(image).transpose(2, 0, 1) for image in pictures])
    np.testing.assert_array_equal(read(tmp_path).pixels, expected)
    assert ((tmp_path / "00.png").stat().st_size > image_folder.SMALL) == (side == 64)


def test_channels_are_grey_only_if_all_images_are(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 4, "b": 4}, mode="L")
    grey = np.asarray(Image.open(tmp_path / "a" / "0.png"))
    assert read(tmp_path).shape == (1, 8, 8)
    np.testing.assert_array_equal(read(tmp_path).pixels[0, 0], grey)
    np.testing.assert_array_equal(read(tmp_path, channels="rgb").pixels[0], np.stack([grey] * 3))
    colour = picture()
    save(tmp_path / "a" / "z.png", colour)
    mixed = read(tmp_path)
    np.testing.assert_array_equal(mixed.pixels[4], np.asarray(colour).transpose(2, 0, 1))
    np.testing.assert_array_equal(mixed.pixels[0], np.stack([grey] * 3))
    np.testing.assert_array_equal(read(tmp_path, channels="grey").pixels[4, 0], np.asarray(colour.convert("L")))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_images_of_every_mode_are_read(mode: str, tmp_path: Path) -> None:
    value = 255 if mode == "1" else 204  # which every palette has
    for k in range(5):
        save(tmp_path / f"{k}.{'tif' if mode == 'CMYK' else 'png'}", picture(value=value).convert(mode))
    images = read(tmp_path)
    assert images.shape[0] == (1 if mode in ("1", "L", "LA") else 3)
    np.testing.assert_allclose(images.pixels, value, atol=1)


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    for k in range(5):
        save(tmp_path / f"{k}.png", Image.fromarray(deep))
    np.testing.assert_array_equal(read(tmp_path).pixels[0, 0], deep // 256)


def test_side_resizes_without_aliasing(tmp_path: Path) -> None:
    stripes = np.zeros((64, 96, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than what is left of them: their mean must come out, not one of them
    for k, ending in enumerate(["png", "jpg", "bmp", "png", "jpg"]):
        save(tmp_path / f"{k}.{ending}", Image.fromarray(stripes))
    save(tmp_path / "5.png", picture(8, 8, value=128))
    images = read(tmp_path, side=16)
    assert images.shape == (3, 16, 16)
    np.testing.assert_allclose(images.pixels, 128, atol=10)


def test_a_camera_held_upright_gives_an_upright_image(tmp_path: Path) -> None:
    image, exif = picture(value=0), Image.Exif()
    image.paste((255, 255, 255), (0, 0, 8, 4))  # the upper half
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    for k in range(5):
        save(tmp_path / f"{k}.jpg", image, exif=exif)
    pixels = read(tmp_path).pixels[0, 0]
    assert pixels[:, 0].max() < 50
    assert pixels[:, -1].min() > 200


# ── What is wrong ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_empty_folder_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no images found; expected files ending in \.png"):
        read(tmp_path / "empty")
    with pytest.raises(DataError, match=r"empty\.zip: no images found"):
        read(zipped(tmp_path / "empty"))
    (tmp_path / "some.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"some\.zip: cannot be read as a \.zip .*; expected a folder of images or"):
        read(tmp_path / "some.zip")


def test_a_class_beside_the_parts_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"train/a": 4, "test/a": 4, "other": 1})
    with pytest.raises(DataError, match="found 'other' beside train and test; expected train, valid, val, test"):
        read(tmp_path)


@both_forms
@pytest.mark.parametrize("side", [32, 128])
def test_a_broken_image_is_named(pack, side: int, tmp_path: Path) -> None:
    for k in range(40):
        save(tmp_path / "data" / "a" / f"{k:02}.jpg", picture(side, side))
    broken = tmp_path / "data" / "a" / "33.jpg"
    broken.write_bytes(broken.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"data(\.zip)?: a/33\.jpg cannot be read as an image \(.*truncated"):
        read(pack(tmp_path / "data"))
    broken.write_text("no image at all")
    with pytest.raises(DataError, match=r"a/33\.jpg cannot be read as an image \(cannot identify"):
        read(pack(tmp_path / "data"))


def test_a_broken_member_of_a_zip_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "data", {"a": 6})
    file = zipped(tmp_path / "data")
    raw = bytearray(file.read_bytes())
    start = raw.index(b"a/3.png") + 60
    raw[start : start + 20] = bytes(20)
    file.write_bytes(raw)
    with pytest.raises(DataError, match=r"a/3\.png cannot be read as an image \(Bad CRC"):
        read(file)


def test_images_of_two_sizes_are_named(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 6})
    save(tmp_path / "a" / "z.png", picture(height=9, width=10))
    with pytest.raises(DataError, match=r"a/z\.png has 10 × 9 pixels but a/0\.png has 8 × 8; expected one size"):
        read(tmp_path)
    assert read(tmp_path, side=8).shape == (3, 8, 8)


def test_floating_point_pixels_and_a_negative_side_are_refused(tmp_path: Path) -> None:
    for k in range(5):
        save(tmp_path / f"{k}.tif", Image.fromarray(np.zeros((8, 8), np.float32)))
    with pytest.raises(DataError, match=r"0\.tif cannot be read as an image \(it has pixels of mode F; expected 8 or"):
        read(tmp_path)
    with pytest.raises(ValueError, match="side must not be negative"):
        read(tmp_path, side=-1)


def bomb(side: int) -> bytes:
    """A PNG of side × side pixels, in a few bytes as long as nobody decodes them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(64))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9_000, 12_000, 60_000])
def test_an_image_that_would_fill_the_memory_is_refused_undecoded(side: int, tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5})
    (tmp_path / "a" / "bomb.png").write_bytes(bomb(side))
    with pytest.raises(DataError, match=r"a/bomb\.png cannot be read as an image \(.*pixels"):
        read(tmp_path, side=8)


@both_forms
def test_a_file_that_would_fill_the_memory_is_refused_unread(pack, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(image_folder, "MOST_BYTES", 2000)
    fill(tmp_path / "data", {"a": 5})
    (tmp_path / "data" / "a" / "big.png").write_bytes(bytes(3000))
    with pytest.raises(DataError, match=r"a/big\.png cannot be read as an image \(it has 3000 bytes; expected at most"):
        read(pack(tmp_path / "data"))


def claiming(file: Path, size: int) -> None:
    """Makes the members of a zip say that they inflate to so many bytes."""
    raw = bytearray(file.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = -1
        while (at := raw.find(signature, at + 1)) >= 0:
            struct.pack_into("<I", raw, at + offset, size)
    file.write_bytes(raw)


def test_a_zip_that_claims_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "data", {"a": 6})
    file = zipped(tmp_path / "data")
    claiming(file, 2**27)  # of each, so that it is below the bound of one
    most = image_folder.DEFLATE * file.stat().st_size
    with pytest.raises(DataError, match=rf"data\.zip: its members would inflate to 9\d\d,.* at most {most:,}"):
        read(file)


def test_a_member_inflates_to_what_it_claims_and_no_further(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(image_folder, "MOST_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(5):
            archive.writestr(f"{k}.png", bytes(10**7))
    claiming(tmp_path / "data.zip", 5_000)
    seen: list[int] = []
    monkeypatch.setattr(image_folder, "_decode", lambda raw, config: seen.append(len(raw)))
    with pytest.raises(DataError, match=r"png cannot be read as an image \(Bad CRC"):
        read(tmp_path / "data.zip")
    assert not seen


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_can_only_be_inflated_whole_is_refused(method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w", method) as archive:
        for k in range(5):
            archive.writestr(f"{k}.png", png())
    with pytest.raises(DataError, match=r"png cannot be read as an image \(it is compressed in an unusual way"):
        read(tmp_path / "data.zip")


def test_images_that_would_fill_the_memory_together_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(image_folder, "MEMORY", 6 * 3 * 8 * 8 - 1)
    fill(tmp_path, {"a": 6})
    with pytest.raises(DataError, match=r"6 images of 8 × 8 pixels have 1,152 bytes; expected at most 1,151, half of"):
        read(tmp_path)
    assert len(read(tmp_path, side=7)) == 6


@pytest.mark.parametrize("ways", [1, 2])
def test_links_that_lead_round_in_circles_are_refused(ways: int, tmp_path: Path) -> None:
    fill(tmp_path / "data", {"a": 6})
    for k in range(ways):  # with two, there are 2^40 paths before the system gives up
        (tmp_path / "data" / "a" / f"again{k}").symlink_to(tmp_path / "data")
    with pytest.raises(DataError, match=r"data: \. and a/again\d are one folder; expected links that lead to each"):
        read(tmp_path / "data")


def test_links_that_lead_elsewhere_are_followed(tmp_path: Path) -> None:
    fill(tmp_path, {"elsewhere": 5, "data/a": 5})
    (tmp_path / "data" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "a" / "gone.png").symlink_to(tmp_path / "nothing.txt")
    with pytest.raises(DataError, match=r"a/gone\.png cannot be read as an image \(.*No such file"):
        read(tmp_path / "data")
    (tmp_path / "data" / "a" / "gone.png").unlink()
    assert read(tmp_path / "data").classes == ("a", "b")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5})
    os.mkfifo(tmp_path / "a" / "pipe.png")
    with pytest.raises(DataError, match=r"a/pipe\.png cannot be read as an image \(it is no regular file\)"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"pipe\.png: cannot be read as a \.zip \(it is no regular file\)"):
        read(tmp_path / "a" / "pipe.png")


def test_a_format_that_runs_programs_is_not_read_under_another_name(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 5})
    picture().save(tmp_path / "a" / "z.eps")
    (tmp_path / "a" / "z.eps").rename(tmp_path / "a" / "z.png")
    with Image.open(tmp_path / "a" / "z.png") as image:
        assert image.format == "EPS"  # which Pillow hands to Ghostscript
    with pytest.raises(DataError, match=r"a/z\.png cannot be read as an image \(cannot identify"):
        read(tmp_path)
