"""From encoders and a pack to pictures of what the answers rest on: rescue cases, deletion curves, embedding views."""

from pathlib import Path

import numpy as np

from pacx.data.packs.pack import Pack
from pacx.evaluation.embeddings import embed_pack
from pacx.evaluation.evidence.attention import rescue_cases, rescued
from pacx.evaluation.evidence.deletion import DeletionCurves
from pacx.evaluation.evidence.embedding_view import EmbeddingViews
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.evaluation.probes.linear_probe import train_probes
from pacx.models.encoders.by_name import NamedEncoder
from pacx.reporting.figures import FigureEntry, draw_rollouts, save_figure
from pacx.reporting.looks import draw_deletion, draw_views

_SECTION = "attention"
_NUM_RESCUES = 7


def draw(folder: Path, drawing: DeletionCurves | EmbeddingViews) -> None:
    """What a protocol can be drawn as, into a folder of figures."""
    if isinstance(drawing, DeletionCurves):
        picture_deletion(folder, drawing)
    else:
        picture_views(folder, drawing)


def picture_deletion(folder: Path, drawing: DeletionCurves) -> None:
    """The deletion curves of all encoders as ``deletion.png``."""
    label = drawing.label.replace("_", " ")
    fill = "the film blurred" if drawing.config.fill_blur else "the film's mean grey"
    entry = FigureEntry(
        file="deletion.png",
        section=_SECTION,
        title="Removing patches in the order of attention",
        caption=f"{drawing.num_films} test films; removed patches show {fill}. Where attention matters the solid curve "
        "falls below the dotted one and the dashed one lies above it; bands are 95 % intervals.",
    )
    answer = f"probability of {label}" if label else "cosine to the whole film"
    save_figure(folder, entry, draw_deletion(drawing.curves, answer))


def picture_views(folder: Path, drawing: EmbeddingViews) -> None:
    """Embeddings of the test films as ``view.png``."""
    label = drawing.label.replace("_", " ")
    entry = FigureEntry(
        file="view.png",
        section=_SECTION,
        title=f"Embeddings of the test films, {label}",
        caption="First two principal components of the training films' embeddings; a picture, not a measurement.",
    )
    save_figure(folder, entry, draw_views(drawing.views, drawing.truth, label))


def picture_rescues(
    folder: Path,
    pack: Pack,
    data: ClassificationData,
    *,
    encoder: NamedEncoder,
    baseline: NamedEncoder,
    names: tuple[str, str],
    config: ProbeConfig,
    device: str,
) -> int:
    """Figure 4: test films whose label the probe on an encoder finds and the one on the baseline misses.

    The label with most rescues is shown, the clearest first, as ``rollout.png``; without a rescue nothing is drawn.

    Args:
        folder: of the figures.
        pack: the films.
        data: its labels.
        encoder: that finds them.
        baseline: that misses them.
        names: of baseline and encoder, for people.
        config: the probes' hyper-parameters.
        device: where encoders and probes run.

    Returns:
        How many films of that label were rescued.
    """
    chances = []
    for each in (encoder, baseline):
        features = embed_pack(each.encoder, pack, device=device)
        heads = train_probes(data, features, config=config, device=device)
        chances.append(heads.probabilities(features[data.test]).mean(axis=0))  # (N, L)
    found = [
        rescued(data.labels[data.test, k], chances[0][:, k], chances[1][:, k]) for k in range(len(data.label_names))
    ]
    label = int(np.argmax([len(positions) for positions in found]))
    positions = found[label][:_NUM_RESCUES]
    if len(positions) == 0:
        return 0
    cases = rescue_cases(
        pack,
        data.test[positions],
        np.stack([chance[positions, label] for chance in chances], axis=1),
        encoder=encoder.encoder,
        baseline=baseline.encoder,
        device=device,
    )
    before, after = names
    captions = [f"{after} {high:.2f}, {before} {low:.2f}" for high, low in cases.probabilities]
    entry = FigureEntry(
        file="rollout.png",
        section=_SECTION,
        title=f"Rescue cases: {data.label_names[label].replace('_', ' ')}",
        caption=f"{len(found[label])} of {int(np.nansum(data.labels[data.test, label]))} positive test films are found "
        f"with {after} and missed with the {before} (probability 0.5); the clearest are shown. Red in the last row: "
        f"more attention with {after}.",
    )
    save_figure(folder, entry, draw_rollouts(cases.images, cases.baseline_maps, cases.encoder_maps, captions, names))
    return len(found[label])
