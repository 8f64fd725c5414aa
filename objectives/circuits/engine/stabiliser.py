"""The state that a Clifford circuit makes of |0…0⟩, from the images of Z alone.

A Clifford circuit C turns each Z_q, which leaves |0…0⟩ as it is, into a word g_q that leaves C|0…0⟩ as it is. Gaussian
elimination of the words' x-bits leaves r words with independent flips and n - r words of Z alone; the latter fix a
basis state b, and the state is 2^(-r/2) Π (1 + g) |b⟩ (Gottesman, quant-ph/9807006; Aaronson and Gottesman,
quant-ph/0406196). No gate is applied and the work is one visit to each amplitude that is not zero.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from objectives.circuits.engine.lanes import popcount
from objectives.circuits.engine.program import Program


@njit(cache=True)
def stabilised(v: NDArray, program: Program, words: NDArray, places: NDArray, phases: NDArray) -> None:
    """Writes the state into `v`, 2N real numbers, up to its global phase, from the images in `program`.

    `words` (n, 3), `places` and `phases` (N,) are room to work in.
    """
    wires, size = words.shape[0], v.size >> 1
    for wire in range(wires):
        row = 2 * wire + 1
        words[wire, 0], words[wire, 1], words[wire, 2] = (
            program.image_x[row],
            program.image_z[row],
            program.image_p[row],
        )
    flips = _eliminate(words, 0, 0, size)
    _eliminate(words, flips, 1, size)
    basis = 0
    for row in range(flips, wires):
        if words[row, 2] & 2:
            basis |= _highest(words[row, 1], size)
    places[0], phases[0], count = basis, 0, 1
    for row in range(flips):
        x, z, p = words[row, 0], words[row, 1], words[row, 2]
        for k in range(count):
            places[count + k] = places[k] ^ x
            phases[count + k] = phases[k] + p + 2 * popcount(z & places[k])
        count *= 2
    v[:] = 0
    height = 1 / np.sqrt(count)
    for k in range(count):
        place = places[k] + (size if phases[k] & 1 else 0)
        v[place] = -height if phases[k] & 2 else height


@njit(cache=True)
def _highest(bits: int, size: int) -> int:
    while not bits & size:
        size >>= 1
    return size


@njit(cache=True)
def _eliminate(words: NDArray, first: int, column: int, size: int) -> int:
    """Brings the words from row `first` on to reduced echelon form in a column; returns the row behind the last."""
    rank, bit = first, size >> 1
    while bit:
        row = rank
        while row < words.shape[0] and not words[row, column] & bit:
            row += 1
        if row < words.shape[0]:
            for k in range(3):
                words[rank, k], words[row, k] = words[row, k], words[rank, k]
            for other in range(first, words.shape[0]):
                if other != rank and words[other, column] & bit:
                    words[other, 2] = (
                        words[other, 2] + words[rank, 2] + 2 * popcount(words[other, 1] & words[rank, 0])
                    ) & 3
                    words[other, 0] ^= words[rank, 0]
                    words[other, 1] ^= words[rank, 1]
            rank += 1
        bit >>= 1
    return rank
