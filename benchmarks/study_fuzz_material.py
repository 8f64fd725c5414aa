"""What `study_fuzz.py` damages studies with, and the texts that it damages beside the shipped ones."""

from __future__ import annotations

from typing import Any

CIRCUITS = """\
wires: 4
gates: {RX: 1, RZ: 1, CZ: 2}
coupling: {edges: [[0, 1], [1, 2], [2, 3]]}
coupling_of: {CZ: ring}
length: 12
depth: 8
reject: gate
"""
TYING = """\
name: tying
data: digits
space:
  method:
    simclr:
      temperature: {log: [0.05, 1.0], default: 0.2, confidence: high}
      out: {either: [16, {log: [32, 64]}]}
    vicreg: {either: {usual: default, wide: {variance: search, out: {same: simclr.out.2}}}}
    byol: {momentum: {either: [search, {either: {low: 0.9, high: 0.99}}]}}
  augmentation:
    sequence:
      of: {crop: search, jitter: {strength: {uniform: [0, 1], step: 0.25}}, blur: search}
      length: [1, 3]
  architecture: {resnet: {width: {ordinal: [16, 32]}, depth: {int: [1, 3]}}}
  optimizer: {lr: {log: [1e-4, 1e-2], default: 1e-3}, weight_decay: {either: [1e-8, {same: optimizer.lr}]}}
  where:
    - method != 'simclr' or resnet.depth < 3
    - jitter.strength + 0.1 < 2 and not resnet.width * 2 > 100
budget: {trials: 9, epochs: 12}
search:
  metric: [linear_accuracy, rankme]
  mode: [max, auto]
  subject_to: [linear_accuracy > 0.5]
"""
REPEATING = """\
include: quickstart
name: repeating
space:
  augmentation: {sequence: {of: [crop, flip, noise], repeat: true, length: 3}}
  optimizer: {lr: {either: {slow: 1e-4, fast: {log: [1e-3, 1e-2], default: 3e-3, confidence: low}}}}
  where: optimizer.lr < 0.009
search: {metric: linear_accuracy, mode: max, subject_to: linear_accuracy * 2 >= 0.25}
"""
SIGNS = [
    *("&a ", "*a", "&a [*a]", "<<: *a", "<<: {x: 1}", "!!str ", "!!python/object:os.system ", "! ", "? ", ": ", "- "),
    *("{", "}", "[", "]", ",", "#", "'", '"', "|", ">", "|2+\n", "%YAML 1.1\n---\n", "---\n", "...\n", "%TAG ! x\n"),
    *(
        "\t",
        "\r",
        "\r\n",
        "\n",
        "\0",
        "\x1b[31m",
        "\x85",
        "\u2028",
        "\ufeff",
        "\u202e",
        "\ud800",
        "\U0001f600",
        "@",
        "`",
    ),
    *("null", "~", ".nan", "2020-01-01", "=", "<<", "\\", '"\\x00"', '"\\ud800"', "__class__", "a: &a [*b]", " " * 50),
]
NUMBERS = [
    "1" + "0" * 5000,
    "1e999",
    "-1e999",
    ".nan",
    ".inf",
    "-.inf",
    "-1",
    "0",
    "0x" + "f" * 5000,
    "1e-400",
    "1_0",
    "2.5",
]
JUNK: list[Any] = [
    *(None, True, False, 0, -1, 2**63, 10**400, 2.5, -0.0, 1e308, 5e-324, float("nan"), float("inf"), "", " ", ".."),
    *("../x", "/etc/passwd", "\0", "\u202e", "x" * 10_000, "search", "default", "off", [], {}, [[]], [{}], {"": None}),
    *(
        [1, 2],
        [2, 1],
        [1, 1],
        ["search"],
        {"log": [1, 2]},
        {"int": [1, 3]},
        {"uniform": [0, 1]},
        {"choice": [1, "a", None]},
    ),
    *(
        {"choice": []},
        {"choice": [[1]]},
        {"log": [0, 1]},
        {"log": {"a": 1}},
        {"int": [1]},
        {"edges": [[0, 0]]},
        {"edges": 3},
    ),
    *(
        {"ordinal": [1, 2, "a"]},
        {"uniform": [0, 1], "step": 1e-300, "default": 0.5, "confidence": "high"},
        {"int": [1, 9], "step": 2, "default": 3},
        {"either": [0, {"either": [1, {"log": [1, 2]}]}]},
        {"either": {"a[b": 1, "c.d": {"same": "lr"}}},
        {"same": "lr"},
        {"same": "method"},
        {"sequence": {"of": "search", "length": [0, 2]}},
        {"sequence": {"of": {}, "length": 10**400, "repeat": True}},
    ),
    *(
        "lr < 1",
        "lr > 1 and",
        "9**9**9 < lr",
        "__import__('os').system('x') < lr",
        "lr < " + "(" * 99,
        "a.b.c",
        "x[0] < 1",
    ),
    *(["lr < 1"] * 3, ["lr > 2", "lr < 1"], ["epochs < 1", "'\\d' == method", "method == 'simclr' or lr < 0.1"]),
    *(
        {"grid": [2, 3]},
        {"grid": [10**9, 10**9]},
        {"heavy_hex": 10**6},
        {"directed": [[0, 1, 2]]},
        {"edges": [[0, 10**400]]},
    ),
]
