"""Fit of physical models (VTEAM, filament) to current-voltage sweeps that switch a device."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from scipy.optimize import least_squares

from analogpc.devices.calibration.sweep_features import Landmarks
from analogpc.devices.calibration.sweeps import Sweeps, simulate
from analogpc.devices.physics import VTEAM, Filament, PhysicalModel

_FLOOR = 0.01
_DIFFERENCE = 1e-4
_STEEPNESSES = (1.5, 4.0)


@dataclass(frozen=True)
class Candidate:
    """A model with its fitted parameters.

    Attributes
    ----------
    name : str
    model : PhysicalModel
        Initial values of all parameters.
    bounds : dict of field name to (low, high)
        Fitted parameters and bounds of their magnitudes; the logarithms are fitted.
    turned : bool
        Whether the model's positive voltages are the negative ones of the data.
    """

    name: str
    model: PhysicalModel
    bounds: dict[str, tuple[float, float]]
    turned: bool


@dataclass(frozen=True)
class Switching:
    """A physical model fitted to sweeps.

    Attributes
    ----------
    name : str
    model : PhysicalModel
    turned : bool
        Whether the model's positive voltages are the negative ones of the data.
    errors : dict of field name to float
        Standard errors of the logarithms of the fitted parameters.
    currents : (series, samples), amperes
        In the sign of the data.
    r_squared : float
        Of the currents on the scale of the fit, asinh(I / 1 % of the largest current).
    criterion : float
        Schwarz's criterion; smaller is better.
    """

    name: str
    model: PhysicalModel
    turned: bool
    errors: dict[str, float]
    currents: np.ndarray
    r_squared: float
    criterion: float


def candidates(marks: Landmarks) -> list[list[Candidate]]:
    """Return the models with their initial values: for each model one or more starts."""
    m, fast = marks, 0.03 * marks.duration
    middle = float(np.sqrt(m.low_ohms * m.high_ohms))
    ohms = {"r_on": (m.low_ohms / 20, middle), "r_off": (middle * 1.0001, m.high_ohms * 20)}
    out: list[list[Candidate]] = []
    for law in ("linear", "exponential"):
        starts = []
        for steep in _STEEPNESSES:
            size = VTEAM().x_off
            over = 0.25**steep
            speeds = {"k_off": size / fast / over, "k_on": -size / fast / over}
            thresholds = {"v_off": 0.8 * m.volts_off, "v_on": -0.8 * m.volts_on}
            model = VTEAM(
                **speeds, **thresholds, alpha_off=steep, alpha_on=steep, r_on=m.low_ohms, r_off=m.high_ohms, resistance=law
            )
            bounds = ohms | dict.fromkeys(("k_off", "k_on"), (1e-4 * size / m.duration, 1e9 * size / m.duration))
            bounds |= {"alpha_off": (0.3, 15.0), "alpha_on": (0.3, 15.0)}
            bounds |= {"v_off": (0.03 * m.most_off, 0.98 * m.most_off), "v_on": (0.03 * m.most_on, 0.98 * m.most_on)}
            starts.append(Candidate(f"VTEAM ({law} resistance)", model, bounds, turned=m.raising > 0))
        out.append(starts)
    out.append(_filaments(m, fast))
    return out


def _filaments(m: Landmarks, fast: float) -> list[Candidate]:
    """Return starts of the filament model, without threshold field and noise; the gap is measured from its smallest value."""
    base, starts = Filament(least_field=0.0, noise_velocity=0.0), []
    room = float(np.clip(base.g0 * np.log(m.high_ohms / m.low_ohms), 0.05e-9, 1.6e-9))
    for share in (0.25, 0.7):
        v0 = share * max(m.most_on, m.most_off)
        model = base.but(
            v0=v0,
            i0=v0 / m.low_ohms * float(np.exp(base.gap_min / base.g0)),
            gap_max=base.gap_min + room,
            thermal_resistance=150.0 * m.low_ohms / m.volts_off**2,
        )
        speed = abs(float(model.rate(m.volts_on, base.gap_min + 0.7 * room)))
        velocity = model.velocity * room / fast / max(speed, 1e-300)
        bounds = {
            "i0": (model.i0 / 100, model.i0 * 100),
            "v0": (0.05 * m.most_on, 20 * m.most_on),
            "gap_max": (base.gap_min + 0.3 * room, base.gap_min + 1.6 * room),
            "velocity": (velocity * 1e-12, velocity * 1e12),
            "gamma0": (1.2 * base.beta * ((base.gap_min + 1.6 * room) * 1e9) ** 3 + 0.5, 60.0),
            "thermal_resistance": (model.thermal_resistance / 1e3, model.thermal_resistance * 10),
        }
        starts.append(Candidate("filament", model.but(velocity=velocity), bounds, turned=m.raising < 0))
    return starts


def fit_switching(sweeps: Sweeps, marks: Landmarks) -> list[Switching]:
    """Fit all models to sweeps; best first."""
    return sorted((fit_model(starts, sweeps) for starts in candidates(marks)), key=lambda one: one.criterion)


def fit_model(starts: list[Candidate], sweeps: Sweeps) -> Switching:
    """Return the best fit of a model from several starts; all but the best start get few iterations."""
    turned = sweeps.turned() if starts[0].turned else sweeps
    problems = [_Problem(one, turned) for one in starts]
    found = [(one, one.solve(one.first, 10)) for one in problems]
    problem, result = min(found, key=lambda one: float(one[1].cost))
    result = problem.solve(result.x, 50)
    return problem.told(result, sweeps)


class _Problem:
    """Least squares of asinh(I / 1 % of the largest current) over logarithms of the parameters and the initial states."""

    def __init__(self, candidate: Candidate, sweeps: Sweeps) -> None:
        self.candidate, self.sweeps = candidate, sweeps
        self.names = tuple(candidate.bounds)
        model, top = candidate.model, float(np.abs(sweeps.amperes).max())
        self.scale = _FLOOR * top
        self.target = np.arcsinh(sweeps.amperes / self.scale)
        lows, highs = (np.log([candidate.bounds[name][k] for name in self.names]) for k in (0, 1))
        count = len(sweeps.volts)
        self.kept: tuple[np.ndarray, np.ndarray] | None = None
        self.low = np.concatenate([lows, np.zeros(count)])
        self.high = np.concatenate([highs, np.ones(count)])
        logs = np.log([abs(getattr(model, name)) for name in self.names])
        self.first = np.clip(np.concatenate([logs, self._starts(model)]), self.low + 1e-6, self.high - 1e-6)

    def _starts(self, model: PhysicalModel) -> np.ndarray:
        """Return the initial states (series,) as fractions, from the first samples of each sweep."""
        low, high = model.limits(1.0)
        out = []
        for volts, amperes in zip(self.sweeps.volts, self.sweeps.amperes, strict=True):
            first = np.flatnonzero((np.abs(volts) > 0.04 * np.abs(volts).max()) & (volts * amperes > 0))[:5]
            siemens = float(np.median(amperes[first] / volts[first])) if len(first) else 1.0
            v = float(np.median(volts[first])) if len(first) else 0.1
            out.append((float(model.state_at(siemens, v)) - low) / (high - low))
        return np.clip(np.array(out, np.float64), 0.02, 0.98)

    def devices(self, theta: np.ndarray) -> SimpleNamespace:
        """Return parameters (variants, 1) for logarithms ``theta`` (variants, parameters)."""
        values = vars(self.candidate.model.parameters())
        for k, name in enumerate(self.names):
            values[name] = np.copysign(np.exp(theta[:, k : k + 1]), values[name])
        return SimpleNamespace(**values)

    def currents(self, points: np.ndarray) -> np.ndarray:
        """Return currents (variants, series, samples) for ``points`` (variants, parameters and initial states)."""
        few = len(self.names)
        return simulate(self.candidate.model, self.devices(points), points[:, few:], self.sweeps)

    def _scaled(self, points: np.ndarray) -> np.ndarray:
        values = np.arcsinh(np.nan_to_num(self.currents(points), posinf=1e3, neginf=-1e3) / self.scale)
        return np.where(self.sweeps.used, values - self.target, 0.0)

    def rest(self, point: np.ndarray) -> np.ndarray:
        """Return the residuals."""
        return self._values(point)[0].ravel()

    def _values(self, point: np.ndarray) -> np.ndarray:
        """Return residuals at a point, and at points with each parameter, and with all initial states, varied; the last result is kept."""
        if self.kept is None or not np.array_equal(self.kept[0], point):
            few = len(self.names)
            points, step = np.tile(point, (few + 2, 1)), self._step(point)
            points[np.arange(1, few + 1), np.arange(few)] += step[:few]
            points[few + 1, few:] += step[few:]
            self.kept = point.copy(), self._scaled(points)
        return self.kept[1]

    def _step(self, point: np.ndarray) -> np.ndarray:
        return np.where(point + _DIFFERENCE > self.high, -_DIFFERENCE, _DIFFERENCE)

    def slopes(self, point: np.ndarray) -> np.ndarray:
        """Return the derivatives of the residuals; no series depends on the initial state of another."""
        few, count = len(self.names), len(self.sweeps.volts)
        values, step = self._values(point), self._step(point)
        change = values[1:] - values[0]
        out = np.zeros((*self.target.shape, few + count))
        out[:, :, :few] = np.moveaxis(change[:few], 0, -1) / step[:few]
        for s in range(count):
            out[s, :, few + s] = change[few, s] / step[few + s]
        return out.reshape(-1, few + count)

    def solve(self, first: np.ndarray, evaluations: int) -> SimpleNamespace:
        """Minimise from a point."""
        first = np.clip(first, self.low + 1e-9, self.high - 1e-9)
        return least_squares(self.rest, first, self.slopes, (self.low, self.high), x_scale="jac", max_nfev=evaluations)

    def told(self, result: SimpleNamespace, data: Sweeps) -> Switching:
        """Return the fit with its uncertainty."""
        few, used = len(self.names), self.sweeps.used
        rest = self.rest(result.x).reshape(used.shape)
        squares, count = float((rest**2).sum()), int(used.sum())
        wanted = self.target[used]
        # Neighbouring residuals are alike, so that there is less information than samples (Bartlett, JRSS 98:536, 1935).
        rho = float(np.clip((rest[:, 1:] * rest[:, :-1]).sum() / max(squares, 1e-300), 0.0, 0.98))
        variance = squares / max(count - len(result.x), 1) * (1 + rho) / (1 - rho)
        curvature = result.jac.T @ result.jac
        size = np.sqrt(np.maximum(np.diag(curvature), 1e-12))
        inverse = np.linalg.inv(curvature / np.outer(size, size) + 1e-9 * np.eye(len(size))) / np.outer(size, size)
        errors = np.minimum(np.sqrt(variance * np.diag(inverse)), 5.0)[:few]
        values = {
            name: float(np.copysign(np.exp(x), getattr(self.candidate.model, name)))
            for name, x in zip(self.names, result.x, strict=False)
        }
        independent = count * (1 - rho) / (1 + rho)
        criterion = independent * np.log(max(squares, 1e-300) / count) + len(result.x) * np.log(count)
        return Switching(
            name=self.candidate.name,
            model=self.candidate.model.but(**values),
            turned=self.candidate.turned,
            errors=dict(zip(self.names, errors.tolist(), strict=True)),
            currents=self.currents(result.x[None])[0] * (-1 if self.candidate.turned else 1),
            r_squared=1 - squares / max(float(((wanted - wanted.mean()) ** 2).sum()), 1e-300),
            criterion=float(criterion),
        )
