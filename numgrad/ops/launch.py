"""From a hand-written kernel to its run over a range of units: the one call behind the structural families."""

from collections.abc import Sequence

import numpy as np

from ..plans import caller


def compiled(template, parameters: dict, device):
    """A hand-written kernel for the device."""
    return device.backend.template(template, parameters)


def launch(template, parameters: dict, slots: Sequence, units: int, work: int, device) -> None:
    """Run ``template(**parameters)`` over ``units`` units of about ``work`` elements each."""
    if units:
        caller(len(slots), units, max(work, 1), device)(compiled(template, parameters, device), *slots, 0, units)


def element(d):
    """The NumPy type under which kernels see a dtype's elements: bool as uint8."""
    return np.uint8 if d.kind == "b" else d.type
