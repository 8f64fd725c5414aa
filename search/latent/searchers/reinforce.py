"""REINFORCE in the latent space, the paper's search (Sun et al., Quantum 10, 1994; first in arch2vec, NeurIPS 2020).

The state is the latent of the last circuit, an action a ~ N(m(state), σ² I) is a point of the latent space, and the
unvisited circuit nearest to it is evaluated and becomes the next state. After every update

    b ← α b + (1 - α) r̄,   ∇θ mean_t (r_t - b) log π(a_t | s_t) by Adam,   the LSTM forgets,

and the next is due after 8, 16, 24 or 32 circuits, more the better their mean reward r̄ was. The first circuit is drawn
at random and only a start, but counts as a query.

Until an update is due no reward is needed: which circuits are visited depends on the policy alone, each on the one
before it. So `ask(batch)` proposes exactly what asking one by one would, and may be evaluated at once. What is asked
for beyond `batch` is proposed by the policy as it stands. A circuit that comes otherwise than proposed (that one, or
another's) is learned from as if the action had hit it: its own latent is a_t.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from search.latent.index import nearest
from search.latent.policy import Memory, Policy, loss
from search.latent.record import Record, shaped, standard
from spaces.domains import Choice, Int, Log, Uniform

FEWEST, STEP = 8, 8  # circuits of the shortest update; how many more at each level


@dataclass(frozen=True)
class Config:
    """Defaults are those published for state preparation on 4 qubits; other tasks' differ in the last group."""

    policy: Annotated[str, Choice("lstm", "mlp")] = "lstm"  # what maps a state to the mean of actions
    hidden: Annotated[int, Int(8, 512, log=True)] = 128  # units of its one layer
    lr: Annotated[float, Log(1e-3, 5e-2)] = 1e-2  # Adam's step
    std: Annotated[float, Log(0.1, 2)] = 1.0  # deviation of actions: how widely it explores
    covariance: Annotated[str, Choice("fixed", "diagonal")] = "fixed"  # whether deviations are learned, from `std` on
    entropy: Annotated[float, Uniform(0, 0.1)] = 0.0  # weight of the actions' entropy; of effect if they are learned
    normalise: Annotated[bool, Choice(False, True)] = False  # advantages of an update get mean 0, deviation 1
    discount: Annotated[float, Uniform(0, 1)] = 0.0  # of later advantages in an update; 0: each earns its own reward
    standardise: Annotated[bool, Choice(False, True)] = False  # latents get mean 0, deviation 1 in each dimension
    schedule: Annotated[str, Choice("adaptive", "fixed")] = "adaptive"  # whether updates grow with the mean reward
    batch: Annotated[int, Int(1, 256, log=True)] = 16  # circuits of the first update, or of each
    threshold: Annotated[float, Uniform(0, 1)] = 0.95  # reward of a candidate; also where updates reach 32 circuits
    low: Annotated[float, Uniform(0, 1)] = 0.5  # mean reward below which an update has 8 circuits
    high: Annotated[float, Uniform(0, 1)] = 0.7  # mean reward below which it has 16; else 24
    alpha: Annotated[float, Uniform(0, 1)] = 0.8  # share of the baseline that is kept at an update
    baseline: Annotated[float, Uniform(0, 1)] = 0.5  # baseline before the first update
    penalty: Annotated[float, Uniform(1, 3)] = 1.0  # exponent of rewards below the threshold; 1: none


PUBLISHED: dict[int, dict[str, dict[str, float]]] = {  # knobs by wires and task, else the defaults
    4: {
        "maxcut": {"alpha": 0.7, "baseline": 0.9, "low": 0.8, "high": 0.9},
        "h2": {"alpha": 0.7, "baseline": 0.5, "low": 0.7, "high": 0.9},
        "tfim": {"threshold": 0.9},
        **{name: {"baseline": 0.3} for name in ("bell", "bells", "ghz")},  # none of theirs are published
    },
    8: {
        "maxcut": {"threshold": 0.925, "alpha": 0.7, "baseline": 0.7, "low": 0.7, "high": 0.9, "penalty": 2.0},
        "tfim": {"threshold": 0.9, "alpha": 0.7, "baseline": 0.5, "low": 0.6, "high": 0.8},
        **{f"state{seed}": {"threshold": 0.75, "baseline": 0.2, "low": 0.2, "high": 0.5} for seed in range(3)},
    },
}


class Step(NamedTuple):
    """A circuit to visit: the action that led to it (d,), and what the LSTM knows then."""

    circuit: int
    action: NDArray[np.float32]
    memory: Memory


def build(config: Config, latents: NDArray, seed: int) -> Reinforce:
    """REINFORCE over a pool of latents (B, d)."""
    return Reinforce(config, latents, seed)


class Reinforce:
    """Walks from circuit to circuit and learns whereto."""

    def __init__(self, config: Config, latents: NDArray, seed: int) -> None:
        self.config, self.record = config, Record(latents, seed)
        self.scale = standard(self.record.latents) if config.standardise else None
        self.latents = self.scale(self.record.latents) if self.scale else self.record.latents
        learned = config.covariance == "diagonal"
        self.policy = Policy(config.policy, self.latents.shape[1], config.hidden, config.std, learned, seed)
        trained = [weight for weight in self.policy.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.Adam(trained, lr=config.lr, foreach=True)
        self.due, self.baseline = config.batch, config.baseline
        self.state = -1  # the last circuit; none yet
        self.memory: Memory = None
        self.episode: list[tuple[int, NDArray[np.float32], float]] = []  # state, action and reward since the update
        self.plan: list[Step] = []  # what was proposed and is not yet told

    @property
    def batch(self) -> int:
        return self.due - len(self.episode) + (self.state < 0)

    def ask(self, n: int) -> NDArray[np.int64]:
        number = self.record.allowed(n)
        if number > len(self.plan):
            self.plan = self._walk(number)
        return np.array([step.circuit for step in self.plan[:number]], np.int64)

    def tell(self, indices: ArrayLike, rewards: ArrayLike) -> None:
        for circuit, reward in zip(*self.record.checked(indices, rewards), strict=True):
            if self.state >= 0:
                step = self._step(circuit)
                self.memory = step.memory
                self.episode.append((self.state, step.action, reward))
            else:
                self.plan = self.plan[1:] if self.plan and self.plan[0].circuit == circuit else []
            self.record.add(circuit, reward)
            self.state = circuit
            if len(self.episode) == self.due:
                self._update()

    def extend(self, latents: NDArray) -> None:
        joined = self.record.extend(latents)
        self.latents = np.concatenate([self.latents, self.scale(joined)]) if self.scale else self.record.latents
        self.plan = []  # a circuit that joined may lie nearer to an action

    @torch.no_grad()
    def _walk(self, number: int) -> list[Step]:
        """The next circuits that the present policy visits; to ask for fewer gives the same first ones."""
        free, steps = self.record.free.copy(), []
        state, memory = self.state, self.memory
        deviation = self.policy.log_std.exp().numpy()
        for place in range(number):
            if state < 0:
                action, circuit = self.latents[0], int(self.record.drawn(1)[0])
            else:
                mean, memory = self.policy.step(torch.from_numpy(self.latents[state : state + 1]), memory)
                rng = np.random.default_rng([self.record.seed, len(self.record) + place])
                noise = rng.standard_normal(len(deviation), np.float32)
                action = mean[0].numpy() + deviation * noise
                circuit = nearest(self.latents, action, free)
            free[circuit] = False
            steps.append(Step(circuit, action, memory))
            state = circuit
        return steps

    @torch.no_grad()
    def _step(self, circuit: int) -> Step:
        """The step that led to a circuit: the one proposed, or one straight to it."""
        if not self.plan:
            self.plan = self._walk(1)
        step, *self.plan = self.plan
        if step.circuit == circuit:
            return step
        self.plan = []
        return Step(circuit, self.latents[circuit], step.memory)

    def _update(self) -> None:
        """Moves the baseline, takes a step of Adam, forgets, and says when the next update is due."""
        states, actions, told = (np.array(column) for column in zip(*self.episode, strict=True))
        rewards = shaped(told, self.config.threshold, self.config.penalty)
        self.baseline += (1 - self.config.alpha) * (rewards.mean() - self.baseline)
        gains = torch.from_numpy(advantages(rewards - self.baseline, self.config).astype(np.float32))
        self.optimiser.zero_grad()
        seen = torch.from_numpy(self.latents[states])
        loss(self.policy, seen, torch.from_numpy(actions), gains, self.config.entropy).backward()
        self.optimiser.step()
        self.due = length(rewards.mean(), self.config)
        self.memory, self.episode, self.plan = None, [], []


def advantages(gains: NDArray[np.float64], config: Config) -> NDArray[np.float64]:
    """A_t = Σ_k discount^k (r_{t+k} - b) within an update, standardised if wanted: (T,)."""
    gains = gains.copy()
    for t in range(len(gains) - 2, -1, -1):
        gains[t] += config.discount * gains[t + 1]
    return (gains - gains.mean()) / (gains.std() + 1e-8) if config.normalise else gains


def length(mean: float, config: Config) -> int:
    """How many circuits the update after one of this mean reward takes."""
    if config.schedule == "fixed":
        return config.batch
    return FEWEST + STEP * sum(mean >= level for level in (config.low, config.high, config.threshold))
