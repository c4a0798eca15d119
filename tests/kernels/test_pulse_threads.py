"""Distribution of rows among threads."""

import numpy as np
import pytest

from analogpc.kernels.pulses.threads import over_rows


@pytest.mark.parametrize("height", [0, 1, 15, 16, 17, 300, 1000])
def test_every_row_is_taken_once_whatever_the_threads(with_threads, height):
    def visits():
        count = np.zeros(height, int)

        def kernel(first, stop, room, target, added):
            assert room.size == 3
            target[first:stop] += added

        over_rows(kernel, height, lambda: np.empty(3), count, 2)
        return count

    for count in with_threads(visits):
        assert (count == 2).all()


def test_errors_come_through(with_threads):
    def kernel(first, stop, room):
        if first <= 100 < stop:
            raise ZeroDivisionError("row 100")

    def fails():
        with pytest.raises(ZeroDivisionError, match="row 100"):
            over_rows(kernel, 200, tuple)

    with_threads(fails)
