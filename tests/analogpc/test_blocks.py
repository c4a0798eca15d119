"""Every block against finite differences and direct computations, and its guarantees about reads, chunks, copies and shapes."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import signal

from analogpc.blocks import (
    Activation,
    Attention,
    AvgPool,
    BatchNorm,
    Chain,
    Conv2d,
    Dense,
    Flatten,
    GlobalMean,
    LayerNorm,
    MaxPool,
    Parallel,
    Residual,
    ShapeError,
    SoftPool,
    Sum,
    ValueNode,
    conv,
)
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.digital_matrix import DigitalMatrix
from analogpc.devices.substrate import Analog
from analogpc.kernels.images.patches import output_size
from analogpc.kernels.random.streams import Key

TANH = Activation(function="tanh")
DENSE_CHAIN = Chain(
    blocks=(Dense(features=4), TANH, Dense(features=3, bias=False), Activation(function="gelu"), Dense(features=2))
)
CONV_CHAIN = Chain(blocks=(Conv2d(channels=3), Activation(function="leaky_relu"), MaxPool(), Flatten(), Dense(features=4)))
NORMALISED = Chain(blocks=(Dense(features=4), BatchNorm(), TANH, Dense(features=3), LayerNorm()))
RESIDUAL = Residual(
    body=Chain(blocks=(Conv2d(channels=3), BatchNorm(freezing=False), TANH, Conv2d(channels=4, bias=False))),
    shortcut=Conv2d(channels=4, kernel=1, padding=0),
)
SIDE_BY_SIDE = Parallel(
    branches=(Chain(blocks=(TANH, Conv2d(channels=2))), Chain(blocks=(Flatten(),)), Dense(features=3)),
    shapes=((3, 2, 1), (2, 2, 3), (4,)),
    precisions=(1, 0.5, 1),
)
CASES = {
    "dense": (Dense(features=3), (5,)),
    "dense without bias": (Dense(features=3, bias=False), (5,)),
    "conv": (Conv2d(channels=3), (4, 5, 2)),
    "conv, strided": (Conv2d(channels=2, kernel=3, stride=2, padding=0), (6, 5, 3)),
    "conv, padded beyond the kernel": (Conv2d(channels=2, kernel=2, stride=3, padding=3, bias=False), (3, 4, 2)),
    "conv, 1x1": (Conv2d(channels=4, kernel=1, padding=0), (3, 3, 2)),
    "pool": (MaxPool(), (5, 4, 3)),
    "pool, overlapping": (MaxPool(size=3, stride=2), (7, 5, 2)),
    "average pool": (AvgPool(), (5, 4, 3)),
    "average pool, overlapping": (AvgPool(size=3, stride=2), (7, 5, 2)),
    "soft pool": (SoftPool(), (5, 4, 3)),
    "soft pool, overlapping": (SoftPool(size=3, stride=2, temperature=0.3), (7, 5, 2)),
    "batch norm": (BatchNorm(), (5,)),
    "batch norm of images": (BatchNorm(eps=0.1, freezing=False), (3, 2, 4)),
    "layer norm": (LayerNorm(), (5,)),
    "layer norm of images": (LayerNorm(eps=0.1), (3, 2, 4)),
    "normalised": (NORMALISED, (5,)),
    "residual": (Residual(body=NORMALISED.but(blocks=(*NORMALISED.blocks, Dense(features=5)))), (5,)),
    "residual of images": (RESIDUAL, (3, 4, 2)),
    "residual in residual": (Residual(body=Residual(body=TANH), shortcut=Chain(blocks=(LayerNorm(),))), (2, 3)),
    "flatten": (Flatten(), (2, 3, 4)),
    "activation": (TANH, (2, 3)),
    "dense chain": (DENSE_CHAIN, (5,)),
    "conv chain": (CONV_CHAIN, (5, 6, 2)),
    "pooling first": (Chain(blocks=(MaxPool(size=2, stride=1), Conv2d(channels=2, stride=2), TANH)), (5, 5, 2)),
    "nested": (Chain(blocks=(CONV_CHAIN, TANH, Chain(blocks=(Chain(blocks=(Dense(features=3),)),)))), (4, 4, 1)),
    "dense with a gain": (Dense(features=3, gain=0.3), (5,)),
    "conv with a gain": (Conv2d(channels=3, gain=1.7, stride=2), (4, 5, 2)),
    "global mean": (GlobalMean(), (3, 4, 2)),
    "sum": (Sum(shape=(2, 3)), (18,)),
    "fork": (
        Parallel(branches=(Chain(blocks=(TANH, Conv2d(channels=2, bias=False))), Conv2d(channels=3, kernel=1), Flatten())),
        (3, 4, 2),
    ),
    "side by side": (SIDE_BY_SIDE, (22,)),
    "fork and sum": (
        Chain(blocks=(Parallel(branches=(DENSE_CHAIN.but(blocks=(Dense(features=5), TANH)), Flatten())), Sum(shape=(5,)))),
        (5,),
    ),
    "dense over positions": (Dense(features=3, gain=0.5), (4, 5)),
    "attention": (Attention(), (4, 6)),
    "attention, causal, with two heads": (Attention(heads=2, causal=True), (4, 6)),
    "transformer": (
        Chain(
            blocks=(
                Residual(body=Attention(heads=3, name="a", nodes="levels")),
                LayerNorm(),
                Residual(body=Chain(blocks=(Dense(features=4), TANH, ValueNode(name="hidden"), Dense(features=6)))),
                LayerNorm(),
            )
        ),
        (3, 6),
    ),
    "without matrices": (Chain(blocks=(TANH, MaxPool(), Flatten())), (4, 4, 2)),
}
LINEAR = ["dense without bias", "conv, padded beyond the kernel", "average pool, overlapping", "flatten"]
every_case = pytest.mark.parametrize("case", CASES)


def build(spec, shape, dtype=np.float64, seed=0):
    return spec.build(shape, lambda role, shape, draw: DigitalMatrix(draw()), Key(seed), np.dtype(dtype))


def built(case, dtype=np.float64):
    return build(*CASES[case], dtype)


def samples(block, n=3, seed=1, dtype=np.float64):
    """A batch x and a cotangent g; the values of x lie 0.01 apart, so that no step of a finite difference changes a maximum of x."""
    draw = np.random.default_rng(seed)
    size = n * int(np.prod(block.input_shape))
    x = (draw.permutation(size) - size / 2 + 0.3) * 0.01
    return x.reshape(n, *block.input_shape).astype(dtype), draw.normal(size=(n, *block.output_shape)).astype(dtype)


def numeric_gradient(function, x, step=1e-6):
    """Central differences of a scalar function."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[place] = step
        gradient[place] = (function(x + shift) - function(x - shift)) / (2 * step)
    return gradient


def summed(products):
    """post^T pre by matrix."""
    sums = {}
    for matrix, pre, post in products:
        sums[id(matrix)] = sums.get(id(matrix), 0) + post.T @ pre
    return sums


def check_vjp(block, n=2, seed=1):
    x, g = samples(block, n, seed)
    _, tape = block.forward(x)
    expected = numeric_gradient(lambda moved: np.vdot(g, block.forward(moved)[0]), x)
    np.testing.assert_allclose(block.vjp(tape, g), expected, rtol=1e-6, atol=1e-8)


def check_products(block, n=2, seed=1):
    x, g = samples(block, n, seed)
    _, tape = block.forward(x)
    sums = summed(block.products(tape, g))
    assert sums.keys() == {id(matrix) for matrix in block.matrices.values()}
    for name, matrix in block.matrices.items():

        def changed(change, name=name):
            twin = block.copy()
            twin.matrices[name].increment(change)
            return np.vdot(g, twin.forward(x)[0])

        np.testing.assert_allclose(sums[id(matrix)], numeric_gradient(changed, np.zeros(matrix.shape)), rtol=1e-6, atol=1e-8)


@every_case
def test_vjp_is_the_derivative(case):
    check_vjp(built(case))


@every_case
def test_products_are_the_derivative(case):
    check_products(built(case))


@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3)),
    channels=st.integers(1, 3),
    window=st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)),
    pool=st.tuples(st.integers(1, 3), st.integers(0, 3)),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_convolutional_chains_of_any_shape(shape, channels, window, pool, bias, seed):
    sides = [output_size(side, *window) for side in shape[:2]]
    assume(min(sides) >= pool[0])
    layer = Conv2d(channels=channels, kernel=window[0], stride=window[1], padding=window[2], bias=bias)
    blocks = (layer, TANH, MaxPool(size=pool[0], stride=pool[1]), Flatten(), Dense(features=2))
    block = build(Chain(blocks=blocks), shape, seed=seed)
    check_vjp(block, 2, seed)
    check_products(block, 2, seed)


@pytest.mark.parametrize("case", LINEAR)
def test_linear_blocks_are_adjoint(case):
    block = built(case)
    x, g = samples(block, 4)
    y, tape = block.forward(x)
    assert np.vdot(y, g) == pytest.approx(np.vdot(x, block.vjp(tape, g)), rel=1e-12)


@pytest.mark.parametrize("case", [name for name in CASES if name.startswith("conv,") or name == "conv"])
def test_convolution_against_a_direct_one(case):
    block, (spec, shape) = built(case), CASES[case]
    x, _ = samples(block)
    filters = block.matrices["weight"].weights().reshape(spec.channels, spec.kernel, spec.kernel, shape[2])
    padded = np.pad(x, ((0, 0), (spec.padding,) * 2, (spec.padding,) * 2, (0, 0)))
    direct = np.stack(
        [[signal.correlate(image, f, "valid", "direct")[:: spec.stride, :: spec.stride, 0] for f in filters] for image in padded]
    ).transpose(0, 2, 3, 1)
    if spec.bias:
        direct = direct + block.matrices["bias"].weights()[:, 0]
    np.testing.assert_allclose(block.forward(x)[0], direct, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("limit", "chunks"), [(1, 7), (3 * 20 * 18 * 8, 3), (10**9, 1)])
def test_chunks_change_nothing_and_stay_below_the_limit(monkeypatch, limit, chunks):
    block = built("conv")
    x, g = samples(block, 7)
    y, tape = block.forward(x)
    dx, sums = block.vjp(tape, g), summed(block.products(tape, g))
    monkeypatch.setattr(conv, "PATCH_BYTES", limit)
    cut, tape = block.forward(x)
    np.testing.assert_allclose(cut, y, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(block.vjp(tape, g), dx, rtol=1e-12, atol=1e-14)
    for name, total in summed(block.products(tape, g)).items():
        np.testing.assert_allclose(total, sums[name], rtol=1e-12, atol=1e-14)
    pres = [pre for matrix, pre, _ in block.products(tape, g) if matrix is block.matrices["weight"]]
    assert len(pres) == chunks
    one_sample = pres[0].nbytes * 20 // len(pres[0])
    assert all(pre.nbytes <= max(limit, one_sample) for pre in pres)


def test_patches_of_products_are_cut_when_their_turn_comes(monkeypatch):
    block = built("conv")
    x, g = samples(block, 5)
    _, tape = block.forward(x)
    assert tape is x
    cuts = []
    monkeypatch.setattr(conv, "PATCH_BYTES", 1)
    monkeypatch.setattr(conv, "patches", lambda *window, cut=conv.patches: cuts.append(len(window[0])) or cut(*window))
    products = block.products(tape, g)
    assert cuts == []
    for taken, _ in enumerate(itertools.islice(products, 5), start=1):
        assert cuts == [1] * taken


def test_reads_are_counted_and_none_is_needless():
    block = build(
        Chain(blocks=(Chain(blocks=(Conv2d(channels=2), TANH, Flatten(), Dense(features=4))), Dense(features=3))), (4, 4, 1)
    )
    x, g = samples(block, 6)

    def reads():
        return {name: (m.meter.forward_reads, m.meter.backward_reads) for name, m in block.matrices.items()}

    _, tape = block.forward(x)
    once = {
        "0.0.weight": (96, 0),
        "0.0.bias": (1, 0),
        "0.3.weight": (6, 0),
        "0.3.bias": (1, 0),
        "1.weight": (6, 0),
        "1.bias": (1, 0),
    }
    assert reads() == once
    list(block.products(tape, g))
    assert reads() == once | {"0.3.weight": (6, 6), "1.weight": (6, 6)}
    block.vjp(tape, g)
    assert reads() == once | {"0.0.weight": (96, 96), "0.3.weight": (6, 12), "1.weight": (6, 12)}


@pytest.mark.parametrize("case", ["dense chain", "nested", "normalised", "residual", "residual of images"])
def test_a_matrix_may_learn_as_soon_as_it_has_its_product(case):
    block = built(case)
    x, g = samples(block)
    _, tape = block.forward(x)
    untouched = [(pre, post) for _, pre, post in block.products(tape, g)]
    for (matrix, pre, post), (same_pre, same_post) in zip(block.products(tape, g), untouched, strict=True):
        np.testing.assert_array_equal(pre, same_pre)
        np.testing.assert_array_equal(post, same_post)
        matrix.increment(np.full(matrix.shape, 10.0))


@every_case
def test_float32_stays_and_starts_from_the_numbers_of_float64(case):
    block, wide = built(case, np.float32), built(case)
    x, g = samples(block, dtype=np.float32)
    y, tape = block.forward(x)
    assert y.dtype == block.vjp(tape, g).dtype == np.float32
    assert all(pre.dtype == post.dtype == np.float32 for _, pre, post in block.products(tape, g))
    for name, matrix in block.matrices.items():
        np.testing.assert_array_equal(matrix.weights(), wide.matrices[name].weights().astype(np.float32))
    np.testing.assert_allclose(y, wide.forward(x.astype(np.float64))[0], rtol=1e-4, atol=1e-5)


@every_case
def test_copies_are_independent(case):
    block = built(case)
    x, _ = samples(block)
    y, _ = block.forward(x)
    twin = block.copy()
    assert list(twin.matrices) == list(block.matrices)
    for name, matrix in twin.matrices.items():
        assert matrix is not block.matrices[name]
        matrix.increment(np.ones(matrix.shape))
    np.testing.assert_array_equal(block.forward(x)[0], y)
    assert np.array_equal(twin.forward(x)[0], y) == (not block.matrices)


@every_case
def test_an_empty_batch_passes(case):
    block = built(case)
    y, tape = block.forward(np.zeros((0, *block.input_shape)))
    assert y.shape == (0, *block.output_shape)
    assert block.vjp(tape, y).shape == (0, *block.input_shape)
    assert all((total == 0).all() for total in summed(block.products(tape, y)).values())


@pytest.mark.parametrize("case", ["conv chain", "nested"])
def test_ideal_crossbars_give_the_same_network(case):
    spec, shape = CASES[case]
    block, substrate = built(case), Analog.ideal(rows=7, columns=3)
    analog = spec.build(shape, lambda role, shape, draw: make_matrix(substrate, draw(), Key(5)), Key(0), np.dtype(np.float64))
    x, g = samples(block)
    (y, tape), (y_analog, tape_analog) = block.forward(x), analog.forward(x)
    np.testing.assert_allclose(y_analog, y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(analog.vjp(tape_analog, g), block.vjp(tape, g), rtol=1e-12, atol=1e-12)


@every_case
def test_batches_of_another_shape_are_refused(case):
    block = built(case)
    wrong = np.zeros((2, *block.input_shape, 1))
    with pytest.raises(ShapeError, match=r"was built for batches of shape \(n, .*\), not \(2, "):
        block.forward(wrong)


def test_a_batch_of_another_type_is_refused():
    block = built("dense", np.float32)
    with pytest.raises(ShapeError, match=r"^Dense has a weight matrix of type float32 and cannot read inputs of type float64$"):
        block.forward(np.zeros((2, 5)))
