"""Thousands of damaged studies: none may end in a traceback, take over two seconds, or be told with a wrong line.

    python benchmarks/study_fuzz.py [--quick] [--count 10000] [--seed 0] [--only NUMBER]

Every study starts as a shipped one (or as one of two that use every form of the space language, or as a circuit space,
which is a file of its own) and is damaged a few times: its lines and characters are deleted, doubled, swapped and
moved, numbers become huge or none, words long, YAML's signs, anchors and foreign bytes come in between; or its tree is
damaged, and values, keys and branches of this study and of others trade places; or a `--set` is thrown at it. It is
then read and sampled as by `pretune check`, without its data. A seed and a number make the same study again, and
`--only` shows it. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.study_fuzz_material import CIRCUITS, JUNK, NUMBERS, REPEATING, SIGNS, TYING
from search.run import CATALOGUE
from spaces.circuits.reading import read_sampler
from spaces.document import Node, StudyError, assign, parse
from spaces.inclusion import Source, included
from spaces.knobs import size
from spaces.shipped import shipped
from spaces.space import Group, draws, walk
from spaces.study import read_study

MOST_SECONDS = 2.0
FILE = "study.yaml"
Reader = Callable[[str], Any]


def main() -> None:
    """Prints what was found, then JSON; exit code 1 if anything was."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="500 studies")
    parser.add_argument("--count", type=int, help="studies, by default 10000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this one alone, shown")
    given = parser.parse_args()
    count = given.count or (500 if given.quick else 10_000)
    warm()
    found, slowest = Counter[str](), 0.0
    for number in range(count) if given.only is None else [given.only]:
        case = damaged(Random(f"{given.seed}-{number}"))
        verdict = judged(case)
        found[verdict.kind] += 1
        slowest = max(slowest, verdict.seconds)
        if given.only is not None:
            print(case.text, case.settings, verdict.said, sep="\n")
        elif verdict.kind not in ("refused", "accepted"):
            print(f"{number}: {verdict.kind} ({case.source}): {verdict.said[-1500:]}", file=sys.stderr)
    faults = {kind: found[kind] for kind in ("tracebacks", "hangs", "wrong_lines", "untidy")}
    done = {"studies": found.total(), "refused": found["refused"], "accepted": found["accepted"]}
    print(json.dumps({**done, **faults, "slowest_seconds": round(slowest, 3)}))
    sys.exit(any(faults.values()))


@dataclass(frozen=True)
class Case:
    """A damaged study: where it comes from, its text, and settings as of `--set`."""

    source: str
    text: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What became of it: `refused`, `accepted`, or a fault; and what was said."""

    kind: str
    said: str
    seconds: float


def warm() -> None:
    """Imports every component, so that no study pays for it."""
    for shelf in CATALOGUE.values():
        for name in shelf.names():
            shelf.load(name)


def sources() -> dict[str, str]:
    """The texts that are damaged, by name."""
    own = {"circuit space": CIRCUITS, "tying": TYING, "repeating": REPEATING}
    return {name: path.read_text(encoding="utf-8") for name, path in shipped().items()} | own


# ── Damage ────────────────────────────────────────────────────────────────────────────────────────────────────────────

SOURCES = sources()
WORDS = sorted({word for text in SOURCES.values() for word in re.findall(r"[a-z_]\w+", text)})


def damaged(rng: Random) -> Case:
    """A study that one generator damages."""
    source = rng.choice(list(SOURCES))
    text = SOURCES[source]
    settings: tuple[str, ...] = ()
    way = rng.random()
    if way < 0.35:
        text = tree_damaged(text, rng)
    elif way < 0.45 and source != "circuit space":
        settings = tuple(setting(parse(text, FILE).plain(), rng) for _ in range(rng.randint(1, 3)))
    if way > 0.45 or rng.random() < 0.2:
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            text = rng.choice(TEXT_DAMAGE)(text, rng)
    return Case(source, text, settings)


def _lines_damaged(text: str, rng: Random) -> str:
    lines = text.split("\n")
    k, n = rng.randrange(len(lines)), rng.randint(1, 3)
    way = rng.randrange(6)
    if way == 0:
        del lines[k : k + n]
    elif way == 1:
        lines[k:k] = lines[k : k + n]
    elif way == 2:
        other = rng.randrange(len(lines))
        lines[k], lines[other] = lines[other], lines[k]
    elif way == 3:
        lines[k] = rng.choice((" ", "  ", "\t", "    ", " " * 60)) + lines[k]
    elif way == 4:
        lines[k] = lines[k].lstrip() if rng.random() < 0.5 else lines[k][1:]
    else:
        lines[k:k] = rng.choice(list(SOURCES.values())).split("\n")[k : k + 10 * n]
    return "\n".join(lines)


def _characters_damaged(text: str, rng: Random) -> str:
    k, n = rng.randrange(len(text) + 1), rng.choice((1, 1, 1, 2, 5, 40))
    way = rng.randrange(4)
    if way == 0:
        return text[:k] + text[k + n :]
    if way == 1:
        return text[: k + n] + text[k:]
    if way == 2:
        return text[:k] + text[k : k + 2][::-1] + text[k + 2 :]
    return text[:k]


def _bytes_inserted(text: str, rng: Random) -> str:
    k = rng.randrange(len(text) + 1)
    strange = "".join(chr(rng.choice((rng.randrange(256), rng.randrange(0xD800)))) for _ in range(rng.randint(1, 4)))
    return text[:k] + strange + text[k + rng.randint(0, 2) :]


def _signs_inserted(text: str, rng: Random) -> str:
    places = [0, len(text), *(m.end() for m in re.finditer(r"[:\[{,\n-] ?|\b", text))]
    k = rng.choice(places)
    return text[:k] + rng.choice(SIGNS) + text[k:]


def _anchors_inserted(text: str, rng: Random) -> str:
    """An anchor at one value and its alias at another, or a bomb of them."""
    values = [m.end() for m in re.finditer(r": |\[|, ", text)]
    if len(values) < 2 or rng.random() < 0.2:
        wide, deep = rng.randint(2, 30), rng.randint(2, 30)
        rows = [f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * wide) if i else 'x'}]" for i in range(deep)]
        return "\n".join(rows) + "\n" + text
    first, second = sorted(rng.sample(values, 2))
    return f"{text[:first]}&x {text[first:second]}*x{rng.choice((', ', ' ', chr(10), ''))}{text[second:]}"


def _number_replaced(text: str, rng: Random) -> str:
    found = list(re.finditer(r"(?<![\w.])-?\d[\d.e-]*", text))
    if not found:
        return text
    at = rng.choice(found)
    return text[: at.start()] + rng.choice(NUMBERS) + text[at.end() :]


def _word_replaced(text: str, rng: Random) -> str:
    found = list(re.finditer(r"[a-z_]\w+", text))
    if not found:
        return text
    at = rng.choice(found)
    new = rng.choice((rng.choice(WORDS), rng.choice(WORDS), "x" * 10_000, at[0] * 2, at[0][1:], "ﬀ" + at[0], "."))
    return text[: at.start()] + new + text[at.end() :]


TEXT_DAMAGE = (
    _lines_damaged,
    _characters_damaged,
    _bytes_inserted,
    _signs_inserted,
    _anchors_inserted,
    _number_replaced,
    _word_replaced,
)


def tree_damaged(text: str, rng: Random) -> str:
    """The document with branches of its tree replaced, removed, renamed, wrapped or taken from another document."""
    tree = parse(text, FILE).plain()
    for _ in range(rng.choice((1, 1, 2, 4))):
        spots = list(_spots(tree))
        if not spots:
            break
        holder, key = rng.choice(spots)
        way = rng.randrange(6)
        if way == 0:
            del holder[key]
        elif way == 1 and isinstance(holder, dict):
            holder[rng.choice((rng.choice(WORDS), str(key)[1:], "x" * 300, "", "<<"))] = holder.pop(key)
        elif way == 2:
            holder[key] = rng.choice(([holder[key]], {rng.choice(WORDS): holder[key]}, [holder[key]] * 2))
        elif way == 3:
            other, k = rng.choice(list(_spots(parse(rng.choice(list(SOURCES.values())), FILE).plain())))
            holder[key] = other[k]
        elif way == 4 and isinstance(holder, dict):
            holder[rng.choice(WORDS)] = json.loads(json.dumps(rng.choice((holder[key], *JUNK))))
        else:
            holder[key] = json.loads(json.dumps(rng.choice(JUNK)))
    written = json.dumps(tree, indent=1, ensure_ascii=rng.random() < 0.5)
    return re.sub(r"NaN|-?Infinity", lambda m: ".nan" if m[0] == "NaN" else m[0].replace("Infinity", ".inf"), written)


def _spots(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a tree: what holds it, and the key or index."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from _spots(tree[key])


def setting(tree: Any, rng: Random) -> str:
    """What somebody may give to `--set`."""
    keys: list[str] = []
    while isinstance(tree, dict) and tree and (not keys or rng.random() < 0.8):
        keys.append(rng.choice(list(tree)))
        tree = tree[keys[-1]]
    keys += rng.choice(([], [], [rng.choice(WORDS)], [""], ["x"] * 5000))
    value = rng.choice((rng.choice(WORDS), rng.choice(NUMBERS), rng.choice(SIGNS), json.dumps(rng.choice(JUNK))))
    return f"{'.'.join(keys)}{rng.choice(('=', '=', '=', '', ' = '))}{value}"


# ── Judgement ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Hang(BaseException):
    """Reading took too long; no `except Exception` may swallow it."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises `Hang` in the block once it has kept a processor busy for so long."""

    def stop(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@cache
def _loaded() -> None:
    """Imports what studies may name, whose seconds are no study's fault."""
    for shelf in CATALOGUE.values():
        for name in shelf.names():
            shelf.load(name)


def judged(case: Case) -> Verdict:
    """Reads a study, and judges what came of it."""
    _loaded()
    started = time.perf_counter()
    kind = "accepted"
    said = ""
    try:
        with limited(MOST_SECONDS):
            _read(case)
    except StudyError as error:
        said = str(error)
        kind = "refused" if _tidy(said) else "untidy"
        if not _lines_exist(said, case):
            kind = "wrong_lines"
    except Hang:
        kind, said = "hangs", traceback.format_exc()
    except Exception:
        kind, said = "tracebacks", traceback.format_exc()
    return Verdict(kind, said, time.perf_counter() - started)


def _read(case: Case) -> None:
    if case.source == "circuit space":
        read_sampler(case.text, FILE)
        return
    document = included(Source(parse(case.text, FILE), FILE, _beside))
    for given in case.settings:
        document = assign(document, given)
    _sampled(read_study(document, CATALOGUE).space)


def _sampled(space: Group) -> None:
    """What `pretune check` does with a space: it counts its configs and draws some, which must lead back."""
    size(space)
    rng = np.random.default_rng(0)
    for _ in range(3):
        config = walk(space, lambda name, domain: domain.sample(rng))
        found = draws(space, config)
        if walk(space, lambda name, _, found=found: found[name][1]) != config:  # type: ignore[misc]
            raise AssertionError(f"{config} is not what its draws lead to: {found}")


def _beside(name: str, node: Node) -> Source:
    """What a damaged study includes: a shipped one."""
    if name not in shipped():
        raise node.wrong(f"there is no study '{name}'", shipped(), near=name)
    return Source(parse(SOURCES[name], f"{name}.yaml"), name, _beside)


def _lines_exist(said: str, case: Case) -> bool:
    """Whether a message begins with the file and a line of it; documents without any line, and flags, have none."""
    breaks = len(re.findall(r"\r\n|\r|\n", case.text))
    lines = max(1, breaks + (not case.text.endswith(("\r", "\n"))))
    named = [int(number) for number in re.findall(rf"{FILE}:(\d+)", said)]
    where = re.match(rf"{FILE}:\d+: |--set |{FILE}: the document (is empty|has [\d,]+ characters)", said)
    return where is not None and all(1 <= number <= lines for number in named)


def _tidy(said: str) -> bool:
    """Whether a message is of some length at most and holds nothing that steers a terminal."""
    return len(said) <= 6000 and all(c.isprintable() for c in said.replace("\n", ""))


if __name__ == "__main__":
    main()
