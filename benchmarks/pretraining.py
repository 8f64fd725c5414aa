"""What the pretraining loop costs over a bare torch loop, and what share of a trial its probes take.

The bare loop trains the same model by the same method on the same batches: draw views, loss, backward, clip, AdamW
step; no schedule, no state, no parts. Epochs alternate between the two in one process, on one thread, so that both
meet the same machine. The probes' share is that of a whole trial of the quick start's best kind, at three rungs.

    python benchmarks/pretraining.py [--quick]
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from dataclasses import asdict
from typing import Any

import torch

from objectives import SHELVES
from objectives.images.worth import Probe
from objectives.kinds import Setting
from objectives.kinds.representation import Representation
from objectives.method import Batch
from objectives.optimizer import Optimizer


def setting(method: str, backbone: str, rungs: tuple[int, ...]) -> Setting:
    """A trial on the digits."""
    reader = SHELVES["data"].load("digits")
    knobs = lambda kind, name: asdict(SHELVES[kind].load(name).config())  # noqa: E731
    config: dict[str, Any] = {
        "method": {method: knobs("method", method)},
        "augmentation": {name: knobs("augmentation", name) for name in ("rotation", "translation", "noise")},
        "second_view": {},
        "architecture": {backbone: knobs("architecture", backbone)},
        "optimizer": asdict(Optimizer()),
    }
    return Setting(config, 0, rungs, reader.build(reader.config()), Probe())


def bare_epoch(trial: Representation, optimizer: torch.optim.Optimizer) -> None:
    """One epoch of what anybody would write by hand."""
    loop = trial.loop
    order = torch.randperm(len(loop.images))
    size = loop.met.shape[1]
    for rows in order[: len(order) // size * size].split(size):
        plain = loop.prepare(loop.images[rows])
        views, warps = zip(*(view.placed(plain, loop.draws) for view in loop.views), strict=True)
        normal = [loop.normalise(x).contiguous(memory_format=torch.channels_last) for x in (plain, *views)]
        parts = trial.method.loss(Batch(normal[0], tuple(normal[1:]), loop.draws, rows, warps))
        loss = sum(parts.values()) if isinstance(parts, dict) else parts
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trial.method.parameters(), 1.0)
        optimizer.step()
        trial.method.after_step()


def loop_ratio(method: str, backbone: str, epochs: int) -> dict[str, float]:
    """Median seconds of an epoch of the loop and of the bare one, and the median of their ratios pair by pair."""
    ours, theirs = (Representation(setting(method, backbone, (10_000,))) for _ in range(2))
    trained = [p for p in theirs.method.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-3, weight_decay=1e-4)
    pairs = []
    for epoch in range(epochs + 2):
        runs = [ours.loop.train_epoch, lambda: bare_epoch(theirs, optimizer)]
        seconds = {}
        for side in (0, 1) if epoch % 2 else (1, 0):
            started = time.process_time()
            runs[side]()
            seconds[side] = time.process_time() - started
        pairs.append((seconds[0], seconds[1]))
    pairs = pairs[2:]
    return {
        "loop_s": statistics.median(a for a, _ in pairs),
        "bare_s": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def probe_share(epochs: int) -> float:
    """The share of a trial's seconds that its probes take."""
    started = time.perf_counter()
    trial = Representation(setting("vicreg", "resnet", (epochs // 9, epochs // 3, epochs)))
    probing = sum(metrics["probe_seconds"] for metrics in trial.run())
    return probing / (time.perf_counter() - started)


def main() -> None:
    torch.set_num_threads(1)
    quick = "--quick" in sys.argv
    figures: dict[str, Any] = {}
    for method, backbone in (("simclr", "resnet"), ("vicreg", "resnet"), ("mae", "vit"), ("simclr", "mlp")):
        row = loop_ratio(method, backbone, 6 if quick else 20)
        print(f"{method} {backbone}:", {name: round(value, 4) for name, value in row.items()}, flush=True)
        figures[f"{method}_{backbone}_ratio"] = round(row["ratio"], 3)
    figures["probe_share"] = round(probe_share(18 if quick else 63), 4)
    figures |= {"torch": torch.__version__, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
