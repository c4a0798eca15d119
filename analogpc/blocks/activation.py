"""Elementwise nonlinearities and their derivatives, in the type of the input."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator
from typing_extensions import override

from analogpc.blocks.base import Block, BlockSpecification, MatrixMaker, Product, moved
from analogpc.blocks.sweep_state import Sweep
from analogpc.devices.costs.schedule import work
from analogpc.devices.names import unknown
from analogpc.kernels.activations import (
    clip,
    clip_product,
    clip_shift,
    gelu,
    gelu_product,
    gelu_shift,
    logistic,
    normal_cdf,
    rectify,
    rectify_product,
    rectify_shift,
    tanh,
    tanh_product,
)
from analogpc.kernels.random.streams import Key
from analogpc.kernels.sigmoids import logistic_product, logistic_shift, tanh_shift

_SLOPE = 0.01
_CUBIC = 0.044715
_ROOT_2_OVER_PI = math.sqrt(2 / math.pi)
_PEAK = 1 / math.sqrt(2 * math.pi)
# Step at which the error of the Gauss formula, d^4 / 4320 of the fifth derivative, equals the rounding of a difference.
_SHORT, _SHORT_SINGLE = 4e-3, 0.2

Array = np.ndarray


@dataclass(frozen=True)
class Function:
    """An elementwise function f of the pre-activation x.

    Attributes
    ----------
    value : callable
        Function f(x).
    product : callable
        Function of x and g: derivative at x times g.
    shift : callable
        Function of x, y and d = y - x: f(y) - f(x), to the relative precision of d, without cancellation.
    product_at : callable or None
        As ``product``, but of f(x) instead of x, where that suffices; it saves recomputation.
    """

    value: Callable[[Array], Array]
    product: Callable[[Array, Array], Array]
    shift: Callable[[Array, Array, Array], Array]
    product_at: Callable[[Array, Array], Array] | None = None


def _compiled(x: Array) -> bool:
    """Whether compiled functions exist for smooth functions of an array."""
    return x.dtype == np.float32


def _sigmoid_slope(x: Array) -> Array:
    y = logistic(x)
    return y * (1 - y)


def _silu_slope(x: Array) -> Array:
    y = logistic(x)
    return y * (1 + x * (1 - y))


def _gelu(x: Array) -> Array:
    return gelu(x) if x.dtype == np.float32 else x * normal_cdf(x)


def _gelu_product(x: Array, g: Array) -> Array:
    return gelu_product(x, g) if x.dtype == np.float32 else g * _gelu_slope(x)


def _gelu_inner(x: Array) -> Array:
    # In place, because fresh temporaries of this size cost more than the arithmetic.
    t = x * x
    t *= _ROOT_2_OVER_PI * _CUBIC
    t += _ROOT_2_OVER_PI
    t *= x
    return np.tanh(t, out=t)


def _gelu_tanh_slope(x: Array) -> Array:
    t = _gelu_inner(x)
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (_ROOT_2_OVER_PI * (1 + 3 * _CUBIC * x * x))


def _tanh_shift(x: Array, y: Array, d: Array) -> Array:
    return tanh_shift(x, d) if _compiled(x) else np.tanh(d) * (1 - np.tanh(x) * np.tanh(y))


def _sigmoid_product(x: Array, g: Array) -> Array:
    return logistic_product(x, g) if _compiled(x) else g * _sigmoid_slope(x)


def _sigmoid_shift(x: Array, y: Array, d: Array) -> Array:
    if _compiled(x):
        return logistic_shift(x, d)
    # s(y) - s(x) = s(y) s(-x) (1 - exp(-d)), with y the larger one, so that exp does not overflow.
    size = -np.expm1(-np.abs(d))
    return np.sign(d) * logistic(np.maximum(x, y)) * logistic(-np.minimum(x, y)) * size


def _silu_shift(x: Array, y: Array, d: Array) -> Array:
    return d * logistic(y) + x * _sigmoid_shift(x, y, d)


def _by_nodes(value: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Callable[[Array, Array, Array], Array]:
    """Return the shift of a smooth function: two-node Gauss quadrature for short steps, subtraction otherwise."""

    def shift(x: Array, y: Array, d: Array) -> Array:
        off, middle = d * (0.5 / math.sqrt(3)), x + 0.5 * d
        near = 0.5 * d * (slope(middle - off) + slope(middle + off))
        return np.where(np.abs(d) < (_SHORT if x.dtype == np.float64 else _SHORT_SINGLE), near, value(y) - value(x))

    return shift


def _gelu_slope(x: Array) -> Array:
    return normal_cdf(x) + x * (_PEAK * np.exp(-0.5 * x * x))


def _gelu_shift(x: Array, y: Array, d: Array) -> Array:
    return gelu_shift(x, d) if x.dtype == np.float32 else _by_nodes(_gelu, _gelu_slope)(x, y, d)


def _gelu_tanh_shift(x: Array, y: Array, d: Array) -> Array:
    before, after = _gelu_inner(x), _gelu_inner(y)
    change = np.tanh(_ROOT_2_OVER_PI * d * (1 + _CUBIC * (x * x + x * y + y * y))) * (1 - before * after)
    return 0.5 * (d * (1 + after) + x * change)


def _by_slope(
    value: Callable[[Array], Array], slope: Callable[[Array], Array], shift: Callable[[Array, Array, Array], Array]
) -> Function:
    return Function(value, lambda x, g: g * slope(x), shift)


def _rectifier(slope: float) -> Function:
    return Function(
        lambda x: rectify(x, slope), lambda x, g: rectify_product(x, g, slope), lambda x, y, d: rectify_shift(x, d, slope)
    )


def _clipped(low: float, high: float) -> Function:
    return Function(
        lambda x: clip(x, low, high), lambda x, g: clip_product(x, g, low, high), lambda x, y, d: clip_shift(x, d, low, high)
    )


FUNCTIONS: dict[str, Function] = {
    "identity": Function(lambda x: x, lambda x, g: g, lambda x, y, d: d),
    "relu": _rectifier(0.0),
    "leaky_relu": _rectifier(_SLOPE),
    "tanh": Function(tanh, lambda x, g: tanh_product(tanh(x), g), _tanh_shift, tanh_product),
    "hard_tanh": _clipped(-1.0, 1.0),
    "sigmoid": Function(logistic, _sigmoid_product, _sigmoid_shift),
    "hard_sigmoid": _clipped(0.0, 1.0),
    "gelu": Function(_gelu, _gelu_product, _gelu_shift),
    "gelu_tanh": _by_slope(lambda x: 0.5 * x * (1 + _gelu_inner(x)), _gelu_tanh_slope, _gelu_tanh_shift),
    "silu": _by_slope(lambda x: x * logistic(x), _silu_slope, _silu_shift),
}
"""Activation functions by name; `register_activation` adds more."""


def register_activation(name: str, value: Callable[[Array], Array], slope: Callable[[Array], Array]) -> None:
    """Register an elementwise function under a name, for all networks, studies and files.

    Files store only the name: import the module that registers it before loading them.

    Parameters
    ----------
    name : str
    value : callable
        Function of the pre-activations: maps an array of any shape to one of the same shape and floating type.
    slope : callable
        Derivative, in the same form. Arrays are NumPy arrays, or on a GPU CuPy arrays, which support most NumPy functions.

    Raises
    ------
    ValueError
        If the name is one of the built-in activations, or the functions do not keep shape and type, or the derivative is not that of
        the function (compared with finite differences at points between -4 and 4, one in ten of which may be kinks).

    Examples
    --------
    >>> register_activation("softplus", lambda x: np.logaddexp(x, 0), lambda x: 1 / (1 + np.exp(-x)))
    >>> Activation(function="softplus").function
    'softplus'
    """
    if name in _BUILT_IN:
        raise ValueError(f"'{name}' is a built-in activation: use another name")
    _refuse_wrong_slope(name, value, slope)
    FUNCTIONS[name] = _by_slope(value, slope, _by_nodes(value, slope))


def _refuse_wrong_slope(name: str, value: Callable[[Array], Array], slope: Callable[[Array], Array]) -> None:
    single = np.linspace(-4, 4, 40, dtype=np.float32).reshape(5, 8)
    for what, function in (("value", value), ("slope", slope)):
        found = function(single)
        if not isinstance(found, np.ndarray) or found.shape != single.shape or found.dtype != single.dtype:
            raise ValueError(
                f"the {what} of '{name}' must keep shape and floating type: float32 {single.shape} became {found!r:.80}"
            )
    x, h = np.linspace(-4.013, 3.987, 400), 1e-5
    off = np.abs((value(x + h) - value(x - h)) / (2 * h) - slope(x)) > 1e-4 * (1 + np.abs(slope(x)))
    if off.mean() > 0.1:
        place = x[off.argmax()]
        raise ValueError(f"the slope of '{name}' is not the derivative of its value, for example at x = {place:.3f}")


_BUILT_IN = tuple(FUNCTIONS)


def _known(name: str) -> str:
    if name not in FUNCTIONS:
        raise ValueError(unknown("activation", name, FUNCTIONS) + "; register_activation adds one")
    return name


ActivationName = Annotated[str, AfterValidator(_known)]
"""Name of a function in `FUNCTIONS`."""


class Activation(BlockSpecification):
    """An elementwise nonlinearity; samples may have any shape.

    Attributes
    ----------
    function : str
        - "identity": x.
        - "relu": max(x, 0); its derivative at 0 is 0.
        - "leaky_relu": x above 0, 0.01 x below; its derivative at 0 is 0.01.
        - "tanh".
        - "hard_tanh": x clipped to [-1, 1]; its derivative at both ends is 1, as in JAX.
        - "sigmoid": 1 / (1 + exp(-x)).
        - "hard_sigmoid": x clipped to [0, 1], as in equilibrium propagation (not the function of slope 1/6 with this name in other
          libraries); its derivative at both ends is 1, so that a state at an end can leave it.
        - "gelu": x Phi(x) with the normal distribution function Phi (Hendrycks and Gimpel, arXiv 1606.08415).
        - "gelu_tanh": the approximation of "gelu" by tanh, of the same authors and the default of JAX.
        - "silu": x sigmoid(x) (Elfwing et al., arXiv 1702.03118).
    """

    kind: Literal["activation"] = "activation"
    function: ActivationName

    @property
    @override
    def nonlinearity(self) -> str:
        return self.function

    @override
    def build(self, input_shape: tuple[int, ...], make: MatrixMaker, key: Key, dtype: np.dtype) -> ActivationBlock:
        return ActivationBlock(input_shape, FUNCTIONS[self.function])


class ActivationBlock(Block):
    """Built from `Activation`; the tape is the input, the pre-activation."""

    def __init__(self, input_shape: tuple[int, ...], function: Function) -> None:
        super().__init__(input_shape, input_shape)
        self._function = function

    @property
    @override
    def recordable(self) -> bool:
        return True

    @override
    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Any]:
        self._check(x)
        work("activation", x.size)
        return self._function.value(x), x

    @override
    def shift(self, tape: Any, dx: np.ndarray, x: np.ndarray | None = None) -> tuple[np.ndarray, Any]:
        work("activation", dx.size)
        x = moved(tape, dx, x)
        return self._function.shift(tape, x, dx), x

    @override
    def vjp(self, tape: Any, g: np.ndarray) -> np.ndarray:
        work("slope", g.size)
        return self._function.product(tape, g)

    @override
    def pass_forward(self, x: np.ndarray, sweep: Sweep) -> tuple[np.ndarray, Any]:
        y, tape = self.forward(x)
        return y, (tape if self._function.product_at is None else y)

    @override
    def pass_back(
        self, tape: Any, g: np.ndarray, sweep: Sweep, onward: bool = True
    ) -> tuple[np.ndarray | None, list[Iterable[Product]]]:
        if not onward:
            return None, []
        work("slope", g.size)
        return (self._function.product_at or self._function.product)(tape, g), []
