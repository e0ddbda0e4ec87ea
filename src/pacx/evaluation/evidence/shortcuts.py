"""Protocol: shortcut. What the probe still finds when the anatomy is hidden, and what age and sex alone would find.

`probe trained on plain films -> the same test films, altered -> the same scoring`. A probe that keeps its AUROC on the
border of the film reads the border. The probe is never trained on altered films. Beside it stands a logistic regression
on age and sex, which no film is needed for. The alteration is the condition of a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from pacx.core.errors import DataError
from pacx.core.progress import announce
from pacx.data.packs.pack import Pack
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.evidence.alterations import NamedAlteration
from pacx.evaluation.probes.classification import (
    ClassificationData,
    ClassificationScores,
    classification_rows,
    score_heads,
)
from pacx.evaluation.probes.linear_heads import LinearHeads, ProbeConfig
from pacx.evaluation.probes.linear_probe import train_probes
from pacx.evaluation.results import ResultRow, Subject
from pacx.evaluation.statistics.bootstrap import patient_bootstrap
from pacx.models.encoders.film_encoder import FilmEncoder

PROTOCOL = "shortcut"
AGE_AND_SEX = "age and sex"


def shortcuts(
    pack: Pack,
    data: ClassificationData,
    encoders: Mapping[str, FilmEncoder],
    alterations: Sequence[NamedAlteration],
    comparison: Comparison,
    *,
    config: ProbeConfig,
) -> list[ResultRow]:
    """Score every encoder's probe on plain and on altered test films, and age and sex where the pack has them.

    Args:
        pack: the films.
        data: its labels and splits.
        encoders: by name.
        alterations: of the test films; ``usual_alterations(pack)``.
        comparison: draws, device, and what rows say; every encoder's baseline is itself on plain films.
        config: the probe's hyper-parameters.

    Returns:
        Per encoder the plain rows, those of every alteration, and each alteration's paired difference to plain; then
        age and sex, and each encoder's paired difference to them.

    Raises:
        DataError: the data are not the pack's.
        ModelError: an encoder takes films of another size.

    Source: Zech et al. 2018 and DeGrave et al. 2021 on what classifiers of radiographs read beside disease.

    Example:
        An alteration has a name and is called with films (B, S, S) and their rows; this one hides the lower half.

        >>> import pacx
        >>> from pacx.data import Pack
        >>> from pacx.evaluation import ClassificationData, Comparison, ProbeConfig, shortcuts
        >>> class UpperHalf:
        ...     name = "upper half only"
        ...     def __call__(self, films, rows):
        ...         films = films / 255
        ...         films[:, films.shape[1] // 2 :] = 0.5
        ...         return films
        >>> pack, config = Pack.open("packs/films"), ProbeConfig(epochs=2, num_seeds=1)
        >>> data = ClassificationData.from_pack(pack, dataset="films")
        >>> encoders = {"mae": pacx.load_encoder("runs/mae/encoder")}
        >>> comparison = Comparison(dataset="films", num_draws=20)
        >>> rows = shortcuts(pack, data, encoders, [UpperHalf()], comparison, config=config)
        >>> sorted({row.subject for row in rows})
        ['age and sex', 'mae', 'mae (upper half only)']
    """
    draws = patient_bootstrap(data.patient_ids[data.test], num_draws=comparison.num_draws, seed=config.seed)
    altered = {(name, each): Subject(encoder=name, condition=each.name) for name in encoders for each in alterations}
    subjects = {**comparison.subjects, **{str(subject): subject for subject in altered.values()}}
    maker, device = (
        replace(comparison, subjects=subjects).maker(PROTOCOL, config.seed, drawn_by=data.drawn_by),
        comparison.device,
    )
    rows: list[ResultRow] = []
    plain: dict[str, ClassificationScores] = {}
    for name, encoder in encoders.items():
        features = embed_pack(encoder, pack, device=device)
        heads = train_probes(data, features, config=config, device=device)
        scores = {name: score_heads(heads, data, features, draws)}
        for alteration in alterations:
            changed = features.copy()
            changed[data.test] = embed_pack(encoder, pack, rows=data.test, device=device, alter=alteration)
            scores[str(altered[name, alteration])] = score_heads(heads, data, changed, draws)
        plain[name] = scores[name]
        rows += classification_rows(maker, data, scores, baseline=name, fraction=1.0)
    if {"age", "sex"} <= set(pack.table.columns):
        described = age_and_sex(pack.table)
        score = score_heads(fit_logistic(described, data), data, described, draws)
        compared = classification_rows(maker, data, {AGE_AND_SEX: score, **plain}, baseline=AGE_AND_SEX, fraction=1.0)
        rows += [row for row in compared if row.name not in plain]
    return rows


def age_and_sex(table: pd.DataFrame) -> NDArray[np.float32]:
    """Age in decades about 50, and whether age is unknown, sex is female, sex is unknown: float32 (N, 4).

    Raises:
        DataError: a column is missing, or nothing is known of anybody.
    """
    missing = sorted({"age", "sex"} - set(table.columns))
    if missing:
        raise DataError(f"the records have no column {' and '.join(missing)}; pack them with it")
    years = pd.to_numeric(table["age"], errors="coerce").to_numpy(np.float64)
    letters = table["sex"].astype("string").fillna("").str.strip().str.upper().str[:1].to_numpy(str)
    is_unknown_sex = ~np.isin(letters, ("F", "M"))
    if np.isnan(years).all() and is_unknown_sex.all():
        raise DataError("no age and no sex (F or M) is known of any film; leave this baseline out")
    columns = [np.nan_to_num((years - 50) / 10), np.isnan(years), letters == "F", is_unknown_sex]
    return np.stack(columns, axis=1).astype(np.float32)


def fit_logistic(features: NDArray[np.float32], data: ClassificationData) -> LinearHeads:
    """A logistic regression per label (multiclass: one over the classes) on the training split, as one head.

    A label of which the training films have one class only has zero weights: it tells films nothing. A film of which no
    label (multiclass: not every class) is known trains nothing.
    """
    training, labels = features[data.training], data.labels[data.training]
    num_labels = labels.shape[1]
    weight, bias = np.zeros((features.shape[1], num_labels)), np.zeros(num_labels)
    if data.is_multiclass and (num_unknown := int(np.isnan(labels).any(axis=1).sum())):
        announce(
            f"{num_unknown} of {len(labels)} training films of {data.dataset} have no known class and are left out"
        )
        labels = np.where(np.isnan(labels).any(axis=1, keepdims=True), np.nan, labels)
    # multiclass: one regression per class against the rest; the softmax over their logits ranks films as they do
    for k in range(num_labels):
        known = ~np.isnan(labels[:, k])
        if len(np.unique(labels[known, k])) < 2:
            continue
        model = LogisticRegression(max_iter=1000).fit(training[known], labels[known, k])
        weight[:, k], bias[k] = model.coef_[0], model.intercept_[0]
    return LinearHeads.of_one_fit(weight, bias, is_multiclass=data.is_multiclass)
