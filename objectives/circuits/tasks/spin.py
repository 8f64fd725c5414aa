"""Ground states of spin models and of the Hubbard model, in units of their couplings.

    tfim        H = J Σ Z Z + h Σ X
    heisenberg  H = J Σ (X X + Y Y + Z Z)
    xxz         H = J Σ (X X + Y Y + Δ Z Z)
    hubbard     H = -t Σ (c†c + h.c.) + U Σ n↑ n↓ - μ Σ (n↑ + n↓), Jordan-Wigner, wires 2s and 2s + 1 for site s

with sums over pairs of neighbours or over sites. The ground of `hubbard` is that of all fillings; μ = U/2 makes it the
half-filled one.

Published (Sun et al., Quantum 10, 1994): tfim on a ring of 8, J = h = 1, reward E / (-10), threshold 0.9. There -10 is
not the ground energy, -10.2517, but what the best product state has; so the strict question is for an energy beyond
every product state's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from objectives.circuits.task import Task
from objectives.circuits.tasks._words import ground_task, words_of
from spaces.circuits.pool import CircuitError
from spaces.domains import Choice, Int, Uniform

PUBLISHED, PUBLISHED_REFERENCE = ("tfim", "ring", 8, 1.0, 1.0), -10.0
THRESHOLD = 0.9


@dataclass(frozen=True)
class Config:
    """Which model, on which lattice."""

    model: Annotated[str, Choice("tfim", "heisenberg", "xxz", "hubbard")] = "tfim"  # the Hamiltonian
    lattice: Annotated[str, Choice("chain", "ring", "square")] = "ring"  # only the ring is periodic
    sites: Annotated[int, Int(2, 20)] = 8  # a wire each, two of them in `hubbard`
    rows: Annotated[int, Int(1, 10)] = 2  # `square`: sites are rows x columns
    coupling: Annotated[float, Uniform(-10.0, 10.0)] = 1.0  # J
    field: Annotated[float, Uniform(-10.0, 10.0)] = 1.0  # `tfim`: h
    anisotropy: Annotated[float, Uniform(-10.0, 10.0)] = 0.5  # `xxz`: Δ
    hopping: Annotated[float, Uniform(-10.0, 10.0)] = 1.0  # `hubbard`: t
    coulomb: Annotated[float, Uniform(-20.0, 20.0)] = 4.0  # `hubbard`: U
    potential: Annotated[float, Uniform(-20.0, 20.0)] = 0.0  # `hubbard`: the chemical potential μ


def build(config: Config) -> Task:
    """The task of finding the model's ground state; its reference is the ground energy where not published.

    Raises:
        CircuitError: a square lattice whose sites do not fill its rows, or couplings that leave no negative energy.
    """
    wires = 2 * config.sites if config.model == "hubbard" else config.sites
    words, coefficients = words_of(_operator(config), wires)
    setting = (config.model, config.lattice, config.sites, config.coupling, config.field)
    return ground_task(
        f"{config.model}, {config.lattice} of {config.sites}",
        words,
        coefficients,
        THRESHOLD,
        reference=PUBLISHED_REFERENCE if setting == PUBLISHED else None,
    )


def _operator(config: Config) -> Any:
    """PennyLane's operator of the model."""
    import pennylane
    from pennylane import spin

    cells = [config.sites]
    if config.lattice == "square":
        if config.sites % config.rows:
            raise CircuitError(f"rows: {config.sites} sites do not fill {config.rows} rows")
        cells = [config.rows, config.sites // config.rows]
    where = ("square" if config.lattice == "square" else "chain", cells)
    periodic = {"boundary_condition": config.lattice == "ring"}
    j = config.coupling
    match config.model:
        case "tfim":  # which PennyLane writes with the opposite signs
            return spin.transverse_ising(*where, coupling=-j, h=-config.field, **periodic)
        case "heisenberg":
            return spin.heisenberg(*where, coupling=[j, j, j], **periodic)
        case "xxz":
            return spin.heisenberg(*where, coupling=[j, j, j * config.anisotropy], **periodic)
    electrons = sum(pennylane.Identity(q) - pennylane.Z(q) for q in range(2 * config.sites)) / 2
    fermions = spin.fermi_hubbard(*where, hopping=config.hopping, coulomb=config.coulomb, **periodic)
    return fermions - config.potential * electrons
