"""A catalogue of made-up components, and a study of them to start from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from spaces.components import Catalogue, Shelf
from spaces.document import parse
from spaces.study import Study, read_study

HEAD = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Annotated
from spaces.domains import Choice, Int, Log, Uniform
from spaces.study import OneOf, SomeOf

def build(config, *args):
    return config, args

"""
EMPTY = "@dataclass(frozen=True)\nclass Config:\n    pass\n"
FILES = {
    "objectives/pretrain": EMPTY
    + """
@dataclass(frozen=True)
class Metric:
    mode: str

@dataclass(frozen=True)
class Probe:
    k: Annotated[int, Int(1, 50)] = 20

@dataclass(frozen=True)
class Optimizer:
    lr: Annotated[float, Log(1e-5, 1.0)] = 0.001
    batch: Annotated[int, Choice(16, 32, 64)] = 32

DATA = True
PARTS = {
    "method": OneOf("method"),
    "views": SomeOf("view", default=("flip", "crop")),
    "body": OneOf("body", default=("cnn",), serves="method"),
    "optimizer": Optimizer,
}
METRICS = {"accuracy": Metric("max"), "loss": Metric("min")}
""",
    "objectives/toy": EMPTY
    + """
class Metric:
    mode = "min"

DATA, PARTS, METRICS, Probe = False, {"function": OneOf("body")}, {"value": Metric}, None
""",
    "data/digits": EMPTY,
    "data/npz": '@dataclass(frozen=True)\nclass Config:\n    path: str = ""\n    limit: int = 0\n',
    "data/broken": 'raise AssertionError("only what a study names is imported")',
    "methods/alpha": """
@dataclass(frozen=True)
class Config:
    temperature: Annotated[float, Log(0.05, 1.0)] = 0.5
    share: Annotated[float, Uniform(0.0, 1.0)] = 0.25
    heads: Annotated[int, Int(1, 8)] = 2
    size: Annotated[int, Int(1, 4096, log=True)] = 64
    width: Annotated[int, Choice(16, 32, 64)] = 32
    kind: Annotated[str, Choice("cosine", "sine")] = "cosine"
    warm: Annotated[bool, Choice(True, False)] = True
    steps: int = 5
    note: str = "none"
""",
    "methods/beta": """
@dataclass(frozen=True)
class Config:
    low: Annotated[float, Uniform(0, 1)] = 0.2
    high: Annotated[float, Uniform(0, 1)] = 0.8

    def __post_init__(self):
        if self.low > self.high:
            raise ValueError(f"low must not exceed high, got {self.low} and {self.high}")
""",
    "methods/mask": 'NEEDS = ("tokens",)\n' + EMPTY,
    "methods/_shared": "raise AssertionError",
    "views/blur": EMPTY,
    "views/crop": "@dataclass(frozen=True)\nclass Config:\n    scale: Annotated[float, Uniform(0.1, 1)] = 0.5\n",
    "views/flip": EMPTY,
    "bodies/cnn": "@dataclass(frozen=True)\nclass Config:\n    depth: Annotated[int, Int(1, 4)] = 2\n",
    "bodies/mlp": EMPTY,
    "bodies/vit": 'OFFERS = ("tokens", "grid")\n' + EMPTY,
    "strategies/tree": "@dataclass(frozen=True)\nclass Config:\n    startup: Annotated[int, Int(1, 100)] = 10\n",
    "strategies/tpe": EMPTY,
    "schedulers/asha": "@dataclass(frozen=True)\nclass Config:\n    eta: Annotated[int, Int(2, 10)] = 3\n",
}
KINDS = {
    "objective": "objectives",
    "data": "data",
    "method": "methods",
    "view": "views",
    "body": "bodies",
    "strategy": "strategies",
    "scheduler": "schedulers",
}


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    root = tmp_path_factory.mktemp("catalogue")
    for name, text in FILES.items():
        path = root / "made_up" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        yield {kind: Shelf(kind, f"made_up.{package}") for kind, package in KINDS.items()}
    for name in [name for name in sys.modules if name.partition(".")[0] == "made_up"]:
        del sys.modules[name]


BASE = """\
name: base
about: a study
objective: pretrain
data: digits
space:
  method:
    alpha: {temperature: {log: [0.1, 0.5]}, heads: 3}
    beta: search
  views: {crop: search, blur: off}
  body: cnn
  optimizer: {lr: {log: [1e-4, 1e-1]}}
probe: {k: 5}
budget: {trials: 8, epochs: 9}
search: {strategy: tree, scheduler: {asha: {eta: 4}}, metric: accuracy, mode: max, seed: 1}
resources: {cpu: 2, gpu: 0.5}
"""


@pytest.fixture(scope="session")
def edited() -> Callable[[int, str], str]:
    """The base study with one line replaced; line 0 is none of them."""

    def edit(line: int, text: str) -> str:
        return "\n".join(text if number == line else old for number, old in enumerate(BASE.splitlines(), 1))

    return edit


@pytest.fixture(scope="session")
def read(catalogue: Catalogue) -> Callable[[str], Study]:
    """Reads the study in a text."""
    return lambda text: read_study(parse(text, "s.yaml"), catalogue)
