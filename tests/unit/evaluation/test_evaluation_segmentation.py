"""IoU and Dice against a loop over pixels, the conventions, decoder training, and the whole protocol."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pacx.core.errors import DataError, UsageError
from pacx.core.randomness import order
from pacx.evaluation.comparison import Comparison
from pacx.evaluation.embeddings import embed_patches
from pacx.evaluation.masks.overlap import mask_overlap
from pacx.evaluation.masks.segmentation import (
    MaskedTokens,
    SegmentationConfig,
    predict_overlap,
    segmentation,
    segmentation_rows,
    train_decoder,
)
from pacx.evaluation.statistics.bootstrap import RowMaker, patient_bootstrap
from pacx.models.segmenter import SegmentationDecoder, dice_bce_loss

MAKER = RowMaker(protocol="segmentation", dataset="discs", seed=0, provenance="here")


def counted_pixel_by_pixel(predicted, mask):
    both = either = sizes = 0
    for guess, truth in zip(predicted.ravel().tolist(), mask.ravel().tolist(), strict=True):
        if truth == 255:
            continue
        both += guess and truth == 1
        either += guess or truth == 1
        sizes += guess + (truth == 1)
    return both, either, sizes


def test_scores_equal_a_loop_over_pixels():
    random = np.random.default_rng(0)
    predicted = random.random((7, 2, 9, 9)) < 0.4
    masks = random.choice([0, 1, 255], p=[0.5, 0.4, 0.1], size=predicted.shape).astype(np.uint8)
    predicted[1, 0], masks[1, 0] = False, 0  # both empty
    predicted[2, 0], masks[2, 0] = False, np.where(masks[2, 0] == 255, 255, 0)
    masks[3, 0] = 255  # nothing judged
    masks[4, 0] = 0  # empty mask, prediction not
    counts = mask_overlap(predicted, masks)
    totals = np.zeros((2, 3))
    for i in range(7):
        for k in range(2):
            both, either, sizes = counted_pixel_by_pixel(predicted[i, k], masks[i, k])
            totals[k] += both, either, sizes
            if (masks[i, k] == 255).all():
                assert np.isnan([counts.iou()[i, k], counts.dice()[i, k]]).all()
            else:
                assert counts.iou()[i, k] == pytest.approx(both / either if either else 1.0, abs=1e-9)
                assert counts.dice()[i, k] == pytest.approx(2 * both / sizes if sizes else 1.0, abs=1e-9)
    draws = patient_bootstrap(["a", "a", "b", "c", "d", "e", "f"], num_draws=50, seed=0)
    rows = segmentation_rows(MAKER, {"pacx": (counts,)}, draws, mask_names=("heart", "lung"), baseline=None)
    table = {(row.label, row.metric): row for row in rows}
    for k, mask in enumerate(("heart", "lung")):
        both, either, sizes = totals[k]
        assert table[mask, "iou_pooled"].value == pytest.approx(both / either, abs=1e-9)
        assert table[mask, "dice_pooled"].value == pytest.approx(2 * both / sizes, abs=1e-9)
        assert table[mask, "iou"].value == pytest.approx(np.nanmean(counts.iou()[:, k]), abs=1e-9)
    assert table["heart", "both_empty_fraction"].value == pytest.approx(2 / 6)
    assert (table["heart", "iou"].n, table["lung", "iou"].n) == (6, 7)


PACX_DICE = ("pacx", "heart", "dice_pooled")


@pytest.fixture(scope="module")
def parts(pack, encoders):
    return {
        split: MaskedTokens(
            tokens=embed_patches(encoders["pacx"], pack, rows=pack.rows(split)),
            masks=pack.masks[pack.rows(split)][:, :1],
            keys=pack.keys[pack.rows(split)],
        )
        for split in ("train", "val", "test")
    }


def test_decoder_training_equals_a_plain_loop_and_keeps_the_best_epoch(parts):
    config = SegmentationConfig(epochs=6, batch_size=8, learning_rate=0.003, warmup_epochs=5, seed=3)
    training = parts["train"]
    # validation wants the opposite of what is trained, so the last epoch is not the best
    validation = replace(parts["val"], masks=1 - parts["val"].masks)
    decoder = SegmentationDecoder(32, 4, 1, seed=3)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=config.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: (s + 1) / 15 if s < 15 else (1 + math.cos(math.pi * (s - 15) / 3)) / 2
    )
    scores = []
    for epoch in range(6):
        rows = order(3, "segmentation-order", epoch, training.keys)
        for begin in range(0, 20, 8):
            chosen = rows[begin : begin + 8]
            tokens = torch.from_numpy(training.tokens[chosen].astype(np.float32))
            loss = dice_bce_loss(decoder(tokens), torch.from_numpy(training.masks[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        scores.append(np.mean(predict_overlap(decoder, validation).dice()))
    assert scores[-1] < max(scores)
    assert len(set(scores)) > 3
    kept = train_decoder(training, validation, patch_size=4, config=config, seed=config.seed)
    assert np.mean(predict_overlap(kept, validation).dice()) == pytest.approx(max(scores), abs=1e-6)


def test_masks_without_a_judged_pixel_count_for_nothing(parts):
    config = SegmentationConfig(epochs=1, batch_size=8)
    decoder = SegmentationDecoder(32, 4, 1, seed=3)
    counts = predict_overlap(decoder, replace(parts["test"], masks=np.full_like(parts["test"].masks, 255)))
    assert counts.judged.sum() == counts.predicted.sum() == counts.union.sum() == 0
    with pytest.raises(DataError, match="no pixel of the validation masks is judged"):
        train_decoder(
            parts["train"],
            replace(parts["val"], masks=np.full_like(parts["val"].masks, 255)),
            patch_size=4,
            config=config,
            seed=0,
        )


def test_whole_protocol(pack, encoders):
    config = SegmentationConfig(epochs=12, batch_size=8, learning_rate=3e-3, warmup_epochs=2)
    rows = segmentation(
        pack, encoders, Comparison(dataset="discs", baseline="mae", provenance="here", num_draws=100), config=config
    )
    table = {(row.name, row.label, row.metric): row for row in rows}
    dice = table["pacx", "heart", "dice_pooled"]
    assert 0.7 < dice.ci_low < dice.value < dice.ci_high <= 1
    assert dice.n == len(pack.rows("test"))
    assert "mean of 3 decoders" in dice.provenance
    alone = [
        segmentation(
            pack,
            encoders,
            Comparison(dataset="discs", provenance="here", num_draws=2),
            config=replace(config, seed=seed, num_seeds=1),
        )
        for seed in range(3)
    ]
    one_by_one = [row.value for rows in alone for row in rows if (row.name, row.label, row.metric) == PACX_DICE]
    assert dice.value == pytest.approx(np.mean(one_by_one))
    assert len(set(one_by_one)) == 3
    with pytest.raises(UsageError, match="at least one decoder"):
        replace(config, num_seeds=0)
    assert table["pacx", "nodule", "dice"].n < dice.n
    difference = table["pacx - mae", "heart", "dice_pooled_difference"].value
    assert difference == pytest.approx(dice.value - table["mae", "heart", "dice_pooled"].value)
