"""The demo's pictures: inputs, reconstructions, segmentations, attention. Arrays in, PNG files of a run folder out."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pacx.core.randomness import uniform
from pacx.data.augment import to_input
from pacx.data.packs.pack import Pack
from pacx.demo.evaluation import DemoEncoders
from pacx.demo.folders import DemoFolders
from pacx.evaluation.probes.classification import ClassificationData
from pacx.evaluation.probes.linear_heads import ProbeConfig
from pacx.modalities.ecg_signal.arrays import read_array
from pacx.models.encoders.names import MAE
from pacx.models.mae.model import MaskedAutoencoder
from pacx.models.strict_loading import load_strictly, read_state_dict
from pacx.recipes.mae import mae_tiny_muon
from pacx.reporting.figures import (
    FigureEntry,
    draw_ecg,
    draw_films,
    draw_reconstructions,
    save_figure,
)
from pacx.reporting.pictures import picture_rescues
from pacx.simulation.patients.labels import DENSE_GROUP, LABEL_GROUPS
from pacx.training.monitoring.reconstructions import reconstruct

_NUM_FILMS = 16
_NUM_RECONSTRUCTIONS = 7


def _caption(labelled: Pack, sample_id: str) -> str:
    row = int(np.flatnonzero(labelled.sample_ids == sample_id)[0])
    names = [name for name, value in zip(labelled.label_names, labelled.labels[row], strict=True) if value == 1]
    shortest = min(names, key=len, default="no finding").replace("_", " ")
    others = f" +{len(names) - 1}" if len(names) > 1 else ""
    return f"{labelled.table['view'].iloc[row]}: {shortest}{others}"


def picture_films(folder: Path, pack: Pack, labelled: Pack) -> None:
    """A gallery of films with the outlines of their exact masks; ``labelled`` holds the same films with labels."""
    rows = list(range(min(_NUM_FILMS, len(pack))))
    outlines = [] if pack.masks is None else [np.asarray(pack.masks[rows, k]) for k in range(len(pack.mask_names))]
    names = ", ".join(pack.mask_names)
    png = draw_films(
        np.asarray(pack.images[rows]), [_caption(labelled, pack.sample_ids[row]) for row in rows], outlines
    )
    entry = FigureEntry(
        file="films.png",
        section="inputs",
        title="Simulated films as the encoders see them",
        caption=f"Outlines: {names}, exact because the projection knows them." if names else "",
    )
    save_figure(folder, entry, png)


def picture_ecg(folder: Path, signal_mv: NDArray[np.floating], sample_rate_hz: float, patient: str) -> None:
    """One patient's twelve leads."""
    entry = FigureEntry(
        file="ecg.png", section="inputs", title="One simulated ECG", caption="Twelve leads, 10 s, noise included."
    )
    save_figure(folder, entry, draw_ecg(signal_mv, sample_rate_hz, patient))


def picture_reconstructions(
    folder: Path, pack: Pack, rows: NDArray[np.int64], model: MaskedAutoencoder, seed: int
) -> None:
    """Figure 2: held-out films, what the encoder saw of them, and the decoder's drawing with visible patches kept."""
    rows = rows[:_NUM_RECONSTRUCTIONS]
    images = to_input(torch.from_numpy(np.asarray(pack.images[rows])), pack.preprocessing)
    noise = torch.from_numpy(uniform(seed, "picture", 0, pack.keys[rows], model.config.num_patches)).float()
    png = draw_reconstructions(*reconstruct(model, images, noise, pack.preprocessing))
    entry = FigureEntry(
        file="reconstructions.png",
        section="reconstruction",
        title="Held-out films with 90 % of their patches hidden",
        caption=f"{model.num_visible} of {model.config.num_patches} patches go through the encoder; these stay as they "
        "are in the bottom row, everything else is drawn by the decoder.",
    )
    save_figure(folder, entry, png)


def draw_demo(folders: DemoFolders, encoders: DemoEncoders, seed: int, device: str) -> None:
    """All pictures of the demo."""
    size = encoders.mae.preprocessing.image_size_px
    masks = Pack.open(folders.pack("segmentation", size))
    downstream = Pack.open(folders.pack("downstream", size))
    picture_films(folders.figures, masks, downstream)
    recordings = read_array(folders.hospital / "triplets" / "ecg.npy", folders.hospital / "triplets" / "ecg.json")
    picture_ecg(folders.figures, recordings.record(0), recordings.sample_rate_hz, recordings.sample_ids[0])
    films = Pack.open(folders.pack("pretraining", size))
    model = MaskedAutoencoder(mae_tiny_muon().task.model)
    weights = folders.run(MAE) / "mae.safetensors"
    load_strictly(model, read_state_dict(weights), weights)
    picture_reconstructions(folders.figures, films, films.rows("val"), model.eval(), seed)
    dense = ClassificationData.from_pack(downstream, dataset=DENSE_GROUP, label_names=LABEL_GROUPS[DENSE_GROUP])
    picture_rescues(
        folders.figures,
        downstream,
        dense,
        encoder=encoders.pacx,
        baseline=encoders.mae,
        names=("MAE", "PaCX"),
        config=ProbeConfig(),
        device=device,
    )
