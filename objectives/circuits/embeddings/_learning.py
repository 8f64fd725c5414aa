"""What the embeddings that train a network share: graphs in batches, the epochs, and a state from which they go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from objectives.circuits.embeddings._gin import Batch, initialise
from spaces.circuits.encoding import Encoding
from spaces.circuits.pool import Pool

CLIP = 5.0  # largest norm of the gradient


class Data:
    """The graphs of a pool as small integers on a device, turned into floats a batch at a time."""

    def __init__(self, graphs: Encoding, pool: Pool, device: str) -> None:
        self.graphs = graphs
        self.nodes = torch.from_numpy(graphs.nodes).to(device)
        self.adjacency = torch.from_numpy(graphs.adjacency).to(device)
        full = bool((pool.length == pool.op.shape[1]).all())
        self.live = None if full else self.nodes.any(-1)

    def __len__(self) -> int:
        return len(self.nodes)

    def batch(self, rows: Tensor | slice) -> Batch:
        live = None if self.live is None else self.live[rows]
        return Batch(self.nodes[rows].float(), self.adjacency[rows].float(), live)

    def batches(self, size: int = 64) -> Iterator[Batch]:
        """All of them in their order, no more at a time than stays in a processor's cache."""
        return (self.batch(slice(at, at + size)) for at in range(0, max(len(self), 1), size))


@dataclass(frozen=True)
class Lesson:
    """What is learnt, and from what.

    Attributes:
        train: the circuits that are learnt from.
        losses: the parts of the loss of some of them, given by their rows.
        judged: metrics of the network as it stands.
        opening: what sees all circuits once before the first epoch, for the averages of its batch normalisation.
        epochs: passes over the circuits.
        batch: circuits a step.
        rate: the learning rate at a share of all steps; None: the optimiser's own throughout.
    """

    train: Data
    losses: Callable[[Tensor], dict[str, Tensor]]
    judged: Callable[[], dict[str, float]]
    opening: nn.Module
    epochs: int
    batch: int
    rate: Callable[[float], float] | None = None


class Learner:
    """A network on its way through the epochs, by Adam; one seed decides all that is drawn.

    Attributes:
        epoch: how many epochs it has been trained for; -1 before `fit`.
        draws: where weights and the circuits' order are drawn from, and whatever else the losses draw.
    """

    def __init__(self, network: nn.Module, lr: float, device: str) -> None:
        self.network, self.device, self.epoch = network, device, -1
        self.optimizer = torch.optim.Adam(network.parameters(), lr=lr, fused=True)
        self.draws = torch.Generator(device)

    def fit(self, lesson: Lesson, seed: int, threads: int) -> Iterator[dict[str, float]]:
        """The epochs that are left; metrics of each are the mean losses and what `judged` says afterwards."""
        if self.epoch < 0:
            with cpu_threads(threads):
                self._begin(lesson, seed)
        while self.epoch < lesson.epochs:
            with cpu_threads(threads):
                metrics = self._train_epoch(lesson) | lesson.judged()
            self.epoch += 1
            yield metrics

    def _begin(self, lesson: Lesson, seed: int) -> None:
        self.draws.manual_seed(seed)
        initialise(self.network, self.draws)
        norms = [module for module in self.network.modules() if isinstance(module, nn.BatchNorm1d)]
        usual = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = None  # plain averages over all batches
        self.network.train()
        with torch.no_grad():
            for batch in lesson.train.batches() if norms else ():
                lesson.opening(batch)
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
        self.epoch = 0

    def _train_epoch(self, lesson: Lesson) -> dict[str, float]:
        """One pass in a fresh order; the mean loss, and its parts if it has several."""
        self.network.train()
        size = min(lesson.batch, len(lesson.train))
        order = torch.randperm(len(lesson.train), generator=self.draws, device=self.device)
        count = len(order) // size
        total: dict[str, Tensor] = {}
        for step, rows in enumerate(order[: count * size].split(size)):
            if lesson.rate:
                self._set_rate(lesson.rate((self.epoch + (step + 0.5) / count) / lesson.epochs))
            parts = lesson.losses(rows)
            loss = torch.stack(list(parts.values())).sum()
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
            self.optimizer.step()
            told = {f"loss_{name}": part for name, part in parts.items()} if len(parts) > 1 else {}
            for name, part in {"loss": loss, **told}.items():
                total[name] = total.get(name, 0) + part.detach()
        return {name: float(part) / count for name, part in total.items()}

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def read_only(self) -> None:
        """From now on the network is asked, not taught.

        Raises:
            RuntimeError: it has not been fitted.
        """
        if self.epoch < 0:
            raise RuntimeError("an embedding that has not been fitted yet")
        self.network.eval()

    def state_dict(self) -> dict[str, Any]:
        return deepcopy(
            {
                "epoch": self.epoch,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "draws": self.draws.get_state(),
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(deepcopy(state["optimizer"]))
        self.draws.set_state(state["draws"])


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """PyTorch computes on so many threads, and afterwards on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
