"""What a step of each image method costs beside one of SimCLR on the same backbone, images and views, and its memory.

Both train epochs in turns in one process, on one thread, so that both meet the same machine; a ratio is the median of
paired epochs. Where a method needs a backbone that SimCLR would not be given, SimCLR takes that one, too. Memory is the
peak of a process of its own above that of one that has only loaded the data and the libraries.

    python benchmarks/methods.py [--quick] [--data digits|PATH of class folders] [--only simvq ...]

Ends in JSON: `{method: {"backbone": ..., "steps_per_s": ..., "ratio": seconds over SimCLR's, "memory_mb": ...}}`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from objectives import SHELVES  # noqa: E402
from objectives.images.worth import Probe  # noqa: E402
from objectives.kinds import Setting  # noqa: E402
from objectives.kinds.representation import Representation  # noqa: E402
from objectives.optimizer import Optimizer  # noqa: E402

BODIES = ("resnet", "vit", "crate", "mlp")  # the first that meets a method's needs
SIBLING = "simclr"
NONE = "none"


def body(method: str) -> str:
    """The backbone of a method."""
    needs = SHELVES["method"].load(method).needs
    return next(name for name in BODIES if needs <= SHELVES["architecture"].load(name).offers)


def trial(method: str, backbone: str, data: str, batch: int) -> Representation:
    """A trial that has not begun."""
    reader = SHELVES["data"].load("digits" if data == "digits" else "image_folder")
    given = {} if data == "digits" else {"path": data, "limit": 4096, "limit_test": 200}
    knobs = lambda kind, name: asdict(SHELVES[kind].load(name).config())  # noqa: E731
    config: dict[str, Any] = {
        "method": {method: knobs("method", method)},
        "augmentation": {name: knobs("augmentation", name) for name in ("crop", "flip", "jitter")},
        "second_view": {},
        "architecture": {backbone: knobs("architecture", backbone)},
        "optimizer": asdict(Optimizer(batch=batch)),
    }
    return Representation(Setting(config, 0, (1000,), reader.build(reader.config(**given)), Probe()))


def seconds(one: Representation) -> float:
    """Of one step, on average over an epoch."""
    started = time.process_time()
    one.loop.train_epoch()
    return (time.process_time() - started) / len(one.loop.met)


def compared(method: str, data: str, batch: int, epochs: int) -> dict[str, Any]:
    """A method beside its sibling, the first epoch not counted."""
    backbone = body(method)
    pair = trial(method, backbone, data, batch), trial(SIBLING, backbone, data, batch)
    rows = [tuple(seconds(one) for one in (pair if turn % 2 else pair[::-1])) for turn in range(epochs + 1)][1:]
    rows = [row if turn % 2 == 0 else row[::-1] for turn, row in enumerate(rows)]
    return {
        "backbone": backbone,
        "views": pair[0].method.views,
        "steps_per_s": round(1 / statistics.median(own for own, _ in rows), 2),
        "ratio": round(statistics.median(own / other for own, other in rows), 2),
    }


def peak(method: str, data: str, batch: int) -> float:
    """MB of a process at its highest that has trained an epoch by a method; of no method, has only loaded."""
    command = [sys.executable, __file__, "--peak", method, "--data", data, "--batch", str(batch)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two epochs")
    parser.add_argument("--data", default="digits", help="digits, or a folder or zip of class folders")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--only", nargs="*", default=[], help="these methods")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.peak:
        method = SIBLING if asked.peak == NONE else asked.peak
        one = trial(method, body(method), asked.data, asked.batch)
        if asked.peak != NONE:
            one.loop.train_epoch()
        # Not getrusage's: that begins with the peak of the process from which this one was started.
        high = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        print(int(high.split()[1]) / 1024)
        return
    idle, found = peak(NONE, asked.data, asked.batch), {}
    for method in asked.only or SHELVES["method"].names():
        found[method] = compared(method, asked.data, asked.batch, 2 if asked.quick else 9)
        found[method]["memory_mb"] = round(peak(method, asked.data, asked.batch) - idle)
        print(method, found[method], file=sys.stderr, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
