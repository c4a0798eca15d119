"""Fit of repeated reads of resting devices: white noise, 1/f noise and telegraph noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.signal import lfilter

from analogpc.devices.calibration.parts import Panel, Part, column, groups, interval
from analogpc.devices.calibration.programming import deviation_model
from analogpc.devices.calibration.tables import CalibrationError
from analogpc.devices.calibration.understanding import Understood
from analogpc.devices.nonidealities import ConstantNoise, Flicker, PolynomialNoise, RelativeNoise, Telegraph
from analogpc.devices.provenance import Interval

FEWEST = 30


def reads_part(part: Understood) -> Part:
    """Fit the read noise of a device: the white part and the slower part of every series, against conductance."""
    g = column(part, "conductance") * 1e6
    series = groups(part, "device", "level", "cycle")
    order = part.columns.get("seconds", part.columns.get("read"))
    step, remarks = 1.0, []
    if "seconds" in part.columns:
        gaps = np.concatenate([np.diff(np.sort(part.columns["seconds"][series == s])) for s in np.unique(series)])
        step = float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else 1.0
    else:
        remarks.append("the time between reads is not known and is taken as 1 s")
    means, white, slow, telegraph, longest = [], [], [], [], 0
    for s in np.unique(series):
        own = np.flatnonzero(series == s)
        if order is not None:
            own = own[np.argsort(order[own], kind="stable")]
        y = g[own]
        if len(y) < FEWEST:
            raise CalibrationError(f"a device was read {len(y)} times; at least {FEWEST} reads are needed")
        longest = max(longest, len(y))
        means.append(float(y.mean()))
        found = two_states(y)
        telegraph.append(found)
        rest = y - found[3] if found is not None else y
        parts = white_and_slow(rest)
        white.append(parts[0])
        slow.append(parts[1])
    level, fast, slower = np.array(means), np.array(white), np.array(slow)
    noise, fields, intervals = _white(level, fast, longest)
    if (trapped := [one for one in telegraph if one is not None]) and len(trapped) > 0:
        share = len(trapped) / len(telegraph)
        amplitude = float(np.median([one[0] for one in trapped]))
        times = [float(np.median([one[k] for one in trapped])) * step for k in (1, 2)]
        fields["telegraph"] = Telegraph(
            probability=share,
            amplitude=amplitude,
            amplitude_dtod=float(np.std(np.log([one[0] for one in trapped]))) if len(trapped) > 2 else 0.0,
            high_seconds=times[0],
            low_seconds=times[1],
        )
        error = float(np.sqrt(max(share * (1 - share), 0.25 / len(telegraph)) / len(telegraph)))
        intervals.append(interval("devices with a trap", share, error, "", "telegraph.probability", least=0.0))
        remarks.append(
            f"{len(trapped)} of {len(telegraph)} series show two levels: telegraph noise of {amplitude:.1%} of the conductance"
        )
    relative = float(np.sqrt(np.mean((slower / level) ** 2)))
    if relative > 0:
        # Var f = ln(1 + t / t_r) - ln 2 after the time of the measurement; see `nonidealities.flicker`.
        duration, read = longest * step, min(step, longest * step / 8)
        grown = np.log1p(duration / read) - np.log(2)
        amplitude = relative / float(np.sqrt(grown))
        fields["flicker"] = Flicker(
            amplitude=amplitude,
            power=0.0,
            floor=1.0,
            largest=max(amplitude, 0.2),
            read_seconds=read,
            longest_seconds=max(1e7, duration),
        )
        error = amplitude / np.sqrt(2 * max((slower > 0).sum() * 5, 2))
        intervals.append(interval("1/f amplitude", amplitude, float(error), "of the conductance", "flicker.amplitude", least=0.0))
        remarks.append(f"slow noise of {relative:.2%} of the conductance over {duration:.3g} s is taken as 1/f noise")
    panel = Panel("Repeated reads", "conductance (µS)", "standard deviation (µS)")
    panel.points.extend([(level, fast, "white part"), (level, slower, "slow part")])
    span = np.linspace(level.min(), level.max(), 60)
    panel.lines.append((span, noise.reference_deviation(span * 1e-6, level.max() * 1e-6) * 1e6, "white, model"))
    return Part(
        "reads",
        fields,
        tuple(intervals),
        panel,
        assumptions=("a read of the crossbar lasts as long as a measured one",),
        remarks=tuple(remarks),
        window=(float(level.min()) * 1e-6, float(level.max()) * 1e-6),
    )


def _white(level: np.ndarray, fast: np.ndarray, reads: int) -> tuple[Any, dict[str, Any], list[Interval]]:
    """Fit the white noise against conductance."""
    known = 1 / np.sqrt(2 * reads * len(level))
    noise: Any
    if len(level) >= 4 and np.ptp(level) > 0.3 * level.mean():
        xi = np.resize([1.0, -1.0], len(level))
        name, coefficients, _ = deviation_model(level, xi * fast)
    else:
        name, coefficients = "constant", np.array([np.sqrt(np.mean(fast**2))])
    if name == "constant":
        noise = ConstantNoise(std_siemens=float(coefficients[0]) * 1e-6)
        quoted = interval(
            "white read noise", noise.std_siemens, noise.std_siemens * known, "siemens", "read_noise.std_siemens", 0.0
        )
    elif name == "proportional":
        noise = RelativeNoise(relative=float(coefficients[0]))
        quoted = interval(
            "white read noise", noise.relative, noise.relative * known, "of the conductance", "read_noise.relative", 0.0
        )
    else:
        top = float(level.max())
        scaled = tuple(float(c * top**k) for k, c in enumerate(coefficients))
        noise = PolynomialNoise(coefficients=scaled, reference_siemens=top * 1e-6)
        mean = float(fast.mean()) * 1e-6
        quoted = interval("white read noise, mean", mean, mean * known, "siemens", "", 0.0)
    return noise, {"read_noise": noise}, [quoted]


def white_and_slow(y: np.ndarray) -> tuple[float, float]:
    """Return standard deviations of the white and the autoregressive part of reads of a resting device, by maximum likelihood.

    The slow part is 0 unless Schwarz's criterion selects it.
    """
    z, scale = y - y.mean(), float(y.std())
    if scale == 0:
        return 0.0, 0.0
    z, n = z / scale, len(y)

    def loss(p: np.ndarray) -> float:
        """Likelihood of white noise plus an autoregressive process, as an ARMA(1, 1) process with its steady-state filter."""
        white, slow, phi = np.exp(2 * p[0]), np.exp(2 * p[1]), 1 / (1 + np.exp(-p[2]))
        drive = slow * (1 - phi**2)
        # Stationary variance of the state before a reading.
        b = white * (1 - phi**2) - drive
        before = (-b + np.sqrt(b * b + 4 * drive * white)) / 2
        gain = before / (before + white)
        # e_n = z_n - m_n, m_{n+1} = φ (m_n + gain e_n): a first-order recursion.
        errors = lfilter([1.0, -phi], [1.0, -phi * (1 - gain)], z)
        total = before + white
        return n * np.log(total) / 2 + float(errors @ errors) / (2 * total)

    alone = n / 2
    best, found = np.inf, np.zeros(3)
    for memory in (1.0, 3.0):
        one = minimize(loss, np.array([-0.3, -0.7, memory]), method="Nelder-Mead", options={"maxiter": 400, "xatol": 1e-3})
        if one.fun < best:
            best, found = float(one.fun), one.x
    if alone - best < 1.5 * np.log(n):
        return scale, 0.0
    return scale * float(np.exp(min(found[0], 5.0))), scale * float(np.exp(min(found[1], 5.0)))


def two_states(y: np.ndarray) -> tuple[float, float, float, np.ndarray] | None:
    """Relative loss in the low state, mean reads in the high and low state, and the path between them; None without two clear levels."""
    low, high = np.quantile(y, [0.05, 0.95])
    if high <= low:
        return None
    for _ in range(50):
        up = y > (low + high) / 2
        if up.all() or not up.any():
            return None
        again = float(y[~up].mean()), float(y[up].mean())
        if again == (low, high):
            break
        low, high = again
    within = np.sqrt((((y - np.where(up, high, low)) ** 2).sum()) / len(y))
    switches = int((np.diff(up.astype(int)) != 0).sum())
    # Two levels four deviations apart leave a gap that a unimodal distribution lacks; and the device must have switched a few times.
    if high - low < 4 * within or switches < 4 or min(up.mean(), 1 - up.mean()) < 0.02:
        return None
    stays = [float(which.sum() / max((np.diff(np.concatenate([[0], which.astype(int)])) == 1).sum(), 1)) for which in (up, ~up)]
    return (high - low) / high, stays[0], stays[1], np.where(up, high, low) - y.mean()
