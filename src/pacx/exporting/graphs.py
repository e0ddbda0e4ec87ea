"""An encoder as ONNX graphs: torch in, single files out, which ONNX Runtime opens without us.

`LoadedEncoder -> onnx/fp32.onnx, rollout.onnx, segmenter.onnx`. With the preprocessing folded in, a graph takes grey
uint8 pixels: the patch embedding is restated for one channel of raw grey values, so that neither the division, nor the
normalisation, nor two equal channels more are ever computed. It refuses a graph too large for one file.
"""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import cast

import onnx
import torch
from torch import Tensor, nn

from pacx.core.errors import ModelError
from pacx.inference.export_folder import GraphInput, GraphOutput
from pacx.models.encoders.directions_encoder import BOTH, DirectionsEncoder
from pacx.models.encoders.folder import LoadedEncoder
from pacx.models.grey import restate
from pacx.models.rollout import rollout_grid
from pacx.models.segmenter import Segmenter
from pacx.models.vit import patch_tokens, pooled, pooled_each

_LARGEST_BYTES = 2_000_000_000
"""A protobuf message ends at 2 GiB, and with it a graph in one file."""
_BATCH = 2
"""Of the example; torch.export takes 0 and 1 for special."""


class _Graph(nn.Module):
    """What a graph computes, as torch says it."""

    def __init__(
        self,
        encoder: LoadedEncoder | DirectionsEncoder,
        takes: GraphInput,
        gives: GraphOutput,
        segmenter: Segmenter | None,
    ) -> None:
        super().__init__()
        self.directions: nn.Linear | None = None
        if isinstance(encoder, DirectionsEncoder):
            self.directions, encoder = encoder.head, encoder.network
        if takes is GraphInput.PIXELS:
            raw = replace(encoder.preprocessing, num_channels=1, mean=(0.0,), std=(1 / 255,))
            encoder = restate(encoder, raw)
        self.vit, self._pooling, self._takes, self._gives = encoder.vit, encoder.pooling, takes, gives
        self.decoder = None if segmenter is None else segmenter.decoder

    def forward(self, films: Tensor) -> Tensor:
        images = films.float()[:, None] if self._takes is GraphInput.PIXELS else films  # (N, C, S, S)
        if self._gives is GraphOutput.ROLLOUT:
            return rollout_grid(self.vit, images)
        if self.decoder is not None:
            return self.decoder(patch_tokens(self.vit, images)).sigmoid()
        if self.directions is not None:
            directions: Tensor = self.directions(torch.cat(pooled_each(self.vit, images, BOTH), dim=1))
            return directions
        return pooled(self.vit, images, self._pooling)


def write_graph(
    encoder: LoadedEncoder | DirectionsEncoder,
    path: Path,
    *,
    takes: GraphInput,
    gives: GraphOutput,
    segmenter: Segmenter | None = None,
) -> None:
    """Write one graph in single precision; N is dynamic.

    Args:
        encoder: a plain encoder on the CPU; what stands for a film are its directions, where it has them.
        path: the .onnx file; its folder exists.
        takes: pixels, or images prepared by whoever runs it.
        gives: embeddings, rollout grids, or masks.
        segmenter: what makes the masks of the encoder's patch tokens.

    Raises:
        ModelError: the weights do not fit into one file.
    """
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in encoder.vit.state_dict().values())
    if num_bytes > _LARGEST_BYTES:
        raise ModelError(
            f"the encoder's weights take {num_bytes / 1e9:.1f} GB and an ONNX file holds 2; "
            "serve it with torch, or export a smaller encoder"
        )
    contract = encoder.preprocessing
    side = contract.image_size_px
    if takes is GraphInput.PIXELS:
        example = torch.zeros(_BATCH, side, side, dtype=torch.uint8)
    else:
        example = torch.zeros(_BATCH, contract.num_channels, side, side)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own deprecated calls, which its users cannot mend
        program = torch.onnx.export(
            _Graph(encoder, takes, gives, segmenter).eval(),
            (example,),
            dynamo=True,
            input_names=[takes.value],
            output_names=[gives.value],
            dynamic_shapes={"films": {0: torch.export.Dim("N")}},
            external_data=False,
            verbose=False,
        )
    model = cast("torch.onnx.ONNXProgram", program).model_proto
    forget_where_it_was_made(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def forget_where_it_was_made(model: onnx.ModelProto) -> None:
    """Take out of a graph what the exporter notes of the machine: paths of code, lines of it, names of modules.

    The same encoder exported anywhere is then the same file, and a released one tells nobody's name.
    """
    graphs = [model.graph]
    for graph in graphs:
        for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
        graphs += [
            inner for node in graph.node for each in node.attribute for inner in (each.g, *each.graphs) if inner.node
        ]
    for function in model.functions:
        for made in (function, *function.node, *function.value_info):
            made.ClearField("metadata_props")
            made.ClearField("doc_string")
    model.ClearField("metadata_props")
    model.ClearField("doc_string")
