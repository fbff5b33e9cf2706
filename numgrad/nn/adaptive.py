"""A softmax over many classes of which most are rare: Grave et al., 2017 (arXiv:1609.04309)."""

from collections import namedtuple
from collections.abc import Sequence

from ..layout import integer, integers
from ..ops.join import cat
from ..tensor import Tensor
from . import functional as F
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of the targets and their mean loss: (N, in_features), (N) -> (N), (); without N too.

    Classes are numbered from frequent to rare. Those below ``cutoffs[0]`` have an output each in the head; each later
    cluster has one there, and a tail of its own whose inner width is divided by ``div_value`` once more each time.
    """

    def __init__(
        self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0,
        head_bias: bool = False, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        name = "AdaptiveLogSoftmaxWithLoss"
        in_features, n_classes = integer(name, "in_features", in_features), integer(name, "n_classes", n_classes)
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            cutoffs != sorted(set(cutoffs)) or cutoffs[0] <= 0 or cutoffs[-1] > n_classes - 1
            or any(int(cutoff) != cutoff for cutoff in cutoffs)
        ):  # fmt: skip
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value "
                f"is between 1 and n_classes-1, got {cutoffs} for {n_classes} classes"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*integers(name, "cutoffs", cutoffs), n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, device=device, dtype=dtype)
        self.tail = ModuleList()
        for k in range(self.n_clusters):
            inner = int(in_features // div_value ** (k + 1))
            size = self.cutoffs[k + 1] - self.cutoffs[k]
            self.tail.append(
                Sequential(
                    Linear(in_features, inner, bias=False, device=device, dtype=dtype),
                    Linear(inner, size, bias=False, device=device, dtype=dtype),
                )
            )

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for projection in self.tail:
            for layer in projection.children():
                layer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        if target_.dim() > 1:
            raise RuntimeError(f"0D or 1D target tensor expected, multi-target not supported, got {list(target_.shape)}")
        if input_.dim() != target_.dim() + 1 or input_.shape[:-1] != target_.shape:
            raise RuntimeError(
                f"Input and target should have the same size in the batch dimension, got {list(input_.shape)} and "
                f"{list(target_.shape)}."
            )
        single = target_.dim() == 0
        input, target = (input_.unsqueeze(0), target_.unsqueeze(0)) if single else (input_, target_)
        if len(target) and not (int(target.min()) >= 0 and int(target.max()) < self.n_classes):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range [{int(target.min())}, "
                f"{int(target.max())}] were found."
            )
        head = F.log_softmax(self.head(input), dim=1)
        cluster = target * 0
        for cutoff in self.cutoffs[:-1]:
            cluster = cluster + (target >= cutoff)
        places = target.where(cluster == 0, self.shortlist_size + cluster - 1)
        output = head.gather(1, places.unsqueeze(1)).squeeze(1)
        for k, tail in enumerate(self.tail):
            rows = (cluster == k + 1).nonzero().squeeze(1)
            if rows.numel():
                scores = F.log_softmax(tail(input[rows]), dim=1)
                within = (target[rows] - self.cutoffs[k]).unsqueeze(1)
                output = output.index_add(0, rows, scores.gather(1, within).squeeze(1))
        output = output.squeeze(0) if single else output
        return _ASMoutput(output, (-output).mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """Log-probabilities of all classes: (N, in_features) -> (N, n_classes)."""
        head = F.log_softmax(self.head(input), dim=1)
        found = [head[:, : self.shortlist_size]]
        for k, tail in enumerate(self.tail):
            at = self.shortlist_size + k
            found.append(F.log_softmax(tail(input), dim=1) + head[:, at : at + 1])
        return cat(found, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of every row; tails are looked at only where the head prefers one."""
        head = self.head(input)
        output = head.argmax(1)
        if bool((output < self.shortlist_size).all()):
            return output
        rows = (output >= self.shortlist_size).nonzero().squeeze(1)
        return output.index_copy(0, rows, self.log_prob(input[rows]).argmax(1))
