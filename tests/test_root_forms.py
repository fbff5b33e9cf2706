"""Functions of the root namespace that stand beside others of their kind, against PyTorch's."""

import numpy as np
import pytest

import numgrad as ng

torch = pytest.importorskip("torch")

CALLS = """T.alias_copy(x)
T.as_strided_copy(x, (2, 2), (1, 2))
T.detach_copy(x)
T.diagonal_copy(x)
T.expand_copy(x[:1], (2, 4))
T.permute_copy(x, (1, 0))
T.select_copy(x, 0, 1)
T.slice_copy(x, 1, 1, 3)
T.split_copy(x, 2)
T.split_with_sizes_copy(x, [1, 2])
T.squeeze_copy(x[:1])
T.t_copy(x)
T.transpose_copy(x, 0, 1)
T.unbind_copy(x)
T.unfold_copy(x, 1, 2, 1)
T.unsqueeze_copy(x, 0)
T.view_copy(x, (4, 3))
T.cosine_embedding_loss(x, x, T.ones(3), 0.5, 0)
T.hinge_embedding_loss(x, x.sign(), 1.0, 2)
T.margin_ranking_loss(x, x + 1, x.sign())
T.margin_ranking_loss(x, x + 1, x.sign(), reduction=1)
T.triplet_margin_loss(x, x + 1, x + 2, 1.0, reduction=2)
T.kl_div(x, x, 2, log_target=True)
T.embedding(x, T.tensor([1, 0]))
T.frobenius_norm(x, [0, 1], False)
T.nuclear_norm(x)
T.lstm_cell(x, (h, h), wi, wh)
T.gru_cell(x, h, wi[:6], wh[:6], wi[:6, 0], wh[:6, 0])
T.rnn_tanh_cell(x, h, wi[:2], wh[:2])
T.rnn_relu_cell(x, h, wi[:2], wh[:2])
T.nonzero_static(x > 9, size=4)
T.nonzero_static(x > 2, size=2)
T.bilinear(x, x, T.ones(2, 4, 4))
(T.is_same_size(x, x), T.is_signed(x), T.get_device(x), T.typename(x), T.typename(3), x.t().dim_order(), x.dense_dim(), x.to_dense())
(T.sym_int(2.7), T.sym_float(2), T.sym_max(1, 2.0), T.sym_min(1, 2), T.sym_not(True), T.sym_sqrt(4), T.sym_sum([1, 2]))""".splitlines()


def values(T, call):
    def plain(value):
        if isinstance(value, T.Tensor):
            return np.asarray(value.detach().numpy(), np.float64).tolist()
        return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value

    x = T.arange(12.0).reshape(3, 4)
    space = {"T": T, "x": x, "h": T.ones(3, 2), "wi": T.arange(32.0).reshape(8, 4) / 40, "wh": T.arange(16.0).reshape(8, 2) / 40}
    return plain(eval(call, space))


def close(found, right):
    if isinstance(right, list):
        return isinstance(found, list) and len(found) == len(right) and all(map(close, found, right))
    return found == right or isinstance(right, float) and abs(found - right) <= 1e-5 * max(1.0, abs(right))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("call", CALLS)
def test_agrees_with_pytorch(call):
    assert close(values(ng, call), values(torch, call))


def test_copies_of_views_have_memory_of_their_own():
    x = ng.arange(4.0).requires_grad_()
    y = ng.view_copy(x, (2, 2))
    y.mul_(3).sum().backward()
    assert x.tolist() == [0, 1, 2, 3] and x.grad.tolist() == [3, 3, 3, 3]
    out = ng.empty(2, 2)
    assert ng.t_copy(y.detach(), out=out) is out and out.tolist() == [[0, 6], [3, 9]]


def test_warnings_always(monkeypatch):
    from numgrad import config

    monkeypatch.setattr(config, "_warned", set())
    try:
        ng.set_warn_always(True)
        assert ng.is_warn_always_enabled()
        for _ in range(2):
            with pytest.warns(UserWarning, match="once"):
                config.warn_once("once")
    finally:
        ng.set_warn_always(False)
