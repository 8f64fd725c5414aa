"""The variational graph autoencoder of QAS-arch2vec: a circuit is the mean of its nodes' latents.

A graph isomorphism network (`_gin`) gives every node a mean mu and a log standard deviation s; z = mu + exp(s) noise
in training, mu afterwards. A decoder rebuilds the nodes and the edges from z, and training minimises

    loss = w_o ops + w_q qubits + w_a adjacency + w_k KL,    KL = mean of -1/2 sum_k (1 + 2 s - mu² - e^(2 s))

Sun, Wu, Ma and Tresp, "Quantum Architecture Search with Unsupervised Representation Learning" (Quantum 10, 1994;
arXiv 2401.11576), after arch2vec (Yan et al., NeurIPS 2020, arXiv 2006.06936). The paper's two forms are knobs:

    the published code   `PUBLISHED`: 0/1 encoding; sigmoids and binary cross-entropy throughout, edges sigmoid(z_i·z_j)
    the later text       the default: signs and counts; types softmax and cross-entropy; positions tanh, edges
                         ReLU(a z_i·z_j + b), both with squared errors; a fusion layer over all layers of the network

Losses are means over entries: cross-entropy over nodes; squared errors over positions, and over the pairs of nodes
whose first stands before the second; binary cross-entropy over all entries of the gate matrix (types and positions
together) and over all of the adjacency matrix (its lower half, which is never predicted, counts as right). How
positions are rebuilt follows the encoding: tanh and squared error for signs, sigmoid and binary cross-entropy for 0/1.
An edge of several wires is but 1 to a sigmoid.

The code's weight of the KL is 1/(batch · nodes), 1/384 in `PUBLISHED`, so it changes with both; here it is a knob.
Two more differences from the code: the circuits are shuffled for every epoch, and the last, incomplete batch is left
out. With 0 epochs the network is untrained: random weights; the averages of its batch normalisation, which start
from one pass over the training circuits in any case, are those of the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from objectives.circuits.embedding import Embedding, Graphs, chunks, reconstruction
from objectives.circuits.embeddings._gin import Batch, Decoder, Gin
from objectives.circuits.embeddings._learning import Data, Learner, Lesson
from spaces.circuits.pool import CircuitError, Pool
from spaces.domains import Choice, Int, Log, Uniform


@dataclass(frozen=True)
class Config(Graphs):
    """How circuits become graphs, the network, the losses' weights, and how the network is trained."""

    passing: Annotated[str, Choice("undirected", "forward", "both")] = "undirected"  # way of messages along the edges
    layers: Annotated[int, Int(1, 8)] = 4  # rounds of messages
    depth: Annotated[int, Int(1, 3)] = 2  # linear layers in a round
    hidden: Annotated[int, Int(8, 512, log=True)] = 128  # width of the network
    latent: Annotated[int, Int(2, 128, log=True)] = 16  # d of a node
    fusion: Annotated[str, Choice("none", "concat", "sum")] = "concat"  # which rounds the latent is read from
    pooling: Annotated[str, Choice("mean", "sum", "max", "ends")] = "mean"  # of nodes; ends: START and END, 2 d wide
    dropout: Annotated[float, Uniform(0.0, 0.5)] = 0.1  # share of z that the decoder does not see
    classes: Annotated[str, Choice("softmax", "sigmoid")] = "softmax"  # how types are rebuilt
    edges: Annotated[str, Choice("sigmoid", "relu", "bilinear")] = "relu"  # how edges are rebuilt
    weight_ops: Annotated[float, Log(0.1, 10.0)] = 1.0  # of the types' loss
    weight_qubits: Annotated[float, Log(0.1, 10.0)] = 1.0  # of the positions' loss
    weight_adjacency: Annotated[float, Log(0.1, 10.0)] = 1.0  # of the edges' loss
    weight_kl: Annotated[float, Log(1e-4, 1.0)] = 1 / 768  # of the mean KL of a node, in nats
    lr: Annotated[float, Log(1e-4, 1e-2)] = 2e-3  # of Adam
    batch: Annotated[int, Int(8, 1024, log=True)] = 64  # circuits a step
    epochs: Annotated[int, Int(0, 100)] = 20  # passes over the training circuits; 0: untrained
    held_out: Annotated[float, Uniform(0.02, 0.5)] = 0.1  # share of the pool, its end, that only metrics are from


PUBLISHED = Config(
    scheme="binary",
    fusion="none",
    dropout=0.3,
    classes="sigmoid",
    edges="sigmoid",
    weight_kl=1 / 384,
    lr=1e-3,
    batch=32,
    epochs=16,
)


class Network(nn.Module):
    """Encoder, decoder and losses."""

    def __init__(self, config: Config, wires: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = Gin(
            config.types + wires,
            layers=config.layers,
            depth=config.depth,
            hidden=config.hidden,
            latent=config.latent,
            passing=config.passing,
            fusion=config.fusion,
        )
        self.decoder = Decoder(config.latent, config.types + wires, config.edges)

    def losses(self, batch: Batch, draws: torch.Generator) -> dict[str, Tensor]:
        """The weighted parts of the loss of a batch."""
        config = self.config
        mean, log_deviation = self.encoder(batch)
        noise = torch.randn(mean.shape, generator=draws, device=mean.device)
        z = mean + log_deviation.exp() * noise
        seen = torch.rand(z.shape, generator=draws, device=z.device) >= config.dropout
        z = z * seen / (1 - config.dropout)
        ops, qubits = node_losses(self.decoder.nodes(z), batch.rows(batch.nodes), config)
        edges = self.decoder.pairs(batch.dense(z))
        later = batch.later(edges)
        return {
            "ops": config.weight_ops * ops,
            "qubits": config.weight_qubits * qubits,
            "adjacency": config.weight_adjacency * edge_loss(edges, batch.adjacency, later, len(z), config.edges),
            "kl": config.weight_kl * divergence(mean, log_deviation),
        }

    def rebuild(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The graphs of latents (B, V, d): (B, V, F) and (B, V, V)."""
        raw, types, edges = self.decoder.nodes(z), self.config.types, self.decoder.pairs(z)
        kinds = raw[..., :types].softmax(-1) if self.config.classes == "softmax" else raw[..., :types].sigmoid()
        positions = raw[..., types:].tanh() if self.config.scheme == "signed" else raw[..., types:].sigmoid()
        return torch.cat([kinds, positions], -1), edges.sigmoid() if self.config.edges == "sigmoid" else edges.relu()

    def pooled(self, batch: Batch) -> Tensor:
        """One vector for each circuit: (B, d), or (B, 2 d)."""
        rows, _ = self.encoder(batch)
        means = batch.dense(rows)
        live = means.new_ones(means.shape[:2]) if batch.live is None else batch.live.to(means)
        count = live.sum(1, keepdim=True)
        match self.config.pooling:
            case "mean":
                return means.sum(1) / count
            case "sum":
                return means.sum(1)
            case "max":
                return means.masked_fill(live[..., None] == 0, -torch.inf).amax(1)
        last = means.take_along_dim(count[..., None].long() - 1, 1)
        return torch.cat([means[:, 0], last[:, 0]], -1)


def node_losses(raw: Tensor, nodes: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    """The losses of the types and of the positions of M nodes, from what the decoder gives for them: (M, F) each."""
    kinds, positions = nodes[:, : config.types], nodes[:, config.types :]
    raw_kinds, raw_positions = raw[:, : config.types], raw[:, config.types :]
    if config.classes == "softmax":
        ops = F.cross_entropy(raw_kinds, kinds.argmax(-1))
    else:
        ops = F.binary_cross_entropy_with_logits(raw_kinds, kinds, reduction="sum") / raw.numel()
    if config.scheme == "signed":
        qubits = F.mse_loss(raw_positions.tanh(), positions)
    else:
        qubits = F.binary_cross_entropy_with_logits(raw_positions, positions, reduction="sum") / raw.numel()
    return ops, qubits


def edge_loss(raw: Tensor, adjacency: Tensor, later: Tensor, nodes: int, form: str) -> Tensor:
    """The loss of the edges (B, V, V) between `nodes` real nodes, over the pairs that `later` marks with 1."""
    pairs = later.expand_as(raw).sum()
    if form == "sigmoid":
        right = (adjacency > 0).to(raw)
        total = F.binary_cross_entropy_with_logits(raw, right, weight=later, reduction="sum")
        return total / (2 * pairs + nodes)
    return ((raw.relu() - adjacency) * later).square().sum() / pairs


def divergence(mean: Tensor, log_deviation: Tensor) -> Tensor:
    """The mean over M nodes of the KL divergence of their posteriors (M, d) from a standard normal, in nats."""
    return -0.5 * (1 + 2 * log_deviation - mean.square() - (2 * log_deviation).exp()).sum(-1).mean()


class GinVae:
    """The autoencoder on its way through the epochs."""

    def __init__(self, config: Config, wires: int, device: str) -> None:
        self.config, self.wires, self.device = config, wires, device
        with torch.random.fork_rng(devices=[]):  # the weights that count are drawn by `fit`
            self.network = Network(config, wires).to(device)
        self.learner = Learner(self.network, config.lr, device)

    def fit(self, pool: Pool, seed: int, threads: int = 1) -> Iterator[dict[str, float]]:
        """Trains on the first circuits; metrics are the mean losses there and `reconstruction` on those held out."""
        count = len(pool) - max(1, round(self.config.held_out * len(pool)))
        if count < 1:
            raise CircuitError(f"found {len(pool)} circuits; to learn from some and be judged by others takes 2")
        train, held_out = self._data(pool[:count]), self._data(pool[count:])
        lesson = Lesson(
            train,
            losses=lambda rows: self.network.losses(train.batch(rows), self.learner.draws),
            judged=lambda: self._judged(held_out),
            opening=self.network.encoder,
            epochs=self.config.epochs,
            batch=self.config.batch,
        )
        yield from self.learner.fit(lesson, seed, threads)

    def judged(self, pool: Pool) -> dict[str, float]:
        """`reconstruction` of circuits from their nodes' means, and the KL divergence of a node in nats."""
        return self._judged(self._data(pool))

    @torch.no_grad()
    def _judged(self, data: Data) -> dict[str, float]:
        self.learner.read_only()
        parts, nats, count = [], 0.0, 0
        for batch in data.batches():
            mean, log_deviation = self.network.encoder(batch)
            parts.append([part.numpy(force=True) for part in self.network.rebuild(batch.dense(mean))])
            nats, count = nats + len(mean) * float(divergence(mean, log_deviation)), count + len(mean)
        nodes, edges = (np.concatenate(part) for part in zip(*parts, strict=True))
        return reconstruction(data.graphs, nodes, edges, self.config.types) | {"kl": nats / count}

    @torch.no_grad()
    def embed(self, pool: Pool) -> NDArray[np.float32]:
        """The pooled means: (B, d)."""
        self.learner.read_only()
        batches = (batch for part in chunks(pool) for batch in self._data(part).batches())
        return np.concatenate([self.network.pooled(batch).numpy(force=True) for batch in batches])

    @torch.no_grad()
    def generate(self, pool: Pool, count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Invented graphs, real-valued: nodes (count, V, F) and adjacency (count, V, V).

        The latent of a node is normal with mean and deviation of the pool's latents at its place in the circuit. If
        the pool's circuits differ in length, each invention has the length of one of them.
        """
        self.learner.read_only()
        data = self._data(pool)
        width = data.nodes.shape[1]
        live = torch.ones(len(pool), width, device=self.device) if data.live is None else data.live.float()
        total = torch.zeros(2, width, self.config.latent, dtype=torch.float64, device=self.device)
        for batch in data.batches():
            means = batch.dense(self.network.encoder(batch)[0]).double()
            total += torch.stack([means.sum(0), means.square().sum(0)])
        mean, square = total / live.sum(0).clamp(min=1)[:, None]
        deviation = (square - mean.square()).clamp(min=0).sqrt()
        draws = torch.Generator(self.device).manual_seed(seed)
        like = torch.randint(len(pool), (count,), generator=draws, device=self.device)
        noise = torch.randn(count, *mean.shape, generator=draws, device=self.device)
        nodes, edges = self.network.rebuild((mean + deviation * noise).float())
        there = live[like]
        nodes, edges = nodes * there[..., None], edges.triu(1) * there[:, :, None] * there[:, None, :]
        return nodes.numpy(force=True), edges.numpy(force=True)

    @torch.no_grad()
    def moved(
        self, pool: Pool, shifts: ArrayLike, noise: float, seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The graphs of a pool's circuits, their latents moved, real-valued: nodes (B, V, F) and adjacency (B, V, V).

        The means of all nodes of a circuit go by its row of `shifts`, (B, d) or what broadcasts to it, so that its
        vector goes by just that if pooling is `mean` or `max`. Then each goes its own way by normal noise of `noise`
        deviations, those of the nodes' means in the pool, dimension by dimension.
        """
        self.learner.read_only()
        data = self._data(pool)
        means = torch.cat([batch.dense(self.network.encoder(batch)[0]) for batch in data.batches()])
        live = torch.ones_like(means[..., 0], dtype=torch.bool) if data.live is None else data.live
        common = np.broadcast_to(np.asarray(shifts, np.float32), (len(pool), self.config.latent))
        draws = torch.Generator(self.device).manual_seed(seed)
        own = noise * means[live].std(0, correction=0) * torch.randn(means.shape, generator=draws, device=self.device)
        nodes, edges = self.network.rebuild(means + torch.tensor(common, device=self.device)[:, None] + own)
        nodes, edges = nodes * live[..., None], edges.triu(1) * live[:, :, None] * live[:, None, :]
        return nodes.numpy(force=True), edges.numpy(force=True)

    def _data(self, pool: Pool) -> Data:
        return Data(self.config.encoded(pool, self.wires), pool, self.device)

    def state_dict(self) -> dict[str, Any]:
        return self.learner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.learner.load_state_dict(state)


def build(config: Config, wires: int, slots: int, device: str = "cpu") -> Embedding:
    """The autoencoder for circuits on `wires` wires, however long."""
    return GinVae(config, wires, device)
