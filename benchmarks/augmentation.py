"""Augmented views a second of one core, ours against kornia's: `python benchmarks/augmentation.py [--quick]`.

The chain is crop, flip, jitter and grey with the same parameters and probabilities on both sides, on one torch
thread. Both take turns in one process and the medians of the turns are compared; a turn is timed by the CPU time
that it used, so that other programs on the machine count less. kornia crops in two ways (`slice`, `resample`);
the faster one counts.
The last line is one JSON object with the figures of the main case, 32×32 pixels in batches of 256.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import kornia
import kornia.augmentation as K
import torch
from torch import Tensor, nn

from objectives.images.augmentations import crop, flip, grey, jitter
from objectives.images.views import Views

CASES = [(256, 32), (64, 32), (256, 8), (64, 96), (16, 224)]  # images a batch, pixels a side; the first is the main one
CROP, JITTER = crop.Config(), jitter.Config(strength=0.5)


def ours() -> Callable[[Tensor], Tensor]:
    """The chain as the house runs it."""
    views = Views([crop.build(CROP), flip.build(flip.Config()), jitter.build(JITTER), grey.build(grey.Config())])
    generator = torch.Generator().manual_seed(0)
    return lambda images: views(images, generator)


def kornias(side: int, mode: str) -> Callable[[Tensor], Tensor]:
    """The chain of kornia's modules, cropping by `slice` or by `resample`."""
    s = JITTER.strength
    return nn.Sequential(
        K.RandomResizedCrop(
            (side, side),
            scale=(CROP.scale, 1.0),
            ratio=(1 / CROP.ratio, CROP.ratio),
            align_corners=False,
            cropping_mode=mode,
        ),
        K.RandomHorizontalFlip(p=flip.Config().p),
        K.ColorJitter(
            brightness=s * JITTER.brightness,
            contrast=s * JITTER.contrast,
            saturation=s * JITTER.saturation,
            hue=s * JITTER.hue,
            p=JITTER.p,
        ),
        K.RandomGrayscale(p=grey.Config().p),
    )


def compare(batch: int, side: int, seconds: float) -> dict[str, float]:
    """Views a second of each chain: the medians of turns taken in alternation for about `seconds`."""
    images = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
    chains = {"ours": ours(), "slice": kornias(side, "slice"), "resample": kornias(side, "resample")}
    turns: dict[str, list[float]] = {name: [] for name in chains}
    for chain in chains.values():
        chain(images)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(turns["ours"]) < 3:
        for name, chain in chains.items():
            begin = time.process_time()
            chain(images)
            turns[name].append(time.process_time() - begin)
    return {name: batch / median(times) for name, times in turns.items()}


def machine() -> str:
    """The CPU's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    """Prints a table, then the main case as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the main case only, for a few seconds")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    results = []
    print("batch  side     ours   kornia: slice  resample    ratio   (views a second of CPU time)")
    for batch, side in CASES[:1] if quick else CASES:
        speed = compare(batch, side, seconds=4 if quick else 12)
        best = max(speed["slice"], speed["resample"])
        results.append((speed["ours"], best))
        print(
            f"{batch:5d} {side:5d} {speed['ours']:8.0f} {speed['slice']:15.0f} {speed['resample']:9.0f}"
            f" {speed['ours'] / best:8.1f}"
        )
    mine, theirs = results[0]
    summary = {
        "ours_views_per_s": round(mine),
        "kornia_views_per_s": round(theirs),
        "ratio": round(mine / theirs, 2),
        "machine": machine(),
        "torch": torch.__version__,
        "kornia": kornia.__version__,
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
