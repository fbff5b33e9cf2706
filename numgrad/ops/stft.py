"""Short-time Fourier transforms: the spectra of frames of a signal that overlap, and the signal back from them."""

import warnings

import numpy as np

from ..autograd import no_grad
from ..layout import integer
from ..op import as_tensor_operand, function
from ..tensor import Tensor, from_array
from .complex import view_as_real
from .create import ones
from .fourier import complex_transform, half_transform, real_transform, resized
from .pad import pad


def _window(name, window, win_length, n_fft, like):
    """The window in the middle of a frame of ``n_fft``; ones without one."""
    if window is None:
        window = ones(win_length, dtype=like._m.dtype.to_real(), device=like._m.device)
    elif window.ndim != 1 or window.shape[0] != win_length:
        raise RuntimeError(
            f"{name}: expected a 1D window tensor of size equal to win_length={win_length}, but got window with size "
            f"{list(window.shape)}"
        )
    left = (n_fft - win_length) // 2
    return pad(window, (left, n_fft - win_length - left)) if win_length < n_fft else window


def _lengths(name, n_fft, hop_length, win_length):
    win_length = n_fft if win_length is None else integer(name, "win_length", win_length)
    hop_length = n_fft // 4 if hop_length is None else integer(name, "hop_length", hop_length)
    if hop_length <= 0:
        raise RuntimeError(f"{name}: expected hop_length > 0, but got hop_length={hop_length}")
    if not 0 < win_length <= n_fft:
        raise RuntimeError(f"{name}: expected 0 < win_length <= n_fft, but got win_length={win_length}, n_fft={n_fft}")
    return hop_length, win_length


@function
def stft(input, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect",
         normalized=False, onesided=None, return_complex=None, align_to_window=None) -> Tensor:  # fmt: skip
    """The spectra of frames ``hop_length`` apart: (T) or (B, T) -> (..., frequencies, frames), complex.

    A frame has ``n_fft`` samples, weighted with ``window`` (of ``win_length``). ``center``: the signal is padded by
    half a frame at both ends. ``normalized``: divided by the root of ``n_fft``. ``onesided`` (the default for real
    input): ``n_fft // 2 + 1`` frequencies. ``return_complex=False`` gives pairs of reals. Raises RuntimeError for a
    signal shorter than a frame and for lengths that do not fit.
    """
    input, n_fft = as_tensor_operand("stft", input, "input"), integer("stft", "n_fft", n_fft)
    if align_to_window is not None and center:
        raise RuntimeError("stft: align_to_window should only be set when center = false")
    if window is None:
        warnings.warn(
            "stft: A window was not provided. A rectangular window will be applied, which is known to cause spectral "
            "leakage. Other windows such as hann_window or hamming_window are recommended; to suppress this warning "
            "pass window=ones(win_length)", stacklevel=2,
        )  # fmt: skip
    if not input._m.dtype.differentiable:
        raise RuntimeError(f"stft: expected a tensor of floating point or complex values, got {input._m.dtype!r}")
    if input._m.ndim not in (1, 2):
        raise RuntimeError(f"stft: expected a 1D or 2D tensor, but got a {input._m.ndim}D tensor")
    hop_length, win_length = _lengths("stft", n_fft, hop_length, win_length)
    is_complex = input._m.dtype.is_complex or (window is not None and window._m.dtype.is_complex)
    if onesided and is_complex:
        raise RuntimeError("stft: Cannot have onesided output if window or input is complex")
    if return_complex is None and not is_complex:
        raise RuntimeError(
            "stft requires the return_complex parameter be given for real inputs, and will further require that "
            "return_complex=True in a future PyTorch release."
        )
    batch = input if input._m.ndim == 2 else input.unsqueeze(0)
    if center:
        batch = pad(batch.unsqueeze(0), (n_fft // 2, n_fft // 2), mode=pad_mode).squeeze(0)
    length = batch._m.shape[1]
    if not 0 < n_fft <= length:
        raise RuntimeError(f"stft: expected 0 < n_fft < {length}, but got n_fft={n_fft}")
    if align_to_window:
        left = (n_fft - win_length) // 2
        batch = pad(batch, (left, n_fft - win_length - left))
    frames = batch.unfold(1, n_fft, hop_length) * _window("stft", window, win_length, n_fft, input)
    scale = n_fft**-0.5 if normalized else 1.0
    if is_complex or onesided is False:
        d = frames._m.dtype.to_complex()
        found = complex_transform(frames.to(d), (2,), scale, True)
    else:
        found = real_transform(frames, 2, scale)
    found = found.transpose(1, 2)
    found = found if input._m.ndim == 2 else found.squeeze(0)
    return view_as_real(found) if return_complex is False else found


def _added(frames, hop_length):
    """Frames (B, n, N) added up at places ``hop_length`` apart: (B, T)."""
    batch, count, size = frames._m.shape
    places = np.arange(count)[:, None] * hop_length + np.arange(size)
    target = frames.new_zeros((batch, size + hop_length * (count - 1)))
    return target.index_add(1, from_array(places.reshape(-1)), frames.reshape((batch, -1)))


@function
def istft(input, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False, onesided=None,
          length=None, return_complex=False) -> Tensor:  # fmt: skip
    """The signal whose `stft` is nearest to ``input``: (..., frequencies, frames) -> (..., T).

    The frames' signals are weighted with ``window`` once more, added up, and divided by the sum of the squared windows.
    ``length`` cuts the signal or fills it with zeros. Raises RuntimeError for sizes that do not fit, and for windows
    whose squares add up to 0 somewhere.
    """
    input, n_fft = as_tensor_operand("istft", input, "input"), integer("istft", "n_fft", n_fft)
    if not input._m.dtype.is_complex:
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True."
        )
    if not input._m.numel:
        raise RuntimeError("istft: input tensor cannot be empty.")
    if input._m.ndim not in (2, 3):
        raise RuntimeError(f"istft: expected a tensor with 2 or 3 dimensions, but got {input._m.ndim}")
    hop_length, win_length = _lengths("istft", n_fft, hop_length, win_length)
    if hop_length > win_length:
        raise RuntimeError(f"istft: expected 0 < hop_length <= win_length, got hop_length={hop_length}, win_length={win_length}")
    spectra = (input if input._m.ndim == 3 else input.unsqueeze(0)).transpose(1, 2)
    onesided = spectra._m.shape[2] != n_fft if onesided is None else onesided
    expected = n_fft // 2 + 1 if onesided else n_fft
    if spectra._m.shape[2] != expected:
        raise RuntimeError(
            f"istft: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft"
            f"{' / 2 + 1' if onesided else ''} when onesided={onesided}, but got {spectra._m.shape[2]}"
        )
    if window is not None and window._m.dtype.is_complex and not return_complex:
        raise RuntimeError("istft: Complex windows are incompatible with return_complex=False")
    if return_complex and onesided:
        raise RuntimeError("istft: Cannot have onesided output if window or input is complex")
    window = _window("istft", window, win_length, n_fft, input)
    scale = n_fft**-0.5 if normalized else 1.0 / n_fft
    if return_complex:
        frames = complex_transform(spectra, (2,), scale, False)
    else:
        frames = half_transform(resized(spectra, 2, n_fft // 2 + 1), 2, scale, n_fft)
    count = spectra._m.shape[1]
    found = _added(frames * window, hop_length)
    weight = _added((window * window).expand((1, count, n_fft)), hop_length)
    whole = found._m.shape[1]
    start = n_fft // 2 if center else 0
    stop = start + length if length is not None else whole - start
    found, weight = (x.narrow(1, start, min(stop, whole) - start) for x in (found, weight))
    with no_grad():
        least = weight.abs().min().item() if weight._m.numel else 1.0
    if least < 1e-11:
        raise RuntimeError(f"istft: window overlap add min: {least}; the squares of the windows must not add up to 0 anywhere")
    found = found / weight
    if stop > whole:
        warnings.warn(
            "istft: The length of signal is shorter than the length parameter. Result is being padded with zeros in the "
            "tail. Please check your center and hop_length settings.", stacklevel=2,
        )  # fmt: skip
        found = pad(found, (0, stop - whole))
    return found if input._m.ndim == 3 else found.squeeze(0)
