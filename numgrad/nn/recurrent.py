"""Recurrent layers: RNN, LSTM and GRU over whole sequences.

The product with the inputs is one for all time steps. Sequences of one length then run as one op; packed ones, and
projected states, step by step: one product with the hidden state and one row op each.
"""

import math
import warnings

from ..autograd import is_grad_enabled
from ..ops.index import index_select
from ..ops.join import cat, stack
from ..ops.recurrent import Steps, gru_step, hidden_product, lstm_step
from ..ops.sequence import runs_as_one, sequence
from ..tensor import Tensor
from . import functional as F, init
from .module import Module
from .parameter import Parameter, empty_parameter
from .utils.rnn import PackedSequence


class RNNBase(Module):
    """What the layers have in common: the weights of every layer and direction, and the walk through time.

    ``weight_ih_l0`` (gates * hidden_size, input_size), ``weight_hh_l0`` (gates * hidden_size, hidden_size or proj_size),
    ``bias_ih_l0``, ``bias_hh_l0``, ``weight_hr_l0`` (proj_size, hidden_size) where there is a projection; then the same
    with the suffix ``_reverse``, and for the layers ``l1`` and so on.
    """

    mode: str
    bias: bool
    _gates = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        if not isinstance(dropout, (int, float)) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError("dropout should be a number in range [0, 1] representing the probability of an element being zeroed")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
                f"greater than 1, but got dropout={dropout} and num_layers={num_layers}", stacklevel=3,
            )  # fmt: skip
        for name, value, kind in (
            ("input_size", input_size, int), ("hidden_size", hidden_size, int), ("num_layers", num_layers, int),
            ("bias", bias, bool), ("batch_first", batch_first, bool), ("bidirectional", bidirectional, bool),
            ("proj_size", proj_size, int),
        ):  # fmt: skip
            if not isinstance(value, kind):
                raise TypeError(f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")
        if input_size <= 0:
            raise ValueError("input_size must be greater than zero")
        if hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if proj_size >= hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        rows = self._gates[mode] * hidden_size
        state = proj_size or hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else state * (2 if bidirectional else 1)
            for suffix in self._suffixes(layer):
                shapes = {"weight_ih": (rows, width), "weight_hh": (rows, state)}
                if bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    self.register_parameter(name + suffix, empty_parameter(shape, device, dtype))
        self.reset_parameters()

    def _suffixes(self, layer):
        return (f"_l{layer}", f"_l{layer}_reverse") if self.bidirectional else (f"_l{layer}",)

    def reset_parameters(self) -> None:
        """Draw all weights anew, uniform in +-1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing to do: kernels read the weights where they are."""

    @property
    def _flat_weights(self) -> list[Tensor]:
        return [weight for weights in self.all_weights for weight in weights]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights of every layer and direction."""
        names = ["weight_ih", "weight_hh"] + (["bias_ih", "bias_hh"] if self.bias else [])
        names += ["weight_hr"] if self.proj_size else []
        return [
            [getattr(self, name + suffix) for name in names]
            for layer in range(self.num_layers) for suffix in self._suffixes(layer)
        ]  # fmt: skip

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.batch_first is not False:
            text += f", batch_first={self.batch_first}"
        if self.dropout:
            text += f", dropout={self.dropout}"
        if self.bidirectional is not False:
            text += f", bidirectional={self.bidirectional}"
        return text

    # --- running -----------------------------------------------------------------------------------------------------

    def forward(self, input, hx=None):
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D instead")
        batched = input.dim() == 3
        steps = input.transpose(0, 1) if batched and self.batch_first else input if batched else input.unsqueeze(1)
        batch = steps.shape[1]
        states = self._initial(steps, batch, hx, batched)
        self._check_input(input, steps)
        out, finals = self._layers(steps, None, states)
        if batched and self.batch_first:
            out = out.transpose(0, 1)
        if not batched:
            out, finals = out.squeeze(1), [state.squeeze(1) for state in finals]
        return out, self._joined(finals)

    def _forward_packed(self, sequence, hx):
        counts = sequence.batch_sizes.tolist()
        states = self._initial(sequence.data, counts[0], hx, True, sequence.sorted_indices)
        self._check_input(sequence.data, sequence.data)
        out, finals = self._layers(sequence.data, counts, states)
        if sequence.unsorted_indices is not None:
            finals = [index_select(state, 1, sequence.unsorted_indices) for state in finals]
        packed = PackedSequence(out, sequence.batch_sizes, sequence.sorted_indices, sequence.unsorted_indices)
        return packed, self._joined(finals)

    def _joined(self, finals):
        return tuple(finals) if len(finals) > 1 else finals[0]

    def _check_input(self, input, steps):
        if not steps.is_floating_point() or steps.dtype is not self.weight_ih_l0.dtype:
            raise ValueError(f"RNN input dtype ({input.dtype}) does not match weight dtype ({self.weight_ih_l0.dtype}); convert with .to(...)")
        if steps.shape[-1] != self.input_size:
            raise RuntimeError(f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {steps.shape[-1]}")

    def _initial(self, like, batch, hx, batched, order=None):
        """The initial states, each (layers * directions, batch, size): those given, checked, or zeros."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        sizes = [self.proj_size or self.hidden_size] + ([self.hidden_size] if self.mode == "LSTM" else [])
        if hx is None:
            return [like.new_zeros((count, batch, size)) for size in sizes]
        if self.mode == "LSTM" and not isinstance(hx, (tuple, list)):
            raise RuntimeError(f"{type(self).__name__}: expected hx to be a tuple (h_0, c_0), got {type(hx).__name__}")
        given = list(hx) if self.mode == "LSTM" else [hx]
        states = []
        for name, state, size in zip(("hidden[0]", "hidden[1]") if self.mode == "LSTM" else ("hidden",), given, sizes):
            wanted = 3 if batched else 2
            if state.dim() != wanted:
                if self.mode == "LSTM":
                    kind = "batched 3-D" if batched else "unbatched 2-D"
                    raise RuntimeError(
                        f"For {kind} input, hx and cx should also be {wanted}-D but got "
                        f"({given[0].dim()}-D, {given[-1].dim()}-D) tensors"
                    )
                kind = "batched 3-D" if batched else "unbatched 2-D"
                raise RuntimeError(f"For {kind} input, hx should also be {wanted}-D but got {state.dim()}-D tensor")
            state = state if batched else state.unsqueeze(1)
            if tuple(state.shape) != (count, batch, size):
                raise RuntimeError(f"Expected {name} size {(count, batch, size)}, got {list(state.shape)}")
            states.append(state if order is None else index_select(state, 1, order))
        return states

    def _layers(self, data, counts, states):
        """(outputs, final states) of all layers over (T, B, input_size), or over packed rows with ``counts`` a step."""
        directions = 2 if self.bidirectional else 1
        finals: list = [[] for _ in states]
        for layer in range(self.num_layers):
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                start = [state[layer * directions + direction] for state in states]
                out, end = self._walk(data, counts, start, suffix, direction == 1)
                outputs.append(out)
                for found, state in zip(finals, end):
                    found.append(state)
            data = cat(outputs, -1) if directions == 2 else outputs[0]
            if self.dropout and self.training and layer < self.num_layers - 1:
                data = F.dropout(data, self.dropout)
        return data, [stack(found) for found in finals]

    def _walk(self, data, counts, states, suffix, backwards):
        """One direction of one layer."""
        bias = (getattr(self, "bias_ih" + suffix), getattr(self, "bias_hh" + suffix)) if self.bias else (None, None)
        hidden_weight = getattr(self, "weight_hh" + suffix)
        project = getattr(self, "weight_hr" + suffix) if self.proj_size else None
        before: list = []  # the hidden state that each step starts from, where the gradient of the weight needs it
        gru = self.mode == "GRU"
        both = bias[0] if gru or bias[0] is None or bias[1] is None else bias[0] + bias[1]
        products = F.linear(data, getattr(self, "weight_ih" + suffix), both)
        if counts is None and project is None and runs_as_one(products, hidden_weight, states):
            return sequence(self.mode, products, hidden_weight, bias[1], states, backwards)
        steps = Steps.apply(products, counts, None if gru else hidden_weight, before)
        before += [None] * len(steps)
        keep = is_grad_enabled() and hidden_weight.requires_grad
        order = range(len(steps))[::-1] if backwards else range(len(steps))
        outputs: list = [None] * len(steps)
        if self.mode != "GRU" and states[0].dtype is not products.dtype:  # in autocast
            states = [state.to(products.dtype) for state in states]
        if self.mode == "LSTM":  # the cell state travels beside the hidden one; see `lstm_step`
            states = [states[0], F.pad(states[1], (self.hidden_size, 0))]
        started = states
        finished: list = []  # final states of sequences that ended early, the shortest first
        if counts is not None:
            states = [state[: counts[order[0]]] for state in states] if len(steps) else states
        for t in order:
            if counts is not None:
                active = len(states[0])
                if counts[t] < active:
                    finished.append([state[counts[t] :] for state in states])
                    states = [state[: counts[t]] for state in states]
                elif counts[t] > active:
                    states = [cat((state, first[active : counts[t]])) for state, first in zip(states, started)]
            if keep:
                before[t] = states[0].detach()
            states = self._step(steps[t], states, hidden_weight, bias[1], project)
            outputs[t] = states[0]
        for ended in reversed(finished):
            states = [cat((state, rest)) for state, rest in zip(states, ended)]
        if self.mode == "LSTM":
            states = [states[0], states[1].narrow(1, self.hidden_size, self.hidden_size)]
        return (stack(outputs) if counts is None else cat(outputs)), states

    def _step(self, product, states, weight, bias, project):
        if self.mode == "GRU":
            return [gru_step(product, F.linear(states[0], weight, bias), states[0])]
        total = product + hidden_product(states[0], weight)
        if self.mode == "LSTM":
            both = lstm_step(total, states[1])
            hidden = both.narrow(1, 0, self.hidden_size)
            return [hidden if project is None else F.linear(hidden, project), both]
        return [total.tanh() if self.mode == "RNN_TANH" else total.relu()]


def _unexpected(name, arguments):
    if "proj_size" in arguments:
        return ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
    return TypeError(f"{name}: unexpected keyword arguments {sorted(arguments)}")


class RNN(RNNBase):
    """``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu, at every time step: (T, N, input_size) or, with
    ``batch_first``, (N, T, input_size), or (T, input_size) -> (outputs, last hidden states (layers * directions, N, H))."""

    def __init__(self, input_size, hidden_size, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
                 batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device=None, dtype=None, **others):  # fmt: skip
        if others:
            raise _unexpected("RNN", others)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(
            f"RNN_{nonlinearity.upper()}", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0,
            device, dtype,
        )  # fmt: skip
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory; see `LSTMCell` for a step: (T, N, input_size) or, with ``batch_first``, (N, T, input_size),
    or (T, input_size) -> (outputs, (hidden states, cell states)). ``proj_size`` projects the hidden state."""

    def __init__(self, input_size, hidden_size, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
                 dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device=None, dtype=None):  # fmt: skip
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        )


class GRU(RNNBase):
    """Gated recurrent units; see `GRUCell` for a step: (T, N, input_size) or, with ``batch_first``, (N, T, input_size),
    or (T, input_size) -> (outputs, last hidden states)."""

    def __init__(self, input_size, hidden_size, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
                 dropout: float = 0.0, bidirectional: bool = False, device=None, dtype=None, **others):  # fmt: skip
        if others:
            raise _unexpected("GRU", others)
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
