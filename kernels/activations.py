"""Elementwise nonlinearities and products with their slopes, each in one pass over memory."""

from __future__ import annotations

import math

import numpy as np

from analogpc.kernels.compiled import compiled
from analogpc.kernels.gpu.arrays import on_gpu
from analogpc.kernels.gpu.cuda_kernel import CudaKernel
from analogpc.kernels.memory import empty
from analogpc.kernels.sharing import over_slices
from analogpc.kernels.sigmoids import logistic_value, narrow_tanh

_ROOT_HALF = math.sqrt(0.5)
_PART = 2**16
"""Least number of elements for one thread."""
_RUN = 512
_VALUES = CudaKernel("activations", "values")
_PRODUCTS = CudaKernel("activations", "products")
_SHIFTS = CudaKernel("activations", "shifts")

RECTIFY, CLIP, GELU, LOGISTIC, NORMAL, TANH = range(6)

# x P(x^2) / Q(x^2) + 1/2 for the normal distribution function up to |x| = 5.6, and for the slope of GELU up to 6: rational fits
# (iterated least squares at Chebyshev nodes) with errors of 9.3e-9 and 4.9e-9 in exact arithmetic.
_SHORT = np.float32(0.01)
_CDF_END, _SLOPE_END, _HALF = np.float32(5.6), np.float32(6), np.float32(0.5)
_P0, _P1, _P2 = np.float32(0.398942232), np.float32(0.0343756638), np.float32(0.00470723026)
_P3, _P4, _P5 = np.float32(1.73846100e-4), np.float32(6.35648894e-6), np.float32(2.21455743e-8)
_Q1, _Q2, _Q3 = np.float32(0.252832711), np.float32(0.0289398301), np.float32(0.00191295170)
_Q4, _Q5 = np.float32(7.51003899e-5), np.float32(1.18021660e-6)
_S0, _S1, _S2, _S3 = np.float32(0.797884524), np.float32(-0.0180383921), np.float32(0.0135690272), np.float32(2.85216694e-4)
_S4, _S5, _S6, _S7 = np.float32(3.20272229e-5), np.float32(1.12191003e-6), np.float32(1.30027633e-8), np.float32(-2.88796868e-11)
_R1, _R2, _R3 = np.float32(0.310725093), np.float32(0.0455826819), np.float32(0.00415020064)
_R4, _R5, _R6 = np.float32(2.58604268e-4), np.float32(1.08121621e-5), np.float32(3.63627720e-7)


@compiled(forceinline=True, error_model="numpy")
def _normal_cdf(x):
    c = min(max(x, -_CDF_END), _CDF_END)
    t = c * c
    above = ((((_P5 * t + _P4) * t + _P3) * t + _P2) * t + _P1) * t + _P0
    below = ((((_Q5 * t + _Q4) * t + _Q3) * t + _Q2) * t + _Q1) * t + np.float32(1)
    value = c * above / below + _HALF
    return np.float32(0) if x < -_CDF_END else (np.float32(1) if x > _CDF_END else value)


@compiled(forceinline=True, error_model="numpy")
def _gelu_slope(x):
    c = min(max(x, -_SLOPE_END), _SLOPE_END)
    t = c * c
    above = ((((((_S7 * t + _S6) * t + _S5) * t + _S4) * t + _S3) * t + _S2) * t + _S1) * t + _S0
    below = (((((_R6 * t + _R5) * t + _R4) * t + _R3) * t + _R2) * t + _R1) * t + np.float32(1)
    value = c * above / below + _HALF
    return np.float32(0) if x < -_SLOPE_END else (np.float32(1) if x > _SLOPE_END else value)


@compiled(error_model="numpy")
def _some_values(x, y, code, low, high):
    zero = x.dtype.type(0)
    if code == RECTIFY:
        for i in range(x.size):
            # A NaN is on neither side and is kept; minus infinity times a slope of zero gives zero here.
            y[i] = (zero if low == zero else x[i] * low) if x[i] <= zero else x[i]
    elif code == CLIP:
        for i in range(x.size):
            value = low if x[i] < low else x[i]
            y[i] = high if value > high else value
    elif code == TANH:
        for i in range(x.size):
            y[i] = narrow_tanh(x[i])
    else:
        for i in range(x.size):
            y[i] = x[i] * _normal_cdf(x[i])


@compiled(error_model="numpy")
def _some_products(x, g, y, code, low, high):
    zero, one = x.dtype.type(0), x.dtype.type(1)
    if code == RECTIFY:
        for i in range(x.size):
            y[i] = g[i] * (one if x[i] > zero else low)
    elif code == CLIP:
        for i in range(x.size):
            y[i] = g[i] * (one if (x[i] >= low) & (x[i] <= high) else zero)
    elif code == TANH:
        for i in range(x.size):
            y[i] = g[i] * (one - x[i] * x[i])
    else:
        for i in range(x.size):
            y[i] = g[i] * _gelu_slope(x[i])


@compiled(error_model="numpy")
def _some_shifts(x, d, y, code, low, high):
    zero = x.dtype.type(0)
    if code == RECTIFY:
        for i in range(x.size):
            here, there = x[i], x[i] + d[i]
            bent_here = (zero if low == zero else here * low) if here <= zero else here
            bent_there = (zero if low == zero else there * low) if there <= zero else there
            below = zero if low == zero else d[i] * low
            apart = (here > zero) != (there > zero)
            y[i] = bent_there - bent_here if apart else (d[i] if here > zero else below)
    elif code == CLIP:
        for i in range(x.size):
            kept = low if x[i] < low else x[i]
            kept = high if kept > high else kept
            value = d[i] + (x[i] - kept)
            value = low - kept if value < low - kept else value
            y[i] = high - kept if value > high - kept else value
    else:
        # Usually all intervals are short, and the slope at the midpoint suffices.
        for first in range(0, x.size, _RUN):
            last, most = min(first + _RUN, x.size), zero
            for i in range(first, last):
                most = max(most, abs(d[i]))
            if most < _SHORT:
                for i in range(first, last):
                    y[i] = d[i] * _gelu_slope(x[i] + _HALF * d[i])
            else:
                for i in range(first, last):
                    there = x[i] + d[i]
                    near, far = d[i] * _gelu_slope(x[i] + _HALF * d[i]), there * _normal_cdf(there) - x[i] * _normal_cdf(x[i])
                    y[i] = near if abs(d[i]) < _SHORT else far


def rectify(x: np.ndarray, slope: float) -> np.ndarray:
    """Return x above 0 and ``slope`` times x below, in the shape and type of ``x``."""
    return _value(x, RECTIFY, slope)


def rectify_product(x: np.ndarray, g: np.ndarray, slope: float) -> np.ndarray:
    """Return ``g`` times the slope at ``x``, with ``slope`` at 0; both of one shape and type."""
    return _product(x, g, RECTIFY, slope)


def rectify_shift(x: np.ndarray, d: np.ndarray, slope: float) -> np.ndarray:
    """Return `rectify` of x + d less that of x, to the relative precision of ``d``; both of one shape and type."""
    return _shift(x, d, RECTIFY, slope)


def clip(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Clip x between two limits, in its shape and type; NaNs are kept."""
    return _value(x, CLIP, low, high)


def clip_product(x: np.ndarray, g: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return ``g`` where x lies within the limits (inclusive), and 0 elsewhere; both of one shape and type."""
    return _product(x, g, CLIP, low, high)


def clip_shift(x: np.ndarray, d: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return `clip` of x + d less that of x, to the relative precision of ``d``; both of one shape and type."""
    return _shift(x, d, CLIP, low, high)


def logistic(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), in the shape and type of ``x``; for float32 with a relative error of at most 3e-7."""
    if x.dtype == np.float32:
        return logistic_value(x)
    if on_gpu(x):
        return _value(x, LOGISTIC)
    # Imported on first use: scipy.special takes longer to load than everything else that a network needs.
    from scipy.special import expit

    return expit(x)


def normal_cdf(x: np.ndarray) -> np.ndarray:
    """Return the normal distribution function, to the accuracy of the type of ``x``, in its shape."""
    if on_gpu(x):
        return _value(x, NORMAL)
    from scipy.special import erf

    y = erf(_ROOT_HALF * x)
    y += 1
    y *= 0.5
    return y


def tanh(x: np.ndarray) -> np.ndarray:
    """Return tanh in the shape and type of ``x``; for float32 with a relative error of at most 4e-7."""
    return _value(x, TANH) if x.dtype == np.float32 else np.tanh(x)


def tanh_product(y: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return ``g`` times the slope of tanh, 1 - y^2, where its value is ``y``; both of one shape and type."""
    return _product(y, g, TANH)


def gelu(x: np.ndarray) -> np.ndarray:
    """Return x Phi(x) with the normal distribution function Phi, for float32; error at most 3e-7 times the larger of 1 and |x|."""
    return _value(x, GELU)


def gelu_product(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return ``g`` times the slope of GELU, for float32; error of the slope at most 4e-7."""
    return _product(x, g, GELU)


def gelu_shift(x: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return GELU at x + d less that at x, for float32: by the slope at the midpoint where |d| < 0.01, otherwise by subtraction.

    The error is at most 1e-5 times |d| unless x is large.
    """
    return _shift(x, d, GELU)


def _value(x: np.ndarray, code: int, low: float = 0.0, high: float = 0.0) -> np.ndarray:
    y, kind = empty(x.shape, x.dtype, x), x.dtype.type
    if on_gpu(x):
        _VALUES(x.size, x, y, x.size, code, low, high)
        return y
    over_slices(_some_values, _PART, (x.reshape(-1), y.reshape(-1)), code, kind(low), kind(high))
    return y


def _product(x: np.ndarray, g: np.ndarray, code: int, low: float = 0.0, high: float = 0.0) -> np.ndarray:
    y, kind = empty(x.shape, x.dtype, x), x.dtype.type
    if on_gpu(x):
        _PRODUCTS(x.size, x, g, y, x.size, code, low, high)
        return y
    over_slices(_some_products, _PART, (x.reshape(-1), g.reshape(-1), y.reshape(-1)), code, kind(low), kind(high))
    return y


def _shift(x: np.ndarray, d: np.ndarray, code: int, low: float = 0.0, high: float = 0.0) -> np.ndarray:
    y, kind = empty(x.shape, x.dtype, x), x.dtype.type
    if on_gpu(x):
        _SHIFTS(x.size, x, d, y, x.size, code, low, high)
        return y
    over_slices(_some_shifts, _PART, (x.reshape(-1), d.reshape(-1), y.reshape(-1)), code, kind(low), kind(high))
    return y
