"""A folder to whatever embeds films with it: an export runs in ONNX Runtime and without torch, any other in torch."""

from pathlib import Path

from pacx.core.errors import UsageError
from pacx.inference.export_folder import Precision, is_export_folder
from pacx.inference.film_files import FilmEmbedder
from pacx.models.device import AUTOMATIC, chosen_device


def open_film_embedder(
    folder: Path, *, precision: Precision = Precision.FP32, device: str = AUTOMATIC, num_threads: int = 0
) -> FilmEmbedder:
    """Open an export or an encoder folder.

    Args:
        folder: what ``pacx export`` or ``pacx train`` wrote.
        precision: which graph of an export; an encoder folder has none but its own, fp32.
        device: of torch, by default a GPU if there is one; an export runs on the processor.
        num_threads: of the processor's; 0 = as many as there are cores, or as a quota of processor time allows.

    Raises:
        ModelError: the folder is not whole.
        UsageError: it has no such graph, torch no such device here, or a device is asked for where an export runs.
    """
    if is_export_folder(folder):
        if device not in (AUTOMATIC, "cpu"):
            raise UsageError(
                f"{folder} is an export, which runs on the processor, not on device {device}; leave it out"
            )
        from pacx.inference.onnx_encoder import open_embedder  # torch's users may lack ONNX Runtime, and servers torch

        opened = open_embedder(folder, precision, num_threads=num_threads)
        return FilmEmbedder(
            run=opened,
            preprocessing=opened.export.preprocessing,
            precision=precision,
            identity=f"onnxruntime {opened.graph.sha256}",
        )
    if precision is not Precision.FP32:
        raise UsageError(
            f"{folder} is an encoder folder and has no {precision.value} graph for --precision; make one with pacx "
            "export"
        )
    from pacx.inference.encoder import load_encoder

    if num_threads:
        import torch

        torch.set_num_threads(num_threads)
    device = chosen_device(device)
    encoder = load_encoder(folder, device=device)
    return FilmEmbedder(
        run=encoder.embed_squares,
        preprocessing=encoder.preprocessing,
        precision=precision,
        identity=f"torch {device} {encoder.weights_sha256}",
    )
