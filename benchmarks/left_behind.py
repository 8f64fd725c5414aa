"""No method left behind: every image method with an equal budget of its own, beside the same at its defaults; and how
well scores without labels agree with the probe over all these trials.

    python benchmarks/left_behind.py digits [--quick]
    python benchmarks/left_behind.py cifar10-images.zip      a zip of class folders; an hour on two cores

Every method gets 16 trials by TPE and ASHA. Ends in JSON:
`{"within": {"searched": n, "default": n}, "of": n, "best": {...}, "label_free": {score: ρ}, "choice": {...}}`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from search.compare.agreement import agreement  # noqa: E402
from search.ledger import History, read  # noqa: E402

NEAR = 0.10  # within so much of the best, a method is not left behind
DIGITS = """\
data: digits
space:
  method: {methods}
  augmentation:
    rotation: {{degrees: {rotation}, p: 1}}
    crop: {{scale: {crop}, ratio: 1.1}}
    translation: {{shift: 0.1}}
    jitter: {{strength: {jitter}}}
    noise: {{std: 0.15, p: 1}}
  architecture: {{resnet: {{width: 16}}, vit: {{patch: 2, heads: 2, depth: 2}}}}
  optimizer: {{lr: {rate}}}
probe: {{shots: 5, draws: 20}}
"""
IMAGES = """\
data: {{image_folder: {{path: {path}, limit: 10000, limit_test: 1000}}}}
space:
  method: {methods}
  augmentation: {{crop: {{scale: {crop}}}, flip: default, jitter: {{strength: {jitter}}}, grey: default}}
  architecture: {{resnet: {{width: 8}}, vit: {{patch: 8, heads: 2, depth: 2}}}}
  optimizer: {{lr: {rate}, batch: 256}}
"""
OPEN = {
    "methods": "search", "rate": "{log: [3e-4, 1e-2]}", "crop": "{uniform: [0.15, 1]}",
    "jitter": "{uniform: [0, 1]}", "rotation": "{uniform: [0, 30]}",
}  # fmt: skip
CLOSED = {"methods": "default", "rate": "default", "crop": "default", "jitter": "default", "rotation": "default"}


def study(name: str, data: str, knobs: dict[str, str], trials: int, epochs: int, metric: str) -> str:
    """A study in which every method has so many trials."""
    text = DIGITS if data == "digits" else IMAGES
    scheduler = "{none: {reports: 1}}" if trials == 1 else "asha"
    return (
        f"name: {name}\n"
        + text.format(path=data, **knobs)
        + f"budget: {{trials: {trials}, epochs: {epochs}, per: method}}\n"
        + f"search: {{strategy: tpe, scheduler: {scheduler}, metric: {metric}, seed: 0}}\n"
    )


def ran(text: str, place: Path) -> History:
    """The history of a study, run by the command line."""
    place.mkdir(parents=True, exist_ok=True)
    path = place / "study.yaml"
    path.write_text(text)
    command = [sys.executable, "-m", "search", "run", str(path), "--resume", "--out", str(place / "run")]
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
    return read(place / "run/ledger.jsonl")[0]


def best(history: History) -> dict[str, float]:
    """The best value of each method among its trials of full length."""
    found: dict[str, float] = {}
    for trial in history.trials.values():
        value, method = trial.value(history.header["metric"]), next(iter(trial.config["method"]))
        if value is not None and history.state(trial) == "complete":
            found[method] = max(value, found.get(method, value))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", help="digits, or a zip or folder of class folders")
    parser.add_argument("--epochs", type=int, default=0, help="27 on digits, 9 on images")
    parser.add_argument("--trials", type=int, default=16, help="of each method")
    parser.add_argument("--out", type=Path, help="where runs are kept, to go on with them")
    parser.add_argument("--quick", action="store_true", help="4 trials of 3 epochs a method")
    asked = parser.parse_args()
    digits = asked.data == "digits"
    data = asked.data if digits else str(Path(asked.data).resolve())
    epochs = 3 if asked.quick else asked.epochs or (27 if digits else 9)
    trials, metric = 4 if asked.quick else asked.trials, "few_shot_accuracy" if digits else "linear_accuracy"
    place = asked.out or Path(tempfile.mkdtemp(prefix="left-behind-"))
    searched = ran(study("searched", data, OPEN, trials, epochs, metric), place / "searched")
    default = ran(study("default", data, CLOSED, 1, epochs, metric), place / "default")
    print(json.dumps(summary(searched, default, metric)))


def summary(searched: History, default: History, metric: str) -> dict[str, Any]:
    """The figures of both runs; what is within reach is so of the best that either found."""
    after, before = best(searched), best(default)
    top = max([*after.values(), *before.values()])
    near = {
        name: sum(value >= top - NEAR for value in found.values())
        for name, found in (("searched", after), ("default", before))
    }
    epoch, scores = agreement(searched)
    trials = [t for t in searched.trials.values() if any(rung.epoch == epoch for rung in t.rungs)]
    oracle = max(r.metrics[metric] for t in trials for r in t.rungs if r.epoch == epoch) if trials else None
    return {
        "metric": metric,
        "within": near,
        "of": len(after),
        "best": {method: {"searched": after[method], "default": before.get(method)} for method in sorted(after)},
        "label_free": {one.score: round(one.rho, 3) for one in scores},
        "choice": {one.score: one.value for one in scores} | {"labels": oracle},
        "compared": {"epoch": epoch, "trials": len(trials)},
    }


if __name__ == "__main__":
    main()
