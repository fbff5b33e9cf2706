"""Distributions of angles."""

import math

import numgrad as ng

from . import constraints
from .distribution import Distribution
from .utils import broadcast_all, lazy_property


class VonMises(Distribution):
    """The density of angles proportional to ``exp(concentration * cos(x - loc))``."""

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    _parameters = ("loc", "concentration")

    def __init__(self, loc, concentration, validate_args=None):
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self):
        """The circular mean."""
        return self.loc

    @property
    def mode(self):
        return self.loc

    @lazy_property
    def variance(self):
        """The circular variance, from 0 to 1."""
        return 1 - ng.special.i1e(self.concentration) / ng.special.i0e(self.concentration)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        # cos(x) - 1 with the scaled Bessel function: neither term is large where the density is.
        away = -2 * self.concentration * (0.5 * (value - self.loc)).sin().square()
        return away - math.log(2 * math.pi) - ng.special.i0e(self.concentration).log()

    def _proposal(self):
        """The parameter of the wrapped Cauchy distribution that encloses the density most closely."""
        k = self.concentration.double()
        tau = 1 + (1 + 4 * k.square()).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * k)
        return ng.where(k < 1e-5, 1 / k + k, (1 + rho.square()) / (2 * rho))

    def sample(self, sample_shape=()):
        """Angles from -pi to pi, by rejection: Best and Fisher, Applied Statistics 28 (1979); in double precision."""
        with ng.no_grad():
            shape = self._extended_shape(sample_shape)
            r, k = self._proposal(), self.concentration.double()
            found = ng.zeros(shape, dtype=ng.float64, device=self.loc.device)
            done = ng.zeros(shape, dtype=ng.bool, device=self.loc.device)
            while not done.all():
                u1, u2, u3 = ng.rand((3, *shape), dtype=ng.float64, device=self.loc.device).unbind()
                z = (math.pi * u1).cos()
                f = (1 + r * z) / (r + z)
                c = k * (r - f)
                accept = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
                found = ng.where(accept, (u3 - 0.5).sign() * f.acos(), found)
                done = done | accept
            turned = (found + math.pi + self.loc.double()) % (2 * math.pi) - math.pi
            return turned.to(self.loc.dtype)
