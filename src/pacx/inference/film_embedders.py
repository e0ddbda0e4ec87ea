"""A folder to whatever embeds films with it: an export runs in ONNX Runtime and without torch, any other in torch."""

from pathlib import Path

from pacx.core.errors import PacxError, UsageError
from pacx.inference.export_folder import Precision, is_export_folder, load_export, preprocessing_of
from pacx.inference.film_files import FilmEmbedder, OpenEmbedder
from pacx.models.device import AUTOMATIC, chosen_device


def open_film_embedder(
    folder: Path, *, precision: Precision = Precision.FP32, device: str = AUTOMATIC, num_threads: int = 0
) -> FilmEmbedder:
    """An export or an encoder folder, to be opened.

    Args:
        folder: what ``pacx export`` or ``pacx train`` wrote.
        precision: which graph of an export; an encoder folder has none but its own, fp32.
        device: of torch, by default a GPU if there is one; an export runs on the processor.
        num_threads: of the processor's; 0 = as many as there are cores, or as a quota of processor time allows.

    Raises:
        ModelError: the folder is not whole; some of it shows when it is opened.
        UsageError: it has no such graph, or a device is asked for where an export runs; when it is opened, torch has no
            such device here.
    """
    if is_export_folder(folder):
        if device not in (AUTOMATIC, "cpu"):
            raise UsageError(
                f"{folder} is an export, which runs on the processor, not on device {device}; leave it out"
            )
        export = load_export(folder)
        export.embedding_graph(precision)

        def open_export() -> OpenEmbedder:
            from pacx.inference.onnx_encoder import open_embedder  # torch's users may lack ONNX Runtime

            opened = open_embedder(folder, precision, num_threads=num_threads)
            return OpenEmbedder(opened, identity=f"onnxruntime {opened.graph.sha256}")

        return FilmEmbedder(open=open_export, preprocessing=export.preprocessing, precision=precision)
    if precision is not Precision.FP32:
        raise UsageError(
            f"{folder} is an encoder folder and has no {precision.value} graph for --precision; make one with pacx "
            "export"
        )

    def open_folder() -> OpenEmbedder:
        from pacx.inference.encoder import load_encoder  # servers lack torch

        if num_threads:
            import torch

            torch.set_num_threads(num_threads)
        where = chosen_device(device)
        encoder = load_encoder(folder, device=where)
        return OpenEmbedder(encoder.embed_squares, identity=f"torch {where} {encoder.weights_sha256}")

    try:
        preprocessing = preprocessing_of(folder)
    except PacxError:  # which opening the encoder says better
        from pacx.inference.encoder import load_encoder

        preprocessing = load_encoder(folder).preprocessing
    return FilmEmbedder(open=open_folder, preprocessing=preprocessing, precision=precision)
