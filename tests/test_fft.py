"""Fourier transforms, short-time spectra and windows: values, gradients and messages as PyTorch's."""

import subprocess
import sys

import numpy as np
import pytest

import numgrad as ng
from numgrad.testing import gradcheck, gradgradcheck

rng = np.random.default_rng(6)
X = rng.normal(size=(3, 4, 5))
Z = X + 1j * rng.normal(size=(3, 4, 5))
W = np.hanning(10)[:6] + 0.1


def _same(f, *arrays):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    found = []
    for m in (ng, torch):
        operands = [m.tensor(a).requires_grad_() for a in arrays]
        out = f(m, *operands)
        weight = np.cos(np.arange(out.numel())).reshape(tuple(out.shape))
        out.backward(m.tensor(weight * (1 + 0.5j) if out.is_complex() else weight))
        found.append([out.detach().resolve_conj().numpy(), *[x.grad.resolve_conj().numpy() for x in operands]])
    for ours, theirs in zip(*found):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, 1e-9, 1e-9)


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_one_dimension(name, norm):
    for n in (None, 3, 8):
        _same(lambda m, x: getattr(m.fft, name)(x, n, 1, norm), X)
        if name not in ("rfft", "ihfft"):
            _same(lambda m, x: getattr(m.fft, name)(x, n, 0, norm), Z)


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_more_dimensions(name):
    data = X if name in ("rfft", "ihfft") else Z
    for suffix in ("2", "n"):
        _same(lambda m, x: getattr(m.fft, name + suffix)(x), data)
        _same(lambda m, x: getattr(m.fft, name + suffix)(x, s=(3, 8), norm="ortho"), data)
    _same(lambda m, x: getattr(m.fft, name + "n")(x, dim=(2, 0)), data)
    _same(lambda m, x: getattr(m.fft, name + "n")(x, s=(-1, 6), dim=(0, 1)), data)


def test_float32_stays_single():
    x = ng.tensor(X.astype(np.float32))
    assert ng.fft.rfft(x).dtype is ng.complex64 and ng.fft.irfft(ng.fft.rfft(x)).dtype is ng.float32
    assert ng.fft.fft(ng.arange(4)).tolist() == [6, -2 + 2j, -2, -2 - 2j]
    assert ng.allclose(ng.fft.irfft(ng.fft.rfft(x), 5), x, atol=1e-6)


@pytest.mark.parametrize("name", ["fft", "rfft", "irfft", "hfft", "ihfftn"])
def test_second_derivatives(name):
    def of_square(x):
        return getattr(ng.fft, name)(x * x)

    data = X if name in ("rfft", "ihfftn") else Z
    x = ng.tensor(data[:2, :3, 0].copy(), requires_grad=True)
    assert gradcheck(of_square, x)
    assert gradgradcheck(of_square, x)


def test_frequencies_and_shifts():
    torch = pytest.importorskip("torch")
    for n in (1, 4, 5):
        for name in ("fftfreq", "rfftfreq"):
            ours, theirs = (getattr(m.fft, name)(n, d=0.5).numpy() for m in (ng, torch))
            np.testing.assert_array_equal(ours, theirs)
    for name in ("fftshift", "ifftshift"):
        _same(lambda m, x: getattr(m.fft, name)(x), Z)
        _same(lambda m, x: getattr(m.fft, name)(x, 1), X)


def test_out():
    out = ng.empty(0, dtype=ng.complex128)
    assert ng.fft.fft(ng.tensor(X), out=out) is out and out.shape == X.shape
    with pytest.raises(RuntimeError, match="can't be cast"):
        ng.fft.fft(ng.tensor(X), out=ng.empty(X.shape))


@pytest.mark.filterwarnings("ignore:.*The length of signal")
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("normalized", [True, False])
def test_short_time(center, normalized):
    signal = rng.normal(size=(2, 40))
    for length in (None, 20, 60) if center else (None,):
        window = W + 0.5 if length == 60 else W
        frame = 6 if length == 60 or not center else 8

        def back(m, x, w):
            spectra = m.stft(x, frame, 3, 6, w, center, normalized=normalized, return_complex=True)
            found = m.istft(spectra, frame, 3, 6, w, center, normalized, length=length)
            return m.cat([found, m.view_as_real(spectra).reshape(2, -1)], 1)

        _same(back, signal, window)
    _same(lambda m, x: m.stft(x, 8, 3, 6, m.tensor(W), center), signal + 1j * signal[::-1])
    _same(lambda m, x: m.stft(x[0], 8, window=m.ones(8), onesided=False, return_complex=True), signal)


def test_windows():
    torch = pytest.importorskip("torch")
    for n in (0, 1, 2, 7, 8):
        for flag in (True, False):
            for name in ("bartlett", "blackman", "hann", "hamming", "kaiser"):
                ours, theirs = (getattr(m, f"{name}_window")(n, flag).numpy() for m in (ng, torch))
                np.testing.assert_allclose(ours, theirs, atol=1e-6)
            for name in ng.signal.windows.__all__:
                more = {"a": [0.4, 0.5, 0.1]} if name == "general_cosine" else {}
                ours, theirs = (getattr(m.signal.windows, name)(n, sym=flag, **more).numpy() for m in (ng, torch))
                np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: ng.fft.fft(ng.ones(3), 0), RuntimeError, r"Invalid number of data points \(0\)"),
        (lambda: ng.fft.fft(ng.ones(3), dim=1), IndexError, "Dimension out of range"),
        (lambda: ng.fft.fft(ng.tensor(1.0)), IndexError, "tensor has no dimensions"),
        (lambda: ng.fft.fft(ng.ones(3), norm="half"), RuntimeError, "Invalid normalization mode"),
        (lambda: ng.fft.fft(ng.ones(3).half()), RuntimeError, "Unsupported dtype torch.float16"),
        (lambda: ng.fft.rfft(ng.ones(3) * 1j), RuntimeError, "rfft expects a real input tensor"),
        (lambda: ng.fft.rfftn(ng.ones(3) * 1j), RuntimeError, "rfftn expects a real-valued input tensor"),
        (lambda: ng.fft.fftn(ng.ones(3, 3), dim=(0, 0)), RuntimeError, "dims must be unique"),
        (lambda: ng.fft.fftn(ng.ones(3, 3), s=(1,), dim=(0, 1)), RuntimeError, "must have the same length"),
        (lambda: ng.fft.fftn(ng.ones(3), s=(1, 1)), RuntimeError, "only has 1 dimensions"),
        (lambda: ng.stft(ng.ones(9), 4, window=ng.ones(4)), RuntimeError, "return_complex"),
        (lambda: ng.stft(ng.ones(9), 4, window=ng.ones(3), return_complex=True), RuntimeError, "expected a 1D window"),
        (lambda: ng.istft(ng.ones(3, 3), 4), RuntimeError, "requires a complex-valued input"),
        (lambda: ng.hann_window(-1), RuntimeError, "non-negative"),
        (lambda: ng.signal.windows.gaussian(3, std=0), ValueError, "Standard deviation must be positive"),
    ],
)
def test_messages(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_import_is_lazy():
    code = "import sys, numgrad; assert 'numgrad.fft' not in sys.modules and 'scipy.fft' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
