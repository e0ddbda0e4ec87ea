"""Stage 2 in closed form: linear maps from a frozen encoder's films to the directions of frozen targets.

`both poolings + frozen targets -> whitened components -> ridge -> encoder folder with directions`. Nothing of the
encoder is trained. Each modality is whitened by its principal components, each component predicted under a penalty of
its own, chosen by leaving every patient out; components of which nothing can be predicted so are dropped and counted.
What is released is the encoder as it was, a linear head that timm reads behind one pooling, and beside it the map of
both. Refuses targets of which nothing at all can be predicted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.core.artifacts import staged_directory
from pacx.core.errors import DataError
from pacx.models.encoders.folder import LinearHead, LoadedEncoder, save_encoder
from pacx.models.heads.directions import DirectionsHead, save_directions
from pacx.models.linear.correlations import chosen_penalties, shared_directions
from pacx.models.linear.ridge import Ridge, design, ridge
from pacx.models.linear.whitening import Whitening, principal_whitening
from pacx.models.vit_config import Pooling
from pacx.training.card import encoder_card
from pacx.training.task_config import ClosedFormConfig

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

CANONICAL = "canonical"
"""What stands for the modality of directions that all of them share."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmPairs:
    """Films and what was measured of their patients; row i is film i.

    Attributes:
        class_tokens: (N, D).
        patch_means: (N, D).
        targets: by modality (N, T), anything where a film has none.
        observed: by modality (N,), which films have one.
        patient_ids: (N,).
    """

    class_tokens: NDArray[np.float32]
    patch_means: NDArray[np.float32]
    targets: Mapping[str, NDArray[np.float32]]
    observed: Mapping[str, Bool]
    patient_ids: NDArray[Any]

    def features(self, pooling: Pooling | None) -> NDArray[np.float32]:
        """One pooling (N, D), or both side by side (N, 2 D)."""
        if pooling is None:
            return np.concatenate([self.class_tokens, self.patch_means], axis=1)
        return self.class_tokens if pooling is Pooling.CLASS_TOKEN else self.patch_means


@dataclass(frozen=True, kw_only=True, eq=False)
class _Aim:
    """What is predicted of one modality, or of all together: K directions of the targets, of some of the films."""

    name: str
    rows: Bool
    directions: Callable[[Mapping[str, NDArray[np.float32]]], Float]
    values: Float


@dataclass(frozen=True, kw_only=True, eq=False)
class ClosedForm:
    """Fitted maps; columns are the directions of all aims one after another, those left out included.

    Attributes:
        names: modality and number of each direction.
        modality: of each direction, (T,).
        fits: of the class token, of the patch mean, and of both (None).
        preferred: the pooling that predicts more of patients left out.
        aims: what was predicted.
    """

    names: tuple[str, ...]
    modality: NDArray[np.str_]
    fits: Mapping[Pooling | None, Ridge]
    preferred: Pooling
    aims: tuple[_Aim, ...]

    @property
    def kept(self) -> Bool:
        """Which directions both poolings together predict, (T,)."""
        return self.fits[None].is_predicted

    def of_modality(self, name: str) -> Bool:
        """Which directions are kept and of this modality, (T,)."""
        return self.kept & (self.modality == name)

    def summary(self, held_out: FilmPairs | None) -> dict[str, float]:
        """What a person reads of it.

        Args:
            held_out: films of other patients, for R2 of theirs.

        Returns:
            ``directions`` kept and ``directions_left_out``; ``predicted_by_token``, ``_mean`` and ``_both``: R2 of
            patients left out added up over the directions, that is how many are predicted in all; per modality
            ``pairs_M``, ``directions_M``, ``r2_M`` of patients left out (mean over those kept), ``penalty_M`` (their
            geometric mean) and ``held_out_r2_M``; NaN where none is kept.
        """
        values = {"directions": float(self.kept.sum()), "directions_left_out": float((~self.kept).sum())}
        for pooling, fit in self.fits.items():
            word = "both" if pooling is None else pooling.value
            values[f"predicted_by_{word}"] = _predicted(fit)
        of_both = self.fits[None]
        for aim in self.aims:
            own = self.of_modality(aim.name)
            values[f"pairs_{aim.name}"] = float(aim.rows.sum())
            values[f"directions_{aim.name}"] = float(own.sum())
            values[f"r2_{aim.name}"] = float(of_both.explained[own].mean()) if own.any() else np.nan
            values[f"penalty_{aim.name}"] = (
                float(np.exp(np.log(of_both.penalties[own]).mean())) if own.any() else np.nan
            )
            if held_out is not None:
                values[f"held_out_r2_{aim.name}"] = self._r2(aim, held_out)
        return values

    def directions(self) -> list[dict[str, Any]]:
        """One JSON object per direction: name, R2 of patients left out, penalty (None where it is left out)."""
        fit = self.fits[None]
        return [
            {"name": name, "r2_left_out": float(r2), "penalty": float(penalty) if np.isfinite(penalty) else None}
            for name, r2, penalty in zip(self.names, fit.explained, fit.penalties, strict=True)
        ]

    def _r2(self, aim: _Aim, films: FilmPairs) -> float:
        """Mean R2 over the directions kept, about the mean of the films that were fitted; NaN where there is none."""
        rows = _rows_of(aim.name, films)
        own = self.of_modality(aim.name)
        if not rows.any() or not own.any():
            return np.nan
        truth = aim.directions({name: array[rows] for name, array in films.targets.items()})
        predicted = self.fits[None].predict(films.features(None)[rows])[:, own]
        truth = truth[:, self.kept[self.modality == aim.name]]
        residual, spread = ((truth - predicted) ** 2).sum(axis=0), (truth**2).sum(axis=0)  # directions have mean 0
        return float((1 - residual / spread).mean())


def fit_closed_form(films: FilmPairs, config: ClosedFormConfig) -> ClosedForm:
    """Fit ridge from the films to every direction of the targets.

    Raises:
        DataError: nothing can be predicted of patients left out, targets do not vary, or no film has all modalities
            where canonical directions are asked for.

    Source: whitening and ridge as ``models.linear`` says; canonical directions of Hotelling 1936.
    """
    aims = _canonical_aim(films, config.canonical, config) if config.canonical else _aims(films, config)
    poolings = (Pooling.CLASS_TOKEN, Pooling.PATCH_MEAN, None)
    fits = {pooling: _fitted(films, films.features(pooling), aims, config) for pooling in poolings}
    widths = [aim.values.shape[1] for aim in aims]
    if not fits[None].is_predicted.any():
        raise DataError(
            f"distill-closed-form: of {sum(widths)} directions of {', '.join(aim.name for aim in aims)} the films "
            f"predict none for patients left out ({len(films.patient_ids)} films); give more pairs, or check that the "
            "targets are of these films"
        )
    return ClosedForm(
        names=tuple(f"{aim.name} {k + 1}" for aim, width in zip(aims, widths, strict=True) for k in range(width)),
        modality=np.repeat([aim.name for aim in aims], widths),
        fits=fits,
        preferred=max(poolings[:2], key=lambda pooling: _predicted(fits[pooling])),
        aims=aims,
    )


def release_closed_form(
    fitted: ClosedForm, encoder: LoadedEncoder, out: Path, *, fitted_on: str, provenance: dict[str, Any]
) -> None:
    """Write the encoder folder, whole or not at all: the encoder as it was, timm's head, the map of both poolings.

    Args:
        fitted: the maps.
        encoder: the one whose films were fitted.
        out: the folder.
        fitted_on: which films and targets, in words.
        provenance: as of ``save_encoder``.
    """
    kept, alone, both = fitted.kept, fitted.fits[fitted.preferred], fitted.fits[None]
    names = tuple(name for name, is_kept in zip(fitted.names, kept, strict=True) if is_kept)
    card = encoder_card(
        "PaCX encoder of chest films with predicted directions",
        f"A frozen vision transformer and {len(names)} directions of its patients' physiology, read off the film by "
        "linear maps in closed form. timm's model applies a head to one pooling (num_classes=0 leaves it out); "
        f"`directions/` holds the map of both, which `pacx` reads.",
        {"stage": "2, in closed form", "fitted on": fitted_on, "timm's head reads": fitted.preferred.value},
    )
    of_one, bias_of_one = alone.weight[:, kept].T.astype(np.float32), alone.bias[kept].astype(np.float32)
    weight, bias = both.weight[:, kept].astype(np.float32), both.bias[kept].astype(np.float32)
    with staged_directory(out) as folder:  # without its directions it would pass for the plain encoder
        save_encoder(
            encoder.vit,
            folder,
            preprocessing=encoder.preprocessing,
            pooling=fitted.preferred,
            card=card,
            provenance=provenance,
            head=LinearHead(torch.from_numpy(np.ascontiguousarray(of_one)), torch.from_numpy(bias_of_one)),
        )
        save_directions(folder, DirectionsHead(names=names, weight=weight, bias=bias, fitted_on=fitted_on))


def _predicted(fit: Ridge) -> float:
    return float(fit.explained[fit.is_predicted].sum())


def _rows_of(name: str, films: FilmPairs) -> Bool:
    if name in films.observed:
        return films.observed[name]
    return np.logical_and.reduce(list(films.observed.values()))


def _aims(films: FilmPairs, config: ClosedFormConfig) -> tuple[_Aim, ...]:
    """The whitened components of each modality."""
    aims = []
    for name, values in films.targets.items():
        rows = films.observed[name]
        try:
            white = principal_whitening(values[rows], config.most_components)
        except DataError as error:
            raise DataError(f"distill-closed-form: targets of {name}: {error}") from error
        aims.append(
            _Aim(
                name=name,
                rows=rows,
                directions=partial(_of_modality, white, name),
                values=white(values[rows]),
            )
        )
    return tuple(aims)


def _of_modality(white: Whitening, name: str, targets: Mapping[str, NDArray[np.float32]]) -> Float:
    return white(targets[name])


def _canonical_aim(films: FilmPairs, num: int, config: ClosedFormConfig) -> tuple[_Aim, ...]:
    """The directions of all modalities together that go with directions of the films."""
    rows = _rows_of(CANONICAL, films)
    if len(set(films.patient_ids[rows].tolist())) < 2:
        raise DataError(
            f"distill-closed-form: {int(rows.sum())} of {len(rows)} films have every modality, of fewer than two "
            "patients, so they have no canonical directions; leave --task.canonical out"
        )
    whole = {name: values[rows] for name, values in films.targets.items()}
    complete = replace(
        films,
        class_tokens=films.class_tokens[rows],
        patch_means=films.patch_means[rows],
        targets=whole,
        observed={name: np.full(int(rows.sum()), True) for name in whole},
        patient_ids=films.patient_ids[rows],
    )
    parts = _aims(complete, config)
    together = np.concatenate([part.values for part in parts], axis=1)
    of_films = design(complete.features(None), complete.patient_ids)
    of_targets = design(together, complete.patient_ids)
    found = shared_directions(of_films, of_targets, num, chosen_penalties(of_films, of_targets)).of_targets

    def directions(targets: Mapping[str, NDArray[np.float32]]) -> Float:
        return found.scores(np.concatenate([part.directions(targets) for part in parts], axis=1))

    return (_Aim(name=CANONICAL, rows=rows, directions=directions, values=directions(whole)),)


def _fitted(films: FilmPairs, features: NDArray[np.float32], aims: tuple[_Aim, ...], config: ClosedFormConfig) -> Ridge:
    """Ridge to all aims; those of the same films share what is computed once."""
    places = np.cumsum([0, *(aim.values.shape[1] for aim in aims)])
    whole = Ridge(
        weight=np.zeros((features.shape[1], places[-1])),
        bias=np.zeros(places[-1]),
        penalties=np.zeros(places[-1]),
        explained=np.zeros(places[-1]),
    )
    by_rows: dict[bytes, list[int]] = {}
    for number, aim in enumerate(aims):
        by_rows.setdefault(aim.rows.tobytes(), []).append(number)
    for members in by_rows.values():
        rows = aims[members[0]].rows
        together = np.concatenate([aims[each].values for each in members], axis=1)
        fit = ridge(design(features[rows], films.patient_ids[rows]), together, standard_errors=config.standard_errors)
        columns = np.concatenate([np.arange(places[each], places[each + 1]) for each in members])
        whole.weight[:, columns], whole.bias[columns] = fit.weight, fit.bias
        whole.penalties[columns], whole.explained[columns] = fit.penalties, fit.explained
    return whole
