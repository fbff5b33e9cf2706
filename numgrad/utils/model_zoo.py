"""Weights from the net under the name that they once had; `numgrad.hub` is the present one."""

from ..hub import load_state_dict_from_url as load_url

__all__ = ["load_url"]
