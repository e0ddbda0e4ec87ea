"""Protocol: physiology read-outs. A laboratory value or ECG measure guessed from the film, with an honest interval.

`embeddings + measured values -> ridge on normal scores -> split-conformal interval -> coverage`. The interval covers
the truth of a new patient *of the same hospital* with the stated probability, whatever the ridge is worth; how much
narrower it is than that of a guess without the film says what the film knows. A read-out that knows next to nothing
abstains. At another hospital the promise does not hold, and the coverage there is measured beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from pacx.core.errors import DataError
from pacx.core.tables.column_roles import Role, candidates
from pacx.core.tables.ids import how_they_would_meet, require_whole_ids, whole_number_id
from pacx.core.tables.numbers import NumberCells
from pacx.data.packs.pack import BY_PATIENT, Pack
from pacx.data.text_tables import open_text_table, without_blank_rows
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.results import ResultRow
from pacx.evaluation.settings import ReadoutConfig
from pacx.evaluation.statistics.bootstrap import Float, PatientDraws, patient_bootstrap, with_differences
from pacx.models.heads.readouts import ReadoutHead

PROTOCOL = "readout"
COVERAGE, WIDTH, R2 = "coverage", "relative_width", "r2"
EVERYTHING = "all"
"""The label of the rows over all quantities together."""
_FEWEST_TRAINING = 20


@dataclass(frozen=True)
class MeasuredValues:
    """What was measured of the patients on some films; row i is film i.

    Args:
        names: the Q quantities.
        values: (N, Q) in their own units, NaN = not measured.
        patient_ids: (N,); of a patient's films in a split the first counts, as intervals need independent patients.
        drawn_by: what a bootstrap draws, as ``Pack.drawn_by`` says it.
        notes: how the table is written that they come from, and what was made of its cells.

    Raises:
        DataError: the arrays do not fit each other.
    """

    names: tuple[str, ...]
    values: Float
    patient_ids: NDArray[np.object_]
    drawn_by: str = BY_PATIENT
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.patient_ids), len(self.names)):
            raise DataError(
                f"measured values have shape {self.values.shape} for {len(self.patient_ids)} films and "
                f"{len(self.names)} quantities; give one row per film and one column per quantity"
            )

    def one_film_each(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of these rows the first of each patient, in order."""
        _, first = np.unique(self.patient_ids[rows].astype(str), return_index=True)
        return rows[np.sort(first)]


def read_measured_values(csv: Path, pack: Pack) -> MeasuredValues:
    """Read a table of numbers, joined to a pack's films by sample id; films that are not in it have no value.

    Columns of patients and studies are passed over. Cells are read as those of laboratory tables are.

    Raises:
        UsageError: there is no such file.
        DataError: it has no column sample_id, names a sample twice, holds text or infinity where a number belongs, or
            knows none of the pack's films.
    """
    table = open_text_table(csv)
    samples = candidates(Role.SAMPLE, table.names)
    passed_over = {*samples, *candidates(Role.PATIENT, table.names), *candidates(Role.STUDY, table.names)}
    names = [name for name in table.names if name and name not in passed_over]
    frame = without_blank_rows(table.all([*samples[:1], *names]))
    ids = pd.Index([whole_number_id(text) for text in frame[samples[0]]] if samples else [""])
    if ids.has_duplicates or "" in ids:
        raise DataError(f"{csv} needs a column sample_id that names each film once")
    require_whole_ids(ids, f"column {samples[0]} of {csv}")
    cells, numbers = frame[names].to_numpy(object), NumberCells()
    flat, is_bad = numbers.read(cells.ravel())
    bad = np.flatnonzero(is_bad.reshape(cells.shape).any(axis=0))
    if bad.size:
        raise DataError(f"column {names[bad[0]]} of {csv} holds something other than numbers and blanks; leave it out")
    if not ids.isin(pack.sample_ids).any():
        raise DataError(
            f"{csv} names none of the films of {pack.path}; check that both carry the same sample ids"
            f"{how_they_would_meet(ids, pack.sample_ids)}"
        )
    values = pd.DataFrame(flat.reshape(cells.shape), ids, names).reindex(pack.sample_ids).to_numpy(np.float64)
    return MeasuredValues(tuple(names), values, pack.patient_ids, pack.drawn_by, (*table.notes, *numbers.notes()))


def conformal_radius(residuals: Float, level: float) -> float:
    """How far around a prediction one has to go to cover the next patient with probability ``level`` or more.

    The k-th smallest of n calibration residuals with k = ceil((n + 1) level); infinite when n is too small for any
    promise. NaN residuals are left out.

    Source: Lei et al. 2018, "Distribution-free predictive inference for regression", split conformal.
    """
    known = np.sort(np.abs(residuals[~np.isnan(residuals)]))
    k = int(np.ceil((len(known) + 1) * level - 1e-9))
    return float(known[k - 1]) if k <= len(known) else np.inf


class Readout:
    """One quantity read from embeddings: fitted, then calibrated; ``head`` is what comes of it.

    Args:
        features: (N, D) embeddings of the training films.
        values: (N,) measured, NaN = not.
        config: penalty and level.
    """

    def __init__(self, features: NDArray[np.float32], values: Float, config: ReadoutConfig) -> None:
        known = ~np.isnan(values)
        self._scores = QuantileTransformer(
            output_distribution="normal", n_quantiles=min(1000, int(known.sum())), subsample=None
        )
        wanted = self._scores.fit_transform(values[known][:, None])[:, 0]
        scaler, ridge = StandardScaler(), Ridge(alpha=config.alpha)
        ridge.fit(scaler.fit_transform(features[known].astype(np.float64)), wanted)
        weight = ridge.coef_ / scaler.scale_  # (D,): the scaling folded in
        self._constant = float(wanted.mean())
        self._config = config
        self.head = ReadoutHead(
            weight=weight,
            bias=float(ridge.intercept_ - scaler.mean_ @ weight),
            quantiles=self._scores.quantiles_[:, 0],
            chances=self._scores.references_,
            radius=np.inf,
            relative_width=1.0,
            level=config.level,
            abstains=True,
        )

    def calibrate(self, features: NDArray[np.float32], values: Float) -> None:
        """Fit the interval to other patients (N, D), (N,) than those the read-out was fitted to."""
        wanted = self.to_scores(values)
        radius = conformal_radius(wanted - self.head.scores(features), self._config.level)
        of_a_guess = conformal_radius(wanted - self._constant, self._config.level)
        width = radius / of_a_guess if np.isfinite(radius) else 1.0
        abstains = not width <= self._config.abstain_above
        self.head = replace(self.head, radius=radius, relative_width=width, abstains=abstains)

    def to_scores(self, values: Float) -> Float:
        """Measured values (N,) as normal scores of the training patients; NaN stays."""
        return self._scores.transform(values[:, None])[:, 0]

    @property
    def constant(self) -> float:
        """The guess without the film, in normal scores."""
        return self._constant


def fit_readouts(
    features: NDArray[np.float32],
    measured: MeasuredValues,
    *,
    training: NDArray[np.int64],
    calibration: NDArray[np.int64],
    config: ReadoutConfig,
) -> dict[str, Readout]:
    """Fit one read-out per quantity that enough training patients have; the others are left out.

    Raises:
        DataError: the two splits share patients, or no quantity can be fitted.
    """
    shared = np.intersect1d(measured.patient_ids[training].astype(str), measured.patient_ids[calibration].astype(str))
    if len(shared):
        raise DataError(f"{len(shared)} patients are in both training and calibration; split by patient")
    fitted = {}
    for column, name in enumerate(measured.names):
        values = measured.values[:, column]
        known = values[training][~np.isnan(values[training])]
        if len(known) < _FEWEST_TRAINING or np.ptp(known) == 0:
            continue
        readout = Readout(features[training], values[training], config)
        rows = measured.one_film_each(calibration)
        readout.calibrate(features[rows], values[rows])
        fitted[name] = readout
    if not fitted:
        raise DataError(
            f"no quantity was measured in {_FEWEST_TRAINING} or more training films with more than one value; give a "
            "table with values of the pack's patients"
        )
    return fitted


def readout_rows(
    fitted: Mapping[str, Mapping[str, Readout]],
    features: Mapping[str, NDArray[np.float32]],
    measured: MeasuredValues,
    test: NDArray[np.int64],
    comparison: Comparison,
    *,
    config: ReadoutConfig,
) -> list[ResultRow]:
    """Judge read-outs on test patients, at home or at another hospital.

    Args:
        fitted: per encoder, read-outs by quantity.
        features: per encoder (N, D).
        measured: of the same N films.
        test: rows to judge on.
        comparison: baseline, draws, and what rows say.
        config: for the bootstrap's seed.

    Returns:
        Per quantity and, as "all", over all quantities: the coverage of the intervals, the squared error removed
        (R2, in normal scores), and the interval's relative width; the remark says which read-outs abstain.
    """
    chosen = measured.one_film_each(test)
    names = list(next(iter(fitted.values())))
    draws = patient_bootstrap(measured.patient_ids[chosen], num_draws=comparison.num_draws, seed=config.seed)
    truth = measured.values[chosen][:, [measured.names.index(name) for name in names]]  # (M, Q)
    judged = {
        encoder: _judge(readouts, features[encoder][chosen], truth, draws) for encoder, readouts in fitted.items()
    }
    counts = [*(~np.isnan(truth)).sum(axis=0).tolist(), int((~np.isnan(truth)).any(axis=1).sum())]
    maker, rows = comparison.maker(PROTOCOL, config.seed, drawn_by=measured.drawn_by), []
    for metric in (COVERAGE, R2, WIDTH):
        draws_of = {name: values[metric] for name, values in judged.items()}
        for column in with_differences(draws_of, metric, comparison.baseline):
            for number, (label, count) in enumerate(zip([*names, EVERYTHING], counts, strict=True)):
                remark = "" if column.contrast else _remark(fitted[column.encoder], label)
                rows.append(maker.row(column, column.draws[:, number], label=label, n=count, remark=remark))
    return rows


def _judge(
    readouts: Mapping[str, Readout], features: NDArray[np.float32], truth: Float, draws: PatientDraws
) -> dict[str, Float]:
    """Each metric over all draws, (R, Q + 1): per quantity, then over all."""
    inside, error, spread = np.zeros(truth.shape), np.zeros(truth.shape), np.zeros(truth.shape)
    for number, readout in enumerate(readouts.values()):
        has = ~np.isnan(truth[:, number])
        values, films = truth[has, number], features[has]
        predicted = readout.head.predict(films)
        inside[has, number] = (predicted[:, 0] <= values) & (values <= predicted[:, 2])
        wanted = readout.to_scores(values)
        error[has, number] = (wanted - readout.head.scores(films)) ** 2
        spread[has, number] = (wanted - readout.constant) ** 2
    width = np.array([readout.head.relative_width for readout in readouts.values()])
    return {
        COVERAGE: _with_all(draws.weighted_sum(inside), draws.weighted_sum(~np.isnan(truth))),
        R2: 1 - _with_all(draws.weighted_sum(error), draws.weighted_sum(spread)),
        WIDTH: np.broadcast_to(np.append(width, width.mean()), (draws.num_draws, len(width) + 1)),
    }


def _with_all(numerator: Float, denominator: Float) -> Float:
    """Ratios (R, Q) per quantity, with the pooled one behind them: (R, Q + 1); NaN where nothing was measured."""
    top = np.concatenate([numerator, numerator.sum(axis=1, keepdims=True)], axis=1)
    bottom = np.concatenate([denominator, denominator.sum(axis=1, keepdims=True)], axis=1)
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)


def _remark(readouts: Mapping[str, Readout], label: str) -> str:
    if label in readouts:
        return "abstains" if readouts[label].head.abstains else ""
    abstaining = sum(readout.head.abstains for readout in readouts.values())
    return f"{abstaining} of {len(readouts)} read-outs abstain" if readouts else ""
