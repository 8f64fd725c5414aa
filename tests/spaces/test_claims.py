"""The section `claim` of a study: what it is read as, and what is told of one that is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spaces.claims import MUTATED
from spaces.components import Catalogue
from spaces.document import StudyError, parse
from spaces.study import Study, read_study, variants

Read = Callable[[str], Study]
CLAIM = """\
name: base
objective: pretrain
data: digits
space:
  method: {alpha: {heads: 3}}
  body: {cnn: {depth: 2}}
budget: {epochs: 9}
claim:
  says: more heads are better
  source: a paper, section 2
  variants:
    many: {}
    one: {space.method.alpha.heads: 1}
    other: {space.method: {beta: {low: 0.1}}, space.optimizer.lr: 1e-2}
  holds: [many.accuracy >= 2 * one.accuracy + 0.1, other.loss < untrained.loss]
  mutation: {name: one head alone, of: many, set: {space.method.alpha.heads: 1}}
  full: {budget.epochs: 99, space.body.cnn.depth: 4}
"""


def changed(line: int, text: str) -> str:
    return "\n".join(text if number == line else old for number, old in enumerate(CLAIM.splitlines(), 1))


def test_a_claim_is_read(read: Read) -> None:
    study = read(CLAIM)
    claim = study.claim
    assert claim is not None
    assert (claim.says, claim.source, claim.published, claim.unseen) == (
        "more heads are better",
        "a paper, section 2",
        "",
        "",
    )
    assert claim.seeds == 5
    assert [condition.needs for condition in claim.holds] == [
        {"many": ["accuracy"], "one": ["accuracy"]},
        {"other": ["loss"], "untrained": ["loss"]},
    ]
    assert claim.mutation.name == "one head alone"
    assert study.budget.epochs == 9
    assert read(CLAIM.replace("  full:", "  seeds: 8\n  unseen: much\n  published: 9 %\n  full:")).claim.seeds == 8


def test_variants_are_the_study_with_their_settings(read: Read, catalogue: Catalogue) -> None:
    study = read(CLAIM)
    found = variants(study, catalogue)
    assert list(found) == ["many", "one", "other", MUTATED]
    assert all(variant.claim is None for variant in found.values())
    heads = {name: variant.document.plain()["space"]["method"] for name, variant in found.items()}
    assert heads == {
        "many": {"alpha": {"heads": 3}},
        "one": {"alpha": {"heads": 1}},
        "other": {"beta": {"low": 0.1}},
        MUTATED: {"alpha": {"heads": 1}},
    }
    assert list(found["other"].space.parts["method"].branches) == ["beta"]
    assert study.document.plain()["space"]["method"] == {"alpha": {"heads": 3}}


def test_the_full_budget_is_laid_over_all_variants(read: Read, catalogue: Catalogue) -> None:
    found = variants(read(CLAIM), catalogue, full=True)
    assert {variant.budget.epochs for variant in found.values()} == {99}
    assert {str(variant.space.parts["body"].branches["cnn"].parts["depth"].value) for variant in found.values()} == {
        "4"
    }


def test_a_study_without_a_claim_has_no_variants(read: Read, catalogue: Catalogue) -> None:
    bare = CLAIM.partition("claim:")[0]
    for text in (bare, bare + "claim: off\n", bare + "claim:\n"):
        study = read(text)
        assert study.claim is None
        assert variants(study, catalogue) == {}


def test_a_claim_that_is_off_leaves_knobs_open(read: Read) -> None:
    wide = changed(5, "  method: {alpha: {heads: search}}")
    with pytest.raises(StudyError, match="leaves nothing open"):
        read(wide)
    assert read(wide.partition("claim:")[0] + "claim: off\n").claim is None


WRONG = [
    (5, "  method: {alpha: {heads: search}}", "5: space.method.alpha.heads", "leaves nothing open", "heads: 1 .. 8"),
    (5, "  method: {alpha: default, beta: default}", "5: space.method", "leaves nothing open", "found method: "),
    (6, "  body: {cnn: {depth: {either: [1, 2]}}}", "6: space.body.cnn.depth", "leaves nothing open; found depth"),
    (9, "", "claim", "the claim says nothing"),
    (9, "  say: more", "9: claim.say", "no part of a claim 'say'", "did you mean 'says'?"),
    (9, "  says: [1]", "9: claim.says", "expected text, found a list of 1"),
    (10, "", "claim", "names no source"),
    (10, "  source: x\n  seeds: 1", "11: claim.seeds", "1 is out of bounds"),
    (10, "  source: x\n  seeds: five", "11: claim.seeds", "expected a whole number"),
    (12, "    ma-ny: {}", "12: claim.variants.ma-ny", "cannot be a variant's name"),
    (12, "    not: {}", "12: claim.variants.not", "cannot be a variant's name"),
    (12, "    mutation: {}", "12: claim.variants.mutation", "cannot be a variant's name"),
    (12, "    many: default", "12: claim.variants.many", "expected settings"),
    (13, "    one: {}", "13: claim.variants.one", "the variant 'one' is the same as 'many'"),
    (13, "    one: {space.method.alpha.heads: 9}", "13: space.method.alpha.heads", "9 is out of bounds", "1 .. 8"),
    (13, "    one: {space.method.alpha.hads: 1}", "13: space.method.alpha.hads", "did you mean 'heads'?"),
    (13, "    one: {space.method: alpho}", "13: space.method", "no method 'alpho'", "did you mean"),
    (13, "    one: {space.method.alpha.heads: search}", "13: space.method.alpha.heads", "leaves nothing open"),
    (13, "    one: {budget.epochs: 3}", "13: claim.variants.one.budget.epochs", "differ in the space alone"),
    (13, "    one: {space..x: 3}", "13: claim.variants.one.space..x", "cannot be set here"),
    (15, "", "claim", "the claim has no conditions"),
    (15, "  holds: []", "15: claim.holds", "the claim has no conditions"),
    (15, "  holds: [3]", "15: claim.holds[0]", "expected text"),
    (15, "  holds: [mny.accuracy > 1]", "15: claim.holds[0]", "no variant 'mny'", "did you mean 'many'?"),
    (15, "  holds: [many.acuracy > 1]", "15: claim.holds[0]", "'many' gives no metric", "did you mean 'accuracy'?"),
    (15, "  holds: [many > 1]", "15: claim.holds[0]", "'many' names no metric of a variant", "many.METRIC"),
    (15, "  holds: [many.accuracy == 1]", "15: claim.holds[0]", "does not compare two numbers", ">="),
    (15, "  holds: [0 < many.accuracy < 1]", "15: claim.holds[0]", "does not compare two numbers"),
    (15, "  holds: [many.accuracy > 0 and one.accuracy > 0]", "15: claim.holds[0]", "does not compare two numbers"),
    (15, "  holds: ['many.accuracy >']", "15: claim.holds[0]", "is no condition", "cannot be read"),
    (15, "  holds: ['max(many.accuracy, 1) > 0']", "15: claim.holds[0]", "nothing can be called"),
    (16, "", "claim", "the claim has no mutation"),
    (16, "  mutation: {of: many, set: {}}", "16: claim.mutation", "has no 'name'"),
    (
        16,
        "  mutation: {name: x, of: mny, set: {}}",
        "16: claim.mutation.of",
        "no variant 'mny'",
        "did you mean 'many'?",
    ),
    (
        16,
        "  mutation: {name: x, of: many, set: {}}",
        "16: claim.mutation",
        "changes nothing",
        "equals the variant 'many'",
    ),
    (16, "  mutation: {name: x, of: many, set: {space.method.alpha.hds: 1}}", "16: space.method.alpha.hds", "no knob"),
    (17, "  full: {name: x}", "17: claim.full.name", "cannot be set here", "budget. ..."),
    (17, "  full: {budget.epoch: 3}", "17: budget.epoch", "did you mean 'epochs'?"),
    (17, "  full: {space.method.alpha.heads: 1}", "13: claim.variants.one", "is the same as 'many'"),
]


@pytest.mark.parametrize(("line", "text", "place", "said"), [(a, b, c, d) for a, b, c, *d in WRONG])
def test_what_is_wrong_is_told_with_its_place(read: Read, line: int, text: str, place: str, said: list[str]) -> None:
    with pytest.raises(StudyError) as caught:
        read(changed(line, text))
    message = str(caught.value)
    assert message.startswith("s.yaml:")
    assert place in message.splitlines()[0]
    for words in said:
        assert words in message


@pytest.mark.parametrize("metric", ["test_accuracy", "valid_loss", "loss", "seconds"])
def test_what_is_not_declared_but_told_is_let_through(read: Read, metric: str) -> None:
    assert read(changed(15, f"  holds: [many.{metric} > 0]")).claim


def test_numbers_of_a_variant_keep_their_place(catalogue: Catalogue) -> None:
    study = read_study(parse(CLAIM, "s.yaml"), catalogue)
    assert study.claim
    document = study.claim.documents(study.document)["one"]
    assert document.value["space"].value["method"].value["alpha"].value["heads"].origin == "s.yaml:13"
