"""Children: in the space, new, with their parents' angles; and the tallies, by a decoder that can be seen through."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectives.circuits.embedding import Graphs
from objectives.circuits.embeddings import gin_vae, one_hot, raw_mean
from objectives.circuits.generation import ROUNDS, Generation, Tally, children, decoders
from spaces.circuits.canonical import digest
from spaces.circuits.coupling import coupling
from spaces.circuits.encoding import decode
from spaces.circuits.gates import CODES, GATE_SETS, GATES
from spaces.circuits.pool import CircuitError, Pool
from spaces.circuits.sampler import Sampler, paper, sample
from spaces.circuits.structure import depth
from spaces.components import fields

PAPER = GATE_SETS["paper"]


def rng(seed=0):
    return np.random.default_rng(seed)


def names(pool):
    return digest(pool).tolist()


def trained(sampler, count, seed=0):
    """Circuits whose angles no sampler draws, each another's."""
    pool = sample(sampler, count, rng(seed))
    used = np.arange(pool.theta.shape[1]) < pool.parameters[:, None]
    return replace(pool, theta=np.where(used, -1 - np.arange(used.size).reshape(used.shape), 0.0))


class Echo:
    """Says what it was shown, through noise; remembers what it said."""

    def __init__(self, config):
        self.config, self.said = config, []

    def fit(self, pool, seed, threads=1):
        yield from ()

    def embed(self, pool):
        raise NotImplementedError

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass

    def moved(self, pool, shifts, noise, seed):
        graphs, draws = self.config.encoded(pool, pool.wires), rng(seed)
        soft = [x + noise * draws.normal(size=x.shape) for x in (graphs.nodes, graphs.adjacency)]
        self.said.append((pool, shifts, noise, soft))
        return tuple(soft)


def echo():
    return Echo(Graphs())


def lawful(pool, sampler):
    pool.checked()
    pairs = {name: sampler.pairs(name).tolist() for name in sampler.gates if GATES[CODES[name]].wires == 2}
    gates = [gate for circuit in pool for gate in circuit]
    return (
        (sampler.depth is None or (depth(pool) <= sampler.depth).all())
        and all(gate[0] in sampler.gates for gate in gates)
        and all(list(gate[1:3]) in pairs[gate[0]] for gate in gates if gate[0] in pairs)
        and pool.length.min(initial=1) >= 1
        and pool.length.max(initial=1) <= sampler.length
    )


@st.composite
def samplers(draw):
    wires = draw(st.integers(2, 4))
    gates = ["RX", *draw(st.sets(st.sampled_from([name for name in PAPER if name != "RX"])))]
    layers = draw(st.none() | st.integers(2, 6))
    length = draw(st.integers(1, wires * (layers or 4) // 2))
    shared, ring = coupling("all", wires), coupling("directed_ring", wires)
    own = {"CNOT": ring} if "CNOT" in gates else {}
    return Sampler(wires, dict.fromkeys(gates, 1.0), length, layers, shared, own, "gate")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    samplers(), st.sampled_from(["mutate", "decode", "both"]), st.floats(0, 1), st.floats(0.1, 3), st.integers(0, 99)
)
def test_children_are_new_circuits_of_the_space(sampler, how, share, reach, seed):
    config = Generation(children=20, how=how, rate=max(share, 0.01), crossed=share, reach=reach)
    pool = trained(sampler, 60, seed)
    known = set(names(pool))
    found = children(config, echo(), pool[:6], sampler, rng(seed), known)
    again = children(config, echo(), pool[:6], sampler, rng(seed), known)
    assert list(found.pool) == list(again.pool)
    assert found.parent.tolist() == again.parent.tolist()
    assert found.tallies == again.tallies
    assert lawful(found.pool, sampler)
    assert len(found.pool) == len(found.parent) <= 20
    assert len(set(names(found.pool))) == len(found.pool)
    assert not known & set(names(found.pool))
    assert set(found.parent) <= set(range(6))
    assert list(found.tallies) == (["mutate", "decode"] if how == "both" else [how])
    unused = np.arange(found.pool.theta.shape[1]) >= found.pool.parameters[:, None]
    assert not found.pool.theta[unused].any()


def test_half_of_them_each():
    found = children(Generation(children=21, how="both"), echo(), trained(paper(), 4), paper(), rng(), set())
    assert len(found.pool) == 21
    assert found.pool.length[11:].min() >= 9  # decoded ones are as long as their parents, unless too deep
    assert (found.pool.length[:11] < 9).any() or (found.pool.length[:11] < 10).sum() > 1
    assert set(found.parent) == {0, 1, 2, 3}
    single = children(Generation(children=1, how="both"), echo(), trained(paper(), 4), paper(), rng(), set())
    assert single.tallies["decode"] == Tally()
    assert single.tallies["mutate"].novel > 0


def test_crossed_children_too_long_for_the_space_are_left_out():
    sampler = Sampler(2, {"X": 1.0, "H": 1.0}, 4, None, coupling("all", 2))
    roomy = Pool.of(2, [*sample(sampler, 20, rng()), [("X", 0)] * 8])[:20]
    found = children(Generation(children=20, crossed=1.0), None, roomy, sampler, rng(), set())
    assert lawful(found.pool, sampler)
    assert 0 < found.tallies["mutate"].valid < found.tallies["mutate"].made


def test_none_are_wanted_or_left():
    parents = trained(paper(), 4)
    found = children(Generation(), None, parents, paper(), rng(), set())
    assert (len(found.pool), len(found.parent)) == (0, 0)
    assert found.tallies == {"mutate": Tally()}
    assert set(Tally().rates().values()) == {0.0}

    sampler = Sampler(1, {"X": 1.0, "H": 1.0}, 2, None, coupling("all", 1))
    parents = Pool.of(1, [[("X", 0), ("X", 0)]])
    found = children(Generation(children=40, rate=1.0), None, parents, sampler, rng(), set())
    left = [[("X", 0), ("H", 0)], [("H", 0), ("X", 0)], [("H", 0), ("H", 0)], [("X", 0)], [("H", 0)]]
    assert sorted(found.pool) == sorted(left)
    assert found.tallies["mutate"] == Tally(40 * ROUNDS, 40 * ROUNDS, 6, 5)  # the parent is no child
    known = set(names(Pool.of(1, left[:2])))
    found = children(Generation(children=40, rate=1.0), None, parents, sampler, rng(), known)
    assert sorted(found.pool) == sorted(left[2:])
    assert found.tallies["mutate"].novel == 3


def test_tallies_are_what_a_recount_finds():
    sampler, parents, decoder = paper(), trained(paper(), 8), echo()
    config = Generation(children=30, how="decode", reach=0.22)
    found = children(config, decoder, parents, sampler, rng(), set(names(parents)))
    assert {noise for _, _, noise, _ in decoder.said} == {0.22}
    assert not any(np.any(shifts) for _, shifts, _, _ in decoder.said)
    valid = sum(int(decode(*soft, PAPER, "signed")[1].sum()) for *_, soft in decoder.said)
    tally = found.tallies["decode"]
    assert tally.made == 30 * len(decoder.said)
    assert tally.valid == valid
    assert 0 < valid < tally.made
    assert tally.made >= tally.distinct >= tally.novel >= len(found.pool) == min(30, tally.novel)
    assert tally.rates() == {
        "validity": valid / tally.made,
        "uniqueness": tally.distinct / tally.made,
        "novelty": tally.novel / tally.distinct,
    }


def test_a_decoder_without_noise_has_nothing_new_to_say():
    parents = trained(paper(), 4)
    config = replace(Generation(children=10, how="decode"), reach=0.0)
    found = children(config, echo(), parents, paper(), rng(), set())
    assert len(found.pool) == 0
    assert found.tallies["decode"] == Tally(10 * ROUNDS, 10 * ROUNDS, 4, 0)


@pytest.mark.parametrize("how", ["mutate", "decode"])
def test_children_start_at_their_parents_angles(how):
    """No sampler draws negative angles; every one that a child has is its parent's (`perturb` moves a few)."""
    parents = trained(paper(), 30)
    config = Generation(children=200, how=how, reach=0.4, rate=0.1, jitter=0.0)
    found = children(config, echo(), parents, paper(), rng(), set())
    kept = fresh = strange = 0
    for row, parent in enumerate(found.parent):
        own = set(parents.theta[parent, : parents.parameters[parent]])
        for angle in found.pool.theta[row, : found.pool.parameters[row]]:
            kept += angle in own
            fresh += 0 <= angle < 2 * np.pi
            strange += angle < 0 and angle not in own
    assert kept > 3 * fresh > 0
    assert strange <= (0.05 * kept if how == "mutate" else 0)


def test_jitter_moves_all_angles_by_normal_noise():
    parents = trained(paper(), 30)
    config = Generation(children=200, jitter=0.0)
    still = children(config, None, parents, paper(), rng(), set()).pool
    moved = children(replace(config, jitter=0.3), None, parents, paper(), rng(), set()).pool
    assert names(moved) == names(still)
    used = np.arange(still.theta.shape[1]) < still.parameters[:, None]
    noise = (moved.theta - still.theta)[used]
    assert abs(noise.std() - 0.3) < 0.03
    assert abs(noise.mean()) < 0.03


def test_crossed_children_have_gates_of_two_parents():
    sampler = Sampler(1, {"RX": 1.0, "H": 1.0}, 6, None, coupling("all", 1))
    parents = Pool.of(1, [[("RX", 0, -1.0)] * 6, [("RX", 0, -2.0)] * 5 + [("H", 0)]])
    for crossed, least, most in ((0.0, 0.0, 0.0), (1.0, 0.3, 0.7)):
        config = Generation(children=60, rate=0.2, crossed=crossed, jitter=0.0)
        found = children(config, None, parents, sampler, rng(), set())
        mixed = np.mean([{-1.0, -2.0} <= set(angles) for angles in found.pool.theta])
        assert least <= mixed <= most
        first = np.where(found.pool.theta[:, 0] == -1, 0, 1)
        assert (first == found.parent)[np.isin(found.pool.theta[:, 0], [-1, -2])].mean() > 0.9


def test_children_of_a_trained_decoder():
    pool = sample(paper(), 700, rng())
    embedding = gin_vae.build(gin_vae.Config(epochs=2, batch=16, hidden=64), 4, 10)
    list(embedding.fit(pool, seed=0))
    known = set(names(pool))
    found = children(Generation(children=50, how="decode"), embedding, pool[:16], paper(), rng(), known)
    assert len(found.pool) == 50
    assert lawful(found.pool, paper())
    assert not known & set(names(found.pool))
    small = paper(3, 4, 4)
    with pytest.raises(CircuitError, match="circuits on 3 wires"):
        children(Generation(children=5, how="decode"), embedding, trained(small, 4), small, rng(), set())
    ions = Sampler(4, {"RXX": 1.0, "RX": 1.0}, 10, None, coupling("all", 4))
    with pytest.raises(CircuitError, match="RXX of the space is not in the graphs' gate set"):
        children(Generation(children=5, how="decode"), embedding, pool[:4], ions, rng(), set())


@pytest.mark.parametrize("how", ["decode", "both"])
@pytest.mark.parametrize("name", ["raw_mean", "one_hot", "no embedding"])
def test_only_decoders_decode(how, name):
    modules = {"raw_mean": raw_mean, "one_hot": one_hot}
    embedding = modules[name].build(modules[name].Config(), 4, 10) if name in modules else None
    config = Generation(children=5, how=how)
    with pytest.raises(CircuitError, match=f"how: '{how}' needs an embedding that decodes, found {name}") as error:
        children(config, embedding, trained(paper(), 4), paper(), rng(), set())
    assert "allowed: how: mutate; or an embedding that decodes, gin_vae" in str(error.value)
    assert len(children(replace(config, how="mutate"), embedding, trained(paper(), 4), paper(), rng(), set()).pool) == 5


def test_what_cannot_have_children_is_refused():
    with pytest.raises(CircuitError, match="no parents"):
        children(Generation(children=5), None, trained(paper(), 4)[:0], paper(), rng(), set())
    with pytest.raises(CircuitError, match="for 3 wires cannot mutate circuits on 4"):
        children(Generation(children=5), None, trained(paper(), 4), paper(3, 4, 4), rng(), set())


def test_the_config_is_one_and_decoders_are_known():
    assert all(field.domain for field in fields(Generation))
    assert Generation().children == 0
    assert "gin_vae" in decoders()
    assert not {"raw_mean", "one_hot"} & set(decoders())
