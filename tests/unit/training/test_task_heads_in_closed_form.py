"""Stage 2 whose regression heads begin as a ridge, inside the task that trains it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import Ridge
from whitened_task import CONFIG, MODEL, whitened_task

from pacx.core.errors import UsageError
from pacx.data.augment import to_input
from pacx.modalities.targets import FrozenTargets
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.linear.ridge import PENALTIES, design, ridge
from pacx.models.vit import pooled, random_vit
from pacx.models.vit_config import Pooling
from pacx.objectives.regression_config import RegressionConfig
from pacx.training.loop import train
from pacx.training.task_config import DistillTaskConfig
from pacx.training.tasks.distill import DistillTask

STARTED = RegressionConfig(starts_in_closed_form=True)


def embedded(pack, rows):
    with torch.no_grad():
        images = to_input(torch.from_numpy(pack.images[rows]), pack.preprocessing)
        return pooled(random_vit(MODEL, 0).eval(), images, Pooling.CLASS_TOKEN).double().numpy()


def taught_task(pack, config: DistillTaskConfig) -> DistillTask:
    """ECG targets that films tell linearly but for noise; labs of chance."""
    random, known = np.random.default_rng(0), embedded(pack, np.arange(len(pack)))
    known = (known - known.mean(0)) / known.std(0)
    ecg = 3 + known @ random.normal(size=(known.shape[1], 6)) + 0.5 * random.normal(size=(len(pack), 6))
    made = {"ecg": ecg, "labs": random.normal(size=(len(pack), 4))}
    targets = {
        name: FrozenTargets(name, tuple(pack.sample_ids), values.astype(np.float32), f"of-{name}")
        for name, values in made.items()
    }
    encoder = LoadedEncoder(random_vit(MODEL, 0), pack.preprocessing, Pooling.CLASS_TOKEN)
    return DistillTask(pack, pack.rows("train"), pack.rows("val"), encoder, targets, config, 1)


def test_heads_begin_as_the_ridge_under_the_penalty_that_patients_left_out_choose(blob_pack, capsys):
    task = taught_task(blob_pack, DistillTaskConfig(regression=STARTED))
    task.module.eval()
    task.prepare()
    films = embedded(blob_pack, task.train_rows)
    targets = task._train_targets.values["ecg"].double().numpy()
    penalties = ridge(design(films, np.arange(len(films))), targets).penalties
    scale = films.std(0)
    for place, penalty in enumerate(penalties):
        assert penalty in PENALTIES
        other = Ridge(alpha=penalty * len(films)).fit((films - films.mean(0)) / scale, targets[:, place])
        with torch.no_grad():
            found = task.module.objectives["regression"].heads["ecg"](torch.from_numpy(films).float())[:, place]
        np.testing.assert_allclose(found, other.predict((films - films.mean(0)) / scale), atol=2e-3)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "start in closed form" in told
    assert " of ecg, " in told


def test_of_what_films_do_not_tell_the_mean_is_predicted(blob_pack):
    task = taught_task(blob_pack, DistillTaskConfig(regression=STARTED))
    targets, patients = task._train_targets, task._train_targets.patients.numpy()
    values = {name: np.zeros_like(each.double().numpy()) + 2.0 for name, each in targets.values.items()}
    observed = {name: each.numpy() for name, each in targets.observed.items()}
    films = embedded(blob_pack, task.train_rows)
    shares = task.module.objectives["regression"].start_in_closed_form(films, values, observed, patients)
    assert shares == {"ecg": 0.0, "labs": 0.0}
    for head in task.module.objectives["regression"].heads.values():
        with torch.no_grad():
            np.testing.assert_allclose(head(torch.from_numpy(films).float()), 2.0, atol=1e-5)


def test_behind_a_whitening_they_predict_from_what_is_whitened(blob_pack):
    task = whitened_task(blob_pack, regression=STARTED)
    task.module.eval()
    task.prepare()
    with torch.no_grad():
        images = to_input(torch.from_numpy(blob_pack.images[task.train_rows]), blob_pack.preprocessing)
        heard = task.module.heard(task.module.features(images).embedding).double().numpy()
    targets = task._train_targets.values["ecg"].double().numpy()
    fitted = ridge(design(heard, np.arange(len(heard))), targets)
    head = task.module.objectives["regression"].heads["ecg"][0]
    torch.testing.assert_close(head.weight, torch.from_numpy(fitted.weight.T).float(), rtol=1e-3, atol=1e-4)


def test_the_regression_begins_with_a_smaller_loss_and_what_is_released_is_plain(blob_pack, tmp_path):
    started, plain = (
        taught_task(blob_pack, DistillTaskConfig(regression=each)) for each in (STARTED, RegressionConfig())
    )
    losses = []
    for task in (started, plain):
        task.module.eval()
        task.prepare()
        with torch.no_grad():
            losses.append(float(task.loss(next(task.batches(0, CONFIG, 0, 1)), 0).metrics["regression"]))
    assert losses[0] < losses[1] - 0.2
    for name, task in (("started", started), ("plain", plain)):
        train(task, replace(CONFIG, epochs=1), tmp_path / name)
    one, other = (load_file(tmp_path / name / "encoder/model.safetensors") for name in ("started", "plain"))
    assert one.keys() == other.keys()
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_heads_with_a_norm_behind_them_cannot_start_so():
    with pytest.raises(UsageError, match="leave out one of"):
        RegressionConfig(starts_in_closed_form=True, use_head_layer_norm=True)
