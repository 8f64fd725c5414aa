"""Hartmann's function of six variables seen through noise: `value` is what a trial observes, `truth` what it is.

The noise is Gaussian, of a standard deviation of a tenth of the function's range, and belongs to the trial's seed: one
who tries a point again sees another value.
"""

from __future__ import annotations

from objectives.functions import hartmann6

OPTIMUM = hartmann6.OPTIMUM  # of the truth
NOISE = 0.3
Config = hartmann6.Config
build = hartmann6.build
