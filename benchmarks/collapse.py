"""Is collapse seen, and only where it is? Trials that are made to collapse, and trials that are not, on digits.

    python benchmarks/collapse.py [--quick]

Injected: a term in the loss, or a blow to the weights or the loss, from the first step on; five kinds × three methods.
Mistakes: what a study or a method can get wrong, which need not show in the features; told beside the rest, and no part
of what is wanted. Healthy: every image method on every backbone that serves it. Ends in JSON:
`{"injected": n, "flagged": n, "named": n, "latest": share of the budget, "mistakes": n, "mistakes_flagged": n,
"healthy": n, "alarms": n}`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from objectives.collapse import Collapsed
from objectives.kinds import Failed, Setting
from objectives.kinds.representation import Representation
from search.run import load_data, load_study
from search.strategies import draw_evenly

EPOCHS = 150
HEALTHY = 27  # epochs of a healthy trial
METHODS = ("simclr", "byol", "vicreg")
STUDY = Path(__file__).parent / "digits_table.yaml"
BODIES: dict[str, dict[str, Any]] = {
    "resnet": {"width": 8},
    "vit": {"patch": 2, "heads": 2, "depth": 1},
    "mlp": {"width": 128},
    "convnext": {"width": 8, "depth": 1, "stages": 2},
}
WEIGHT = 30.0  # of an injected term, beside the method's own loss


def standardised(x: Tensor) -> Tensor:
    """Features `(B, D)` with mean square 1 over the batch as it is, gradients kept."""
    return x / (x.detach().pow(2).mean().sqrt() + 1e-6)


def shrink(x: Tensor) -> Tensor:
    """Pulls all images to one place: constant collapse."""
    x = standardised(x)
    return (x - x.mean(dim=0)).pow(2).sum(dim=1).mean()


def flatten(x: Tensor) -> Tensor:
    """Pulls all images to one line: dimensional collapse."""
    x = standardised(x)
    x = x - x.mean(dim=0)
    line = torch.linalg.svd(x.detach(), full_matrices=False).Vh[0]
    return (x - (x @ line)[:, None] * line).pow(2).sum(dim=1).mean()


def crowd(x: Tensor) -> Tensor:
    """Pulls every image to the nearest of four places, each a quarter of the dimensions: cluster collapse."""
    x = standardised(x)
    places = 2 * torch.eye(4).repeat_interleave(-(-x.shape[1] // 4), dim=1)[:, : x.shape[1]]
    return torch.cdist(x, places).amin(dim=1).pow(2).mean()


def pulled(pull: Callable[[Tensor], Tensor]) -> Callable[[Representation], None]:
    """Adds a term to the loss of a trial's method."""

    def injure(trial: Representation) -> None:
        method, own = trial.method, trial.method.loss

        def loss(batch: Any) -> Any:
            parts = own(batch)
            parts = parts if isinstance(parts, dict) else {"own": parts}
            return {
                **{n: 0.01 * p for n, p in parts.items()},
                "pull": WEIGHT * pull(method.encode(batch.images)),
            }

        method.loss = loss  # type: ignore[method-assign]

    return injure


def poison(trial: Representation) -> None:
    """Puts a NaN into the weights after some steps."""
    own = trial.method.after_step

    def after() -> None:
        own()
        if trial.loop.step == 5:
            with torch.no_grad():
                next(trial.backbone.parameters()).view(-1)[0] = float("nan")

    trial.method.after_step = after  # type: ignore[method-assign]


def runaway(trial: Representation) -> None:
    """Has the loss grow by a fifth at every step, as where a scale is fed back."""
    own = trial.method.loss

    def loss(batch: Any) -> Any:
        parts = own(batch)
        parts = parts if isinstance(parts, dict) else {"own": parts}
        return {name: 1.2**trial.loop.step * part for name, part in parts.items()}

    trial.method.loss = loss  # type: ignore[method-assign]


KINDS: dict[str, tuple[Callable[[Representation], None], tuple[str, ...]]] = {
    "constant": (pulled(shrink), ("constant",)),
    "dimensional": (pulled(flatten), ("dimensional",)),
    "cluster": (pulled(crowd), ("cluster", "dimensional")),
    "not a number": (poison, ("not a number",)),
    "divergence": (runaway, ("divergence", "not a number")),
}


def hurried(trial: Representation) -> None:
    """A learning rate a thousand times too large."""
    trial.loop.config = dataclasses.replace(trial.loop.config, lr=1000 * trial.loop.config.lr)


def erased(trial: Representation) -> None:
    """An augmentation that leaves nothing of an image."""
    trial.loop.views = tuple(lambda images, _: torch.zeros_like(images) for _ in trial.loop.views)


def unguarded(trial: Representation) -> None:
    """What keeps the method from its trivial solution is taken away."""
    method: Any = trial.method
    match next(iter(trial.setting.config["method"])):
        case "byol":
            method.predictor = torch.nn.Identity()
            method.teacher.base = 0.0
        case "vicreg":
            method.config = dataclasses.replace(method.config, variance=0.0, covariance=0.0)
        case "simclr":
            method.temperature = 1e4


MISTAKES = {"hurried": hurried, "erased": erased, "unguarded": unguarded}


def trial(study: Any, data: Any, number: int, method: str = "", body: str = "", epochs: int = EPOCHS) -> Representation:
    """A trial of the study of digits, of a method and a backbone if they are named."""
    config = draw_evenly(study.space, 0, number)
    if method:
        config["method"] = {method: study_default("method", method)}
    if body:
        config["architecture"] = {body: {**study_default("architecture", body), **BODIES[body]}}
    config["optimizer"] |= {"lr": 0.0045, "batch": 64}
    rungs = tuple(sorted({max(1, epochs // 9), max(1, epochs // 3), epochs}))
    return Representation(Setting(config, number, rungs, data, study.probe, 1, "cpu"))


def study_default(kind: str, name: str) -> dict[str, Any]:
    """The knobs of a component at their defaults."""
    from objectives import SHELVES
    from spaces.components import fields

    return {field.name: field.default for field in fields(SHELVES[kind].load(name).config)}


def outcome(one: Representation, until: int) -> Collapsed | None:
    """How a trial that is followed so far collapses, if it does."""
    try:
        for _ in one.run():
            if one.epoch >= until:
                return None
    except Collapsed as collapsed:
        return collapsed
    except Failed as failure:
        raise SystemExit(f"failed otherwise: {failure}") from None
    return None


def injured(
    study: Any, data: Any, kind: str, injure: Callable[[Representation], None], quick: bool
) -> Iterator[Collapsed | None]:
    """How a trial of each method, injured, fares in the first tenth of its budget."""
    for number, method in enumerate(METHODS[: 1 if quick else 3]):
        one = trial(study, data, number, method, "resnet")
        injure(one)
        found = outcome(one, EPOCHS // 10)
        print(f"{kind:<14} {method:<8} {found or 'not seen'}", flush=True)
        yield found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one method, and six healthy trials")
    asked = parser.parse_args()
    study = load_study(str(STUDY))
    data = load_data(study)
    names = ("injected", "flagged", "named", "latest", "mistakes", "mistakes_flagged", "healthy", "alarms")
    figures: dict[str, Any] = dict.fromkeys(names, 0)
    for kind, (injure, causes) in KINDS.items():
        for found in injured(study, data, kind, injure, asked.quick):
            figures["injected"] += 1
            figures["flagged"] += found is not None
            figures["named"] += found is not None and found.cause in causes
            if found is not None:
                figures["latest"] = max(figures["latest"], found.epoch / EPOCHS)
    for kind, injure in MISTAKES.items():
        for found in injured(study, data, kind, injure, asked.quick):
            figures["mistakes"] += 1
            figures["mistakes_flagged"] += found is not None
    pairs = [(m, b) for m in study.space.parts["method"].branches for b in BODIES]
    pairs = [(m, b) for m, b in pairs if m != "mae" or b == "vit"]
    for number, (method, body) in enumerate(pairs[:: 4 if asked.quick else 1]):
        found = outcome(trial(study, data, number, method, body, HEALTHY), HEALTHY)
        figures["healthy"] += 1
        figures["alarms"] += found is not None
        print(f"healthy        {method} + {body}: {found or 'no alarm'}", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
