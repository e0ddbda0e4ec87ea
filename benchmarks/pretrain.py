"""Time a pretraining step against transformers' ViTMAE and lightly's MAE: same batch, weights and masks, interleaved.

    python benchmarks/pretrain.py [--size base tiny] [--batch-size 16] [--rounds 6] [--threads 2] [--device cpu]
                                  [--precision 32-true] [--compile] [--no-memory] [--cpu-time]

A step is forward, backward and fused AdamW. In each round every contender takes one step, in turn, so that whatever
else the machine does meets all of them alike. Prints images/s (median over rounds), the ratio to transformers (median
and range of the rounds' ratios), arithmetic achieved by the formula in ``pacx.models.mae_flops``, and each contender's
peak memory, measured in a process of its own. Before it starts, all with the full decoder must agree on the loss.

lightly takes part where it can be imported; it is no dependency of ours. To have it without touching an environment:
``pip install --no-deps --target DIR lightly pytorch-lightning torchmetrics`` and ``PYTHONPATH=DIR``.
"""

import argparse
import contextlib
import importlib.util
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from pacx.models.mae import MAEConfig, MaskedAutoencoder, is_decoder_key
from pacx.models.mae_decoders import CrossDecoder, FullDecoder, SampledDecoder
from pacx.models.mae_flops import training_flops

PEER = "transformers ViTMAE"
LIGHTLY = "lightly MAE"
GREY = "pacx full, one channel"
BASE = MAEConfig()
TINY = replace(BASE, embed_dim=192, num_heads=3, decoder_embed_dim=128, decoder_num_heads=4, decoder_depth=4)
SIZES = {"base": BASE, "tiny": TINY}
DECODERS = {"full": FullDecoder(), "sampled": SampledDecoder(), "cross": CrossDecoder()}
NUM_WARMUP = 2


@dataclass(frozen=True)
class Contender:
    """A model and the loss of one batch."""

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]


def ours(config: MAEConfig, is_compiled: bool) -> Contender:
    """This project's, with one of its decoders."""
    model = MaskedAutoencoder(config)
    return Contender(model, torch.compile(model.loss) if is_compiled else model.loss)


def theirs(config: MAEConfig, weights: dict[str, Tensor], is_compiled: bool) -> Contender:
    """Transformers' with the same sizes and weights; every decoder of ours is held against its full one."""
    model = ViTMAEForPreTraining(
        ViTMAEConfig(
            hidden_size=config.embed_dim, num_hidden_layers=config.depth, num_attention_heads=config.num_heads,
            intermediate_size=int(config.embed_dim * config.mlp_ratio), image_size=config.img_size,
            patch_size=config.patch_size, mask_ratio=config.mask_ratio, layer_norm_eps=1e-6,
            decoder_hidden_size=config.decoder_embed_dim, decoder_num_hidden_layers=config.decoder_depth,
            decoder_num_attention_heads=config.decoder_num_heads,
            decoder_intermediate_size=int(config.decoder_embed_dim * config.mlp_ratio),
        )
    )  # fmt: skip
    model.load_state_dict(in_their_names(weights))

    def loss(images: Tensor, noise: Tensor) -> Tensor:
        return model(images, noise=noise).loss

    return Contender(model, torch.compile(loss) if is_compiled else loss)


def lightlys(config: MAEConfig, weights: dict[str, Tensor]) -> Contender:
    """The parts of lightly put together as its documentation does, with our weights, which bear the same names."""
    from lightly.models import utils
    from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM

    vit = MaskedAutoencoder(config).encoder()
    decoder = MAEDecoderTIMM(
        num_patches=config.num_patches, patch_size=config.patch_size, embed_dim=config.embed_dim,
        decoder_embed_dim=config.decoder_embed_dim, decoder_depth=config.decoder_depth,
        decoder_num_heads=config.decoder_num_heads,
    )  # fmt: skip
    model = nn.ModuleDict({"encoder": MaskedVisionTransformerTIMM(vit=vit), "decoder": decoder})
    vit.load_state_dict({key: tensor for key, tensor in weights.items() if not is_decoder_key(key)})
    decoder.load_state_dict({key: tensor for key, tensor in weights.items() if is_decoder_key(key)})

    def loss(images: Tensor, noise: Tensor) -> Tensor:
        places = noise.argsort(dim=1) + 1  # the class token is at 0
        kept = torch.cat([torch.zeros_like(places[:, :1]), places[:, : config.num_visible]], dim=1)
        hidden = places[:, config.num_visible :]
        encoded = decoder.embed(model["encoder"].encode(images=images, idx_keep=kept))
        tokens = utils.repeat_token(decoder.mask_token, (len(images), 1 + config.num_patches))
        tokens = utils.set_at_index(tokens, kept, encoded.type_as(tokens))
        painted = decoder.predict(utils.get_at_index(decoder.decode(tokens), hidden))
        target = utils.get_at_index(utils.patchify(images, config.patch_size), hidden - 1)
        return nn.functional.mse_loss(painted, target)

    return Contender(model, loss)


def on_one_channel(config: MAEConfig, is_compiled: bool) -> Contender:
    """Ours, which looks at a film once instead of at three equal channels."""
    made = ours(replace(config, in_chans=1), is_compiled)
    return Contender(made.model, lambda images, noise: made.loss(images[:, :1], noise))


def in_their_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of facebookresearch/mae with the names of transformers 5."""
    places = (
        ("decoder_blocks.", "decoder.decoder_layers."),
        ("blocks.", "vit.layers."),
        ("decoder_", "decoder.decoder_"),
        ("mask_token", "decoder.mask_token"),
        ("patch_embed.proj", "vit.embeddings.patch_embeddings.projection"),
        ("norm.", "vit.layernorm."),
        ("cls_token", "vit.embeddings.cls_token"),
        ("pos_embed", "vit.embeddings.position_embeddings"),
    )
    layers = (
        (".norm1.", ".layernorm_before."),
        (".norm2.", ".layernorm_after."),
        (".attn.proj.", ".attention.o_proj."),
    )
    named = {}
    for key, tensor in weights.items():
        ours, their = next(place for place in places if key.startswith(place[0]))
        name = their + key.removeprefix(ours)
        for layer in layers:
            name = name.replace(*layer)
        if ".attn.qkv." not in name:
            named[name] = tensor
            continue
        for part, rows in zip("qkv", tensor.chunk(3), strict=True):
            named[name.replace(".attn.qkv.", f".attention.{part}_proj.")] = rows
    return named


def contenders(arguments: argparse.Namespace, config: MAEConfig, only: str | None = None) -> dict[str, Contender]:
    """All of them by name, or one."""
    made = {}
    if only in (None, PEER):
        made[PEER] = theirs(config, MaskedAutoencoder(config).state_dict(), arguments.compile)
    if only in (None, LIGHTLY) and importlib.util.find_spec("lightly") is not None and not arguments.compile:
        made[LIGHTLY] = lightlys(config, MaskedAutoencoder(config).state_dict())
    if only in (None, GREY):
        made[GREY] = on_one_channel(config, arguments.compile)
    for name, decoder in DECODERS.items():
        if only in (None, f"pacx {name}"):
            made[f"pacx {name}"] = ours(replace(config, decoder=decoder), arguments.compile)
    for each in made.values():
        each.model.to(arguments.device).train()
    return made


class Stepper:
    """Takes training steps with one contender."""

    def __init__(self, contender: Contender, arguments: argparse.Namespace) -> None:
        self._contender = contender
        self._device = torch.device(arguments.device)
        self._clock = time.process_time if arguments.cpu_time else time.perf_counter
        self._is_mixed = arguments.precision == "bf16-mixed"
        self._optimizer = torch.optim.AdamW(contender.model.parameters(), lr=1e-5, fused=True)

    def step(self, images: Tensor, noise: Tensor) -> float:
        """Seconds of one step."""
        began = self._clock()
        mixed = torch.autocast(self._device.type, torch.bfloat16) if self._is_mixed else contextlib.nullcontext()
        with mixed:
            loss = self._contender.loss(images, noise)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return self._clock() - began


def a_batch(arguments: argparse.Namespace, config: MAEConfig) -> tuple[Tensor, Tensor]:
    """Images and mask noise, the same for everybody."""
    generator = torch.Generator().manual_seed(0)
    shape = (arguments.batch_size, config.in_chans, config.img_size, config.img_size)
    images = torch.randn(shape, generator=generator)
    noise = torch.rand(arguments.batch_size, config.num_patches, generator=generator)
    return images.to(arguments.device), noise.to(arguments.device)


def peak_memory_gib(arguments: argparse.Namespace, size: str, name: str) -> float:
    """Of a fresh process that takes three steps with this contender alone: resident on a CPU, allocated on a GPU."""
    words = [sys.executable, __file__, "--only", name, "--size", size, "--batch-size", str(arguments.batch_size)]
    words += ["--threads", str(arguments.threads), "--device", arguments.device, "--precision", arguments.precision]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def measure_memory(arguments: argparse.Namespace) -> None:
    """The other side of ``peak_memory_gib``."""
    config = SIZES[arguments.size[0]]
    stepper = Stepper(contenders(arguments, config, arguments.only)[arguments.only], arguments)
    batch = a_batch(arguments, config)
    for _ in range(3):
        stepper.step(*batch)
    if torch.device(arguments.device).type == "cuda":
        print(torch.cuda.max_memory_allocated() / 2**30)
    else:
        status = Path("/proc/self/status").read_text()  # getrusage would count the parent's memory as well
        print(int(status.split("VmHWM:")[1].split()[0]) / 2**20)


def compare(arguments: argparse.Namespace, size: str) -> None:
    """One table."""
    config = SIZES[size]
    made = contenders(arguments, config)
    batch = a_batch(arguments, config)
    with torch.no_grad():
        losses = {name: made[name].loss(*batch).item() for name in (PEER, LIGHTLY, "pacx full") if name in made}
    reference, own = losses[PEER], losses["pacx full"]
    if max(abs(each - reference) for each in losses.values()) > 1e-5 * reference:
        raise SystemExit(f"not the same objective: {losses}")
    steppers = {name: Stepper(each, arguments) for name, each in made.items()}
    for _ in range(NUM_WARMUP):
        for stepper in steppers.values():
            stepper.step(*batch)
    rounds = [{name: each.step(*batch) for name, each in steppers.items()} for _ in range(arguments.rounds)]
    del steppers
    print(
        f"\n{size}, batch {arguments.batch_size}, loss at the same weights {own:.6f} (transformers {reference:.6f})\n"
    )
    print("| | images/s | ratio (range over rounds) | GFLOP per image | GFLOP/s | peak memory, GiB |")
    print("|---|---|---|---|---|---|")
    for name in made:
        decoder = DECODERS.get(name.removeprefix("pacx "), FullDecoder())
        sizes = replace(config, decoder=decoder, in_chans=1 if name == GREY else config.in_chans)
        gflop = training_flops(sizes) / 1e9
        rate = arguments.batch_size / float(np.median([each[name] for each in rounds]))
        ratios = [each[PEER] / each[name] for each in rounds]
        spread = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        memory = "" if arguments.no_memory else f"{peak_memory_gib(arguments, size, name):.2f}"
        print(f"| {name} | {rate:.2f} | {spread} | {gflop:.1f} | {rate * gflop:.0f} | {memory} |", flush=True)


def chip(device: str) -> str:
    """What it ran on."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    fields = dict(line.replace("\t", "").split(": ", 1) for line in lines if ": " in line)
    named = fields.get("model name", platform.processor())
    return f"{named} (family {fields.get('cpu family', '?')}, model {fields.get('model', '?')})"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=list(SIZES), default=["tiny", "base"])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--compile", action="store_true", help="torch.compile everybody's loss")
    parser.add_argument(
        "--cpu-time", action="store_true", help="count processor seconds, for one thread on a CPU that others use too"
    )
    parser.add_argument("--no-memory", action="store_true", help="leave out peak memory, which takes a process each")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.only:
        measure_memory(arguments)
        return
    about = f"{datetime.now(UTC):%Y-%m-%d}, {chip(arguments.device)}, {arguments.threads} threads"
    print(f"{about}, torch {torch.__version__}")
    print(f"{arguments.precision}{', compiled' if arguments.compile else ''}")
    for size in arguments.size:
        compare(arguments, size)


if __name__ == "__main__":
    main()
