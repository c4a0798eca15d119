"""Scores of the Kalman filter's likelihood against sums in NumPy."""

import numpy as np

from analogpc.kernels.filters import filter_scores


def test_scores_and_information_are_the_sums_of_their_definition():
    rng = np.random.default_rng(3)
    n, devices, shared, others, step = 40, 3, 4, 2, 1e-4
    device = np.repeat(np.arange(devices), [10, 18, 12])
    inner = np.setdiff1d(np.arange(n), [0, 10, 28])
    surprise = rng.normal(size=(1, n)) + step * np.concatenate([np.zeros((1, n)), rng.normal(size=(shared + others, n))])
    variance = np.exp(rng.normal(size=(1, n)) + step * np.concatenate([np.zeros((1, n)), rng.normal(size=(shared + others, n))]))
    scores, information, own, cross = filter_scores(surprise, variance, inner, device, devices, step, shared)
    v, s = surprise[0, inner], variance[0, inner]
    by_v, by_s = (surprise[1:, inner] - v) / step, (variance[1:, inner] - s) / step
    for d in range(devices):
        here = device[inner] == d
        whole = (by_v[:, here] / s[here]) @ by_v[:, here].T + (by_s[:, here] / (2 * s[here] ** 2)) @ by_s[:, here].T
        np.testing.assert_allclose(own[d], whole[shared:, shared:])
        np.testing.assert_allclose(cross[d], whole[:shared, shared:], atol=1e-9)
        pull = by_v[:, here] @ (v / s)[here] + by_s[:, here] @ ((1 - v**2 / s) / (2 * s))[here]
        np.testing.assert_allclose(scores[:, d], pull, rtol=1e-9)
    whole = (by_v / s) @ by_v.T + (by_s / (2 * s**2)) @ by_s.T
    np.testing.assert_allclose(information, whole[:shared, :shared])
