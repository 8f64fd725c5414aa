"""Images in memory: what they know of each other, what they are told apart by."""

import zlib
from dataclasses import replace

import numpy as np
import pytest

from objectives.images.images import Images


def some(**more: np.ndarray) -> Images:
    pixels = np.arange(4 * 3 * 2 * 5, dtype=np.uint8).reshape(4, 3, 2, 5)
    return Images(pixels, np.arange(4), np.zeros(4, np.int8), ("a", "b", "c", "d"), **more)


EXTRA = {
    "partner": np.ones((4, 3, 2, 5), np.uint8),
    "factors": np.ones((4, 2), np.int64),
    "masks": np.ones((4, 2, 5), np.int16),
}


def test_the_digest_of_plain_images_is_that_of_three_arrays_and_more_that_is_known_changes_it() -> None:
    plain = some()
    crc = 0
    for array in (plain.pixels, plain.labels, plain.part):
        crc = zlib.crc32(array.tobytes(), crc)
    assert plain.digest() == f"{crc:08x}"
    digests = [plain.digest(), some(**EXTRA).digest()]
    for name, array in EXTRA.items():
        changed = array.copy()
        changed[0, 0] = 0
        digests += [some(**{name: array}).digest(), some(**{name: changed}).digest()]
    assert len(set(digests)) == 8
    alike = np.zeros((4, 15), np.int64)  # the bytes of a partner of 4 × 10 pixels
    wide = replace(plain, pixels=np.zeros((4, 3, 4, 10), np.uint8))
    partner = np.zeros((4, 3, 4, 10), np.uint8)
    assert partner.tobytes() == alike.tobytes()
    assert replace(wide, factors=alike).digest() != replace(wide, partner=partner).digest()


def test_a_summary_names_what_is_known_beside_labels() -> None:
    assert some().summary().endswith("no labels to probe with")
    assert some(**EXTRA).summary().endswith("no labels to probe with, partners, 2 factors, masks")
    assert some(factors=np.zeros((4, 1), np.int64)).summary().endswith(", 1 factor")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("partner", EXTRA["partner"][:3]),
        ("partner", EXTRA["partner"].astype(np.float32)),
        ("factors", EXTRA["factors"][:, 0]),
        ("factors", EXTRA["factors"].astype(np.int32)),
        ("masks", EXTRA["masks"][:, :1]),
        ("masks", EXTRA["masks"].astype(np.int64)),
        ("masks", np.int16(3)),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(name: str, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=f"{name} are .*; expected "):
        some(**{name: wrong})
