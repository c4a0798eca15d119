"""The tanh and logistic functions of float32 numbers: values, products with slopes, and changes, each in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.exponentials import exponential, exponential_less_one
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.memory import empty
from analogpc.kernels.sharing import over_slices

_PART = 2**16
"""Least number of elements for one thread."""
_THERE = {
    name: CudaKernel("sigmoids", name) for name in ("logistic_values", "logistic_products", "logistic_shifts", "tanh_shifts")
}
_ONE = np.float32(1)

# x P(x^2) / Q(x^2) for tanh up to |x| = 9, where its float32 value is 1: a rational fit as in `activations`, relative error 2.1e-8 in exact
# arithmetic.
_TANH_END = np.float32(9)
_T1, _T2, _T3, _T4 = np.float32(0.133810267), np.float32(0.0034955896), np.float32(2.06091063e-5), np.float32(1.33546925e-8)
_U1, _U2, _U3, _U4 = np.float32(0.467143416), np.float32(0.0258769877), np.float32(3.28563736e-4), np.float32(7.77657135e-7)


@compiled(forceinline=True, error_model="numpy")
def narrow_tanh(x):
    """Return tanh of a float32 number with a relative error of at most 4e-7."""
    # Comparisons with NaN are false, which keeps it.
    c = _TANH_END if x > _TANH_END else x
    c = -_TANH_END if c < -_TANH_END else c
    t = c * c
    above = (((_T4 * t + _T3) * t + _T2) * t + _T1) * t + np.float32(1)
    below = (((_U4 * t + _U3) * t + _U2) * t + _U1) * t + np.float32(1)
    value = c * above / below
    value = np.float32(1) if value > np.float32(1) else value
    return np.float32(-1) if value < np.float32(-1) else value


@compiled(forceinline=True, error_model="numpy")
def _wide_tanh(x):
    """Return tanh in float64, with the error of the fit alone."""
    c = 9.0 if x > _TANH_END else np.float64(x)
    c = -9.0 if c < -9.0 else c
    t = c * c
    above = (((_T4 * t + _T3) * t + _T2) * t + _T1) * t + 1.0
    below = (((_U4 * t + _U3) * t + _U2) * t + _U1) * t + 1.0
    value = c * above / below
    value = 1.0 if value > 1.0 else value
    return -1.0 if value < -1.0 else value


@compiled(forceinline=True, error_model="numpy")
def _logistic(x):
    falling = exponential(-abs(x))
    return (falling if x < 0 else np.float32(1)) / (np.float32(1) + falling)


@compiled(error_model="numpy")
def _logistic_values(x, y):
    for i in range(x.size):
        y[i] = _logistic(x[i])


@compiled(error_model="numpy")
def _logistic_products(x, g, y):
    for i in range(x.size):
        falling = exponential(-abs(x[i]))
        y[i] = g[i] * (falling / ((_ONE + falling) * (_ONE + falling)))


@compiled(error_model="numpy")
def _logistic_shifts(x, d, y):
    # s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)), with b the larger one.
    for i in range(x.size):
        there = x[i] + d[i]
        size = _logistic(max(x[i], there)) * _logistic(-min(x[i], there)) * -exponential_less_one(-abs(d[i]))
        y[i] = -size if d[i] < 0 else size


@compiled(error_model="numpy")
def _tanh_shifts(x, d, y):
    for i in range(x.size):
        y[i] = _wide_tanh(d[i]) * (1.0 - _wide_tanh(x[i]) * _wide_tanh(x[i] + d[i]))


def logistic_value(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) with a relative error of at most 3e-7, in the shape of ``x``."""
    return _each(_logistic_values, "logistic_values", x)


def logistic_product(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return ``g`` times the slope of the logistic function at ``x``, of the same shape."""
    return _each(_logistic_products, "logistic_products", x, g)


def logistic_shift(x: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return the logistic function at x + d less that at x, to the relative precision of ``d``, of the same shape."""
    return _each(_logistic_shifts, "logistic_shifts", x, d)


def tanh_shift(x: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return tanh at x + d less that at x, of the same shape, with an error of at most 1e-7 times the step besides rounding."""
    return _each(_tanh_shifts, "tanh_shifts", x, d)


def _each(kernel: Any, there: str, *given: np.ndarray) -> np.ndarray:
    """Call a kernel, or the one of this name on the GPU, for all elements."""
    out = empty(given[0].shape, given[0].dtype, given[0])
    if on_gpu(out):
        _THERE[there](out.size, *(np.ascontiguousarray(array, like=array) for array in given), out, out.size)
        return out
    over_slices(kernel, _PART, [array.reshape(-1) for array in (*given, out)])
    return out
