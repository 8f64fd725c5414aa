"""Images in memory as one picture to look at: a grid, grouped by class, with what is known of each image."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from objectives.images.images import Images

NEAR, FAR = 96, 192  # pixels: a side below is magnified to about the first, one beyond the second is thinned out
ACROSS = 12  # images on a line
GAP = 4  # pixels between images; half of it between an image and its mask or partner, four times between pairs
LONGEST = 18  # letters of a group's name
PAPER, INK = 255, 40
COLOURS = np.array(  # of classes in masks; the first, often of the background, is dark
    [
        *((40, 40, 70), (230, 60, 50), (50, 160, 70), (60, 100, 230), (240, 200, 40), (60, 200, 210)),
        *((210, 70, 200), (250, 140, 40), (140, 90, 40), (150, 220, 120), (120, 80, 200), (250, 160, 180)),
    ],
    np.uint8,
)
TINT = 0.6  # share of a class's colour where its mask lies over an image


def picture(images: Images, number: int, groups: np.ndarray, names: Sequence[str]) -> bytes:
    """About `number` of the images as a PNG, equally many a group, those of the training part first.

    An image's partner stands at its right, and its mask below, as a tint over the image; unlabelled pixels are grey.

    Args:
        groups: `(N,)`, which group each image belongs to; -1: none, shown last.
        names: of the groups, by number.
    """
    lines = _lines(images, number, groups)
    drawn = [_line(images, rows) for _, rows in lines]
    font = ImageFont.load_default()
    written = [_written(group, names) for group, _ in lines]
    left = math.ceil(max(font.getlength(name) for name in written)) + 2 * GAP
    bottoms = np.cumsum([line.shape[0] + GAP for line in drawn])
    width = left + max(line.shape[1] for line in drawn) + GAP
    canvas = np.full((GAP + bottoms[-1], width, 3), PAPER, np.uint8)
    for line, bottom in zip(drawn, bottoms, strict=True):
        canvas[bottom - len(line) : bottom, left : left + line.shape[1]] = line
    sheet = Image.fromarray(canvas)
    write = ImageDraw.Draw(sheet)
    for name, line, bottom in zip(written, drawn, bottoms, strict=True):
        write.text((GAP, bottom - len(line)), name, fill=(INK, INK, INK), font=font)
    content = io.BytesIO()
    sheet.save(content, format="PNG")
    return content.getvalue()


def _written(group: int | None, names: Sequence[str]) -> str:
    """What stands beside a line; in ASCII, which every font has."""
    name = "" if group is None else names[group] if group >= 0 else "no label"
    return name[:LONGEST].encode("ascii", "replace").decode()


def _lines(images: Images, number: int, groups: np.ndarray) -> list[tuple[int | None, np.ndarray]]:
    """Each line's group, None where it goes on with the one before, and the images on it."""
    found = sorted(set(groups.tolist()), key=lambda group: (group < 0, group))[:number]
    each = number // len(found)
    across = ACROSS if len(found) > 1 else math.isqrt(max(number - 1, 0)) + 1
    order = np.argsort(images.part, kind="stable")
    lines: list[tuple[int | None, np.ndarray]] = []
    for group in found:
        rows = order[groups[order] == group][:each]
        for start in range(0, len(rows), across):
            lines.append((group if start == 0 else None, rows[start : start + across]))
    return lines


def _line(images: Images, rows: np.ndarray) -> np.ndarray:
    """Images side by side, `(h, w, 3)` uint8."""
    cells = []
    for row in rows:
        shown = coloured(images.pixels[row])
        cell = [shown] if images.masks is None else [shown, masked(shown, images.masks[row])]
        parts = [_stacked([_sized(part) for part in cell], axis=0)]
        if images.partner is not None:
            other = _sized(coloured(images.partner[row]))
            parts.append(np.pad(other, ((0, parts[0].shape[0] - len(other)), (0, 0), (0, 0)), constant_values=PAPER))
        cells.append(_stacked(parts, axis=1))
    return _stacked(cells, axis=1, gap=GAP if images.partner is None else 4 * GAP)


def coloured(pixels: np.ndarray) -> np.ndarray:
    """An image `(C, H, W)` as `(H, W, 3)` uint8: one channel is grey, of four the last, of two a third is missing."""
    if pixels.dtype != np.uint8:
        pixels = np.round(255 * pixels.clip(0, 1)).astype(np.uint8)
    pixels = pixels[:3]
    if len(pixels) == 1:
        pixels = pixels.repeat(3, axis=0)
    return np.pad(pixels, ((0, 3 - len(pixels)), (0, 0), (0, 0))).transpose(1, 2, 0)


def masked(shown: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An image `(H, W, 3)` in grey with the colours of its pixels' classes `(H, W)` laid over it."""
    grey = shown.mean(axis=2, keepdims=True).repeat(3, axis=2)
    tint = (1 - TINT) * grey + TINT * COLOURS[mask % len(COLOURS)]
    return np.round(np.where(mask[:, :, None] < 0, grey, tint)).astype(np.uint8)


def _sized(shown: np.ndarray) -> np.ndarray:
    """An image magnified by a whole number or thinned out, each pixel the nearest one's copy."""
    side = max(shown.shape[:2])
    if side > FAR:
        rows, columns = (np.arange(max(1, n * FAR // side)) * side // FAR for n in shown.shape[:2])
        return shown[np.minimum(rows, len(shown) - 1)][:, np.minimum(columns, shown.shape[1] - 1)]
    times = max(1, round(NEAR / side))
    return shown.repeat(times, axis=0).repeat(times, axis=1)


def _stacked(parts: list[np.ndarray], axis: int, gap: int = GAP // 2) -> np.ndarray:
    """Pictures of one height or width in a line, `gap` pixels of paper between them."""
    space = list(parts[0].shape)
    space[axis] = gap
    between = np.full(space, PAPER, np.uint8)
    spaced = [piece for part in parts for piece in (between, part)]
    return np.concatenate(spaced[1:], axis=axis)
