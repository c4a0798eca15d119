"""GPU kernels check and cast their arguments: an error names the kernel and the argument."""

from __future__ import annotations

import re

import numpy as np
import pytest

from analogpc.kernels.gpu import cuda_kernel
from analogpc.kernels.gpu.cuda_kernel import CudaKernel, Parameter

STEP = CudaKernel("descent", "plain_step")
BITS = CudaKernel("random/streams", "fill_bits")


def given(device, **others):
    kind = others.pop("kind", np.float32)
    usual = {name: device.zeros((3, 4), kind) for name in ("x", "g", "out")} | {"size": 12, "rate": 0.5}
    return list((usual | others).values())


def test_signatures_are_read_from_the_sources() -> None:
    assert STEP.parameters == (
        Parameter("x", True, None),
        Parameter("g", True, None),
        Parameter("out", True, None),
        Parameter("size", False, np.int64),
        Parameter("rate", False, None),
    )
    assert [one.kind for one in BITS.parameters] == [np.uint32, np.int64, np.uint32, np.uint32, np.uint64, np.uint64]
    assert [one.array for one in BITS.parameters] == [True, False, False, False, False, True]


def test_the_signature_of_every_kernel_is_understood() -> None:
    count = 0
    for path in sorted(cuda_kernel.SOURCES.rglob("*.cu")):
        name = path.relative_to(cuda_kernel.SOURCES).with_suffix("").as_posix()
        for kernel in re.findall(r"__global__ void (\w+)", path.read_text()):
            assert CudaKernel(name, kernel).parameters
            count += 1
    assert count > 30


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [0.5, np.float32(0.5), np.float64(0.5), 1, np.int64(1)])
def test_numbers_are_cast_to_the_types_of_the_signature(device, kind, rate) -> None:
    x, g, out = device.array(np.ones(5, kind)), device.array(np.full(5, 3, kind)), device.zeros(5, kind)
    for size in (5, np.int32(5), np.uint8(5)):
        STEP(5, x, g, out, size, rate)
        assert out.get().tolist() == [1 - 3 * float(rate)] * 5


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"x": np.zeros((3, 4), np.float32)}, "the argument 'x' of the kernel plain_step is an array of the GPU, not a ndarray"),
        ({"g": 1.0}, "the argument 'g' of the kernel plain_step is an array of the GPU, not a float"),
        ({"rate": "0.1"}, r"the argument 'rate' of the kernel plain_step is a number, not '0.1' \(str\)"),
        ({"rate": 1j}, r"the argument 'rate' of the kernel plain_step is a number, not 1j \(complex\)"),
        ({"size": 12.0}, r"the argument 'size' of the kernel plain_step is a whole number, not 12.0 \(float\)"),
        ({"size": None}, r"the argument 'size' of the kernel plain_step is a whole number, not None \(NoneType\)"),
    ],
)
def test_arguments_of_another_kind_are_refused(device, wrong, sentence) -> None:
    with pytest.raises(TypeError, match=sentence):
        STEP(12, *given(device, **wrong))


def test_arrays_of_another_type_or_layout_are_refused(device) -> None:
    with pytest.raises(TypeError, match="the argument 'out' of the kernel plain_step is an array of float32, not of float64"):
        STEP(12, *given(device, out=device.zeros((3, 4), np.float64)))
    with pytest.raises(TypeError, match="the kernels of the GPU take float32 and float64, not int32"):
        STEP(12, *given(device, kind=np.int32))
    with pytest.raises(ValueError, match=r"the argument 'g' of the kernel plain_step is not contiguous: its shape is \(3, 4\)"):
        STEP(12, *given(device, g=device.zeros((4, 3), np.float32).T))
    words, moved = device.zeros(8, np.int32), device.zeros((), np.uint64)
    with pytest.raises(TypeError, match="the argument 'out' of the kernel fill_bits is an array of uint32, not of int32"):
        BITS(2, words, 8, np.uint32(1), np.uint32(2), np.uint64(3), moved)


def test_whole_numbers_beyond_their_type_are_refused(device) -> None:
    words, moved = device.zeros(8, np.uint32), device.zeros((), np.uint64)
    with pytest.raises(ValueError, match="the argument 'k0' of the kernel fill_bits does not fit into uint32: 4294967296"):
        BITS(2, words, 8, 2**32, 0, 0, moved)
    with pytest.raises(ValueError, match="the argument 'first' of the kernel fill_bits does not fit into uint64: -1"):
        BITS(2, words, 8, 0, 0, -1, moved)


def test_another_number_of_arguments_is_refused(device) -> None:
    with pytest.raises(TypeError, match=r"the kernel plain_step takes 5 arguments \(x, g, out, size, rate\), not 4"):
        STEP(12, *given(device)[:4])
    rows = CudaKernel("normalisation", "normalise")
    with pytest.raises(TypeError, match=r"the kernel normalise takes 10 arguments \(.*, count, length, shift\), not 4"):
        rows.along_rows(3, 4, device.zeros((3, 4), np.float32))


def test_nothing_is_started_for_no_items_but_arguments_are_checked(device) -> None:
    empty = [device.zeros(0, np.float32) for _ in range(3)]
    STEP(0, *empty, 0, 0.1)
    with pytest.raises(TypeError, match="takes 5 arguments"):
        STEP(0, *empty)


def test_kernels_refuse_other_types() -> None:
    with pytest.raises(TypeError, match="float32 and float64, not int32"):
        cuda_kernel.definitions(np.dtype(np.int32))
