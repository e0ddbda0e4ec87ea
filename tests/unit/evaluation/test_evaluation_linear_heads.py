"""Batched probes: each head equals itself alone, learns, ignores unknown labels, and is checkpointed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from pacx.core.errors import DataError, ModelError, UsageError
from pacx.core.randomness import generator, order, sample_keys, uniform
from pacx.evaluation.probes.linear_heads import LabelledFeatures, ProbeConfig, train_heads

CONFIG = ProbeConfig(epochs=6, batch_size=32)


def samples(num, seed, num_labels=3, dim=12):
    random = np.random.default_rng(seed)
    features = random.normal(size=(num, dim)).astype(np.float32)
    direction = np.random.default_rng(99).normal(size=(dim, num_labels))
    labels = (features @ direction + 0.5 * random.normal(size=(num, num_labels)) > 0.5).astype(np.float32)
    return LabelledFeatures(features=features, labels=labels, keys=sample_keys([f"{seed}-{i}" for i in range(num)]))


def exclusive(data):
    classes = data.labels.argmax(axis=1)
    return replace(data, labels=np.eye(3, dtype=np.float32)[classes])


TRAINING, VALIDATION = samples(200, 0), samples(80, 1)


def train(training=TRAINING, validation=VALIDATION, subsets=None, seeds=(0,), config=CONFIG, is_multiclass=False):
    subsets = np.ones((len(seeds), len(training.features)), bool) if subsets is None else subsets
    return train_heads(
        training,
        validation,
        subsets=subsets,
        head_seeds=np.array(seeds),
        is_multiclass=is_multiclass,
        config=config,
    )


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("is_multiclass", [False, True])
def test_batched_heads_equal_heads_trained_alone(standardize, is_multiclass):
    config = replace(CONFIG, standardize=standardize)
    training, validation = TRAINING, VALIDATION
    if is_multiclass:
        training, validation = exclusive(training), exclusive(validation)
    else:
        labels = training.labels.copy()
        labels[np.random.default_rng(3).random(labels.shape) < 0.2] = np.nan
        training = replace(training, labels=labels)
    # whole split, two sizes with the same number of steps, one smaller than a batch
    sizes = [200, 61, 64, 9, 200]
    subsets = np.zeros((5, 200), bool)
    for head, size in enumerate(sizes):
        subsets[head, np.random.default_rng(head).permutation(200)[:size]] = True
    seeds = (0, 1, 2, 3, 0)
    together = train(training, validation, subsets, seeds, config, is_multiclass)
    for head in range(5):
        alone = train(training, validation, subsets[[head]], seeds[head : head + 1], config, is_multiclass)
        np.testing.assert_allclose(together.weight[head], alone.weight[0], atol=1e-5)
        np.testing.assert_allclose(together.bias[head], alone.bias[0], atol=1e-5)
        assert together.best_epoch[head] == alone.best_epoch[0]
    np.testing.assert_allclose(together.weight[0], together.weight[4], atol=1e-6)
    assert np.abs(together.weight[0] - together.weight[1]).max() > 1e-2


def plain_loop(config, rows, validation, seed, labels, mirrored=None):
    """One head by autograd and torch's own optimiser and schedule: best validation AUROC and the weights there."""
    layer = torch.nn.Linear(12, 3)
    start = generator(config.seed, "probe-init", seed).uniform(-1, 1, (13, 3)) / np.sqrt(12)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(start[:12].T))
        layer.bias.copy_(torch.from_numpy(start[12]))
    groups = [{"params": [layer.weight], "weight_decay": config.weight_decay}, {"params": [layer.bias]}]
    kind = torch.optim.AdamW if config.weight_decay else torch.optim.Adam
    optimizer = kind(groups, lr=config.learning_rates[0], weight_decay=0.0)
    num_steps = -(-len(rows) // config.batch_size)
    length = config.epochs * (1 if config.is_rate_per_epoch else num_steps)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=length)
    best, kept = -1.0, None
    for epoch in range(config.epochs):
        features = TRAINING.features.copy()
        if mirrored is not None:
            chosen = uniform(config.seed, f"probe-mirror/{seed}", epoch, TRAINING.keys, 1)[:, 0] < 0.5
            features[chosen] = mirrored[chosen]
        shuffled = rows[order(config.seed, f"probe-order/{seed}", epoch, TRAINING.keys[rows])]
        for begin in range(0, len(rows), config.batch_size):
            chosen = shuffled[begin : begin + config.batch_size]
            said, truth = layer(torch.from_numpy(features[chosen])), torch.from_numpy(labels[chosen])
            known = ~truth.isnan()  # the mean is over what is known
            loss = torch.nn.functional.binary_cross_entropy_with_logits(said[known], truth[known])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if not config.is_rate_per_epoch:
                schedule.step()
        if config.is_rate_per_epoch:
            schedule.step()
        with torch.no_grad():
            score = roc_auc_score(validation.labels, layer(torch.from_numpy(VALIDATION.features)).numpy())
        if score > best:
            best, kept = score, layer.weight.detach().numpy().T.copy()
    return best, kept


@pytest.mark.parametrize("variant", ["paper", "released code"])
def test_one_head_equals_a_plain_training_loop_and_keeps_the_best_epoch(variant):
    # validation wants the opposite of what is trained, so the last epoch is not the best
    validation = replace(VALIDATION, labels=1 - VALIDATION.labels)
    labels = np.where(np.random.default_rng(3).random(TRAINING.labels.shape) < 0.3, np.nan, TRAINING.labels)
    config, mirrored = replace(CONFIG, epochs=3), None
    training = replace(TRAINING, labels=labels.astype(np.float32))
    if variant == "released code":
        config = replace(config, weight_decay=0.5, is_rate_per_epoch=True)
        mirrored = np.random.default_rng(8).normal(size=TRAINING.features.shape).astype(np.float32)
        training = replace(training, mirrored=mirrored)
    rows = np.flatnonzero(np.arange(200) % 3 != 0)
    best, kept = plain_loop(config, rows, validation, 7, training.labels, mirrored)
    heads = train(training, validation, subsets=np.isin(np.arange(200), rows)[None], seeds=(7,), config=config)
    assert heads.best_epoch[0] < 3
    np.testing.assert_allclose(heads.weight[0], kept, atol=1e-5)
    assert heads.validation_auroc[0] == pytest.approx(best, abs=1e-9)


def test_every_head_takes_the_learning_rate_that_validation_prefers():
    rates = (1e-4, 3e-2, 3.0)
    subsets = np.zeros((3, 200), bool)
    for head, size in enumerate((200, 64, 9)):
        subsets[head, :size] = True
    together = train(subsets=subsets, seeds=(0, 1, 2), config=replace(CONFIG, learning_rates=rates))
    apart = [
        [train(subsets=subsets[[h]], seeds=(h,), config=replace(CONFIG, learning_rates=(rate,))) for rate in rates]
        for h in range(3)
    ]
    for head, tried in enumerate(apart):
        best = max(tried, key=lambda heads: heads.validation_auroc[0])
        assert together.validation_auroc[head] == pytest.approx(best.validation_auroc[0], abs=1e-9)
        assert together.learning_rate[head] == best.learning_rate[0]
        np.testing.assert_allclose(together.weight[head], best.weight[0], atol=1e-5)
    assert len({heads.validation_auroc[0] for heads in apart[0]}) == 3


def test_training_leaves_the_number_of_threads_alone():
    torch.set_num_threads(2)
    try:
        train()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("is_multiclass", [False, True])
def test_heads_learn_and_give_probabilities(is_multiclass):
    config = replace(CONFIG, epochs=40, learning_rates=(0.03,))
    training, validation, test = TRAINING, VALIDATION, samples(300, 2)
    if is_multiclass:
        training, validation, test = exclusive(training), exclusive(validation), exclusive(test)
    heads = train(training, validation, config=config, is_multiclass=is_multiclass)
    probabilities = heads.probabilities(test.features)[0]
    assert roc_auc_score(test.labels, probabilities) > 0.9
    assert (probabilities.sum(axis=1) == pytest.approx(1)) == is_multiclass


def test_standardization_makes_the_scale_of_features_irrelevant():
    def on_other_scale(data):
        return replace(data, features=(data.features * 400 + 3000).astype(np.float32))

    standardized = replace(CONFIG, standardize=True)
    plain = train(config=standardized)
    scaled = train(on_other_scale(TRAINING), on_other_scale(VALIDATION), config=standardized)
    np.testing.assert_allclose(scaled.weight * 400, plain.weight, atol=1e-3)
    films = samples(40, 6)
    np.testing.assert_allclose(
        scaled.probabilities(on_other_scale(films).features), plain.probabilities(films.features), atol=1e-3
    )
    raw = train(on_other_scale(TRAINING), on_other_scale(VALIDATION))
    assert plain.validation_auroc[0] > raw.validation_auroc[0] + 0.05


def test_unknown_labels_do_not_train():
    labels = TRAINING.labels.copy()
    labels[50:, 1] = np.nan
    partly = train(replace(TRAINING, labels=labels))
    # label 1 moves by its 50 known samples, and without any known label it stays where it began
    unknown = train(replace(TRAINING, labels=np.where(np.arange(3) == 1, np.nan, TRAINING.labels).astype(np.float32)))
    start = generator(0, "probe-init", 0).uniform(-1, 1, (13, 3)) / np.sqrt(12)
    np.testing.assert_allclose(unknown.weight[0][:, 1], start[:12, 1], atol=1e-6)
    assert np.abs(partly.weight[0][:, 1] - start[:12, 1]).max() > 1e-3


def test_bad_input_is_refused():
    with pytest.raises(UsageError, match="at least one above 0"):
        replace(CONFIG, learning_rates=())
    with pytest.raises(UsageError, match="expected at least 1"):
        replace(CONFIG, num_seeds=0)
    with pytest.raises(DataError, match="mirrored embeddings"):
        replace(TRAINING, mirrored=TRAINING.features[:5])
    with pytest.raises(DataError, match="head 1 is empty"):
        train(subsets=np.stack([np.ones(200, bool), np.zeros(200, bool)]), seeds=(0, 1))
    with pytest.raises(DataError, match="no checkpoint can be chosen"):
        train(validation=replace(VALIDATION, labels=np.zeros_like(VALIDATION.labels)))
    damaged = VALIDATION.features.copy()
    damaged[3, 2] = np.nan
    with pytest.raises(ModelError, match="1 of 80 embeddings"):
        replace(VALIDATION, features=damaged)
