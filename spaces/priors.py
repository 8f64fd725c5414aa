"""An expert's belief about a knob: how likely its values are, and draws from them.

On the unit scale of a domain (`to_unit`) the belief in a value is a normal distribution around it, cut off at the
ends, whose width says how sure the expert is; among unordered options the believed one weighs so many times another.
The widths are those of Mallik et al. 2023 ("PriorBand", appendix on priors), the weights chosen here.
"""

from __future__ import annotations

import math

import numpy as np

from spaces.domains import Choice, Domain, Fixed, Int, Ordinal, Prior, Value

WIDTH = {"low": 0.5, "medium": 0.25, "high": 0.125}  # standard deviation, of a domain of length 1
WEIGHT = {"low": 2.0, "medium": 4.0, "high": 8.0}  # of the believed option against any other
CONFIDENCES = tuple(WIDTH)
NARROW = 1e-6  # what a value owns of the unit scale, below which a density is told from a mass by rounding alone


def sample(domain: Domain, rng: np.random.Generator) -> Value:
    """A value drawn by the belief that stands on a domain; without one, uniformly."""
    if isinstance(domain, Fixed) or domain.prior is None:
        return domain.sample(rng)
    if isinstance(domain, Choice) and not isinstance(domain, Ordinal):
        chances = [density(domain, option) / len(domain.options) for option in domain.options]
        return domain.options[int(rng.choice(len(chances), p=chances))]
    return domain.from_unit(_inverse(domain, domain.prior, rng.random()))


def density(domain: Domain, value: Value) -> float:
    """How much likelier the belief makes a value than chance alone, which is 1."""
    if isinstance(domain, Fixed) or domain.prior is None:
        return 1.0
    prior = domain.prior
    if isinstance(domain, Choice) and not isinstance(domain, Ordinal):
        weight, count = WEIGHT[prior.confidence], len(domain.options)
        return (weight if domain.index(value) == domain.index(prior.value) else 1.0) * count / (weight + count - 1)
    width, center = WIDTH[prior.confidence], domain.to_unit(prior.value)
    whole = _mass(-center / width, (1 - center) / width)
    low, high = _cell(domain, value)
    if high - low > NARROW:
        return _mass((low - center) / width, (high - center) / width) / (whole * (high - low))
    height = math.exp(-(((domain.to_unit(value) - center) / width) ** 2) / 2) / (width * math.sqrt(2 * math.pi))
    return height / whole


def _cell(domain: Domain, value: Value) -> tuple[float, float]:
    """The part of [0, 1] that a value owns; where there is no end of values, the point alone."""
    assert not isinstance(domain, Fixed)
    place = domain.to_unit(value)
    if isinstance(domain, Int) and domain.log and domain.size > 1:
        low, high = math.log(domain.low - 0.5), math.log(domain.high + 0.5)
        return (math.log(value - 0.5) - low) / (high - low), (math.log(value + 0.5) - low) / (high - low)
    return place - 0.5 / domain.size, place + 0.5 / domain.size


def _inverse(domain: Domain, prior: Prior, share: float) -> float:
    """The place in [0, 1] below which that share of the belief lies."""
    from scipy.stats import norm  # here, since few studies state beliefs

    assert not isinstance(domain, Fixed)
    width, center = WIDTH[prior.confidence], domain.to_unit(prior.value)
    low, high = _normal(-center / width), _normal((1 - center) / width)
    return min(max(center + width * float(norm.ppf(low + share * (high - low))), 0.0), 1.0)


def _mass(low: float, high: float) -> float:
    """What a standard normal distribution has between two places, also far from its middle."""
    return _normal(-low) - _normal(-high) if low > 0 else _normal(high) - _normal(low)


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))
