"""Time a pretraining step against transformers' ViTMAE and lightly's MAE: same batch, weights and masks, interleaved.

    python benchmarks/pretrain.py [--size base tiny] [--batch-size 16] [--rounds 6] [--threads 2] [--device cpu]
                                  [--precision 32-true] [--compile] [--no-memory] [--cpu-time] [--fed-steps 100]

A step is forward, backward and fused AdamW. In each round every contender takes one step, in turn, so that whatever
else the machine does meets all of them alike. Prints images/s (median over rounds), the ratio to transformers (median
and range of the rounds' ratios), arithmetic achieved by the formula in ``pacx.models.mae.flops``, and each contender's
peak memory, measured in a process of its own. Before it starts, all with the full decoder must agree on the loss.

With ``--fed-steps`` (by default on a GPU) it then trains on a pack of made-up films as ``pacx train mae`` does: films
kept on the device, crop, normalisation and masks made for each step, no wait between steps. Beside steps on the same
films again and on ready input, that says how much of a step goes into fetching films and into preparing them.

It needs torch and timm, and for ``--fed-steps`` pandas and pyarrow too. transformers (5) and lightly take part
where they can be imported; without transformers, ratios are to our own full decoder. To have lightly, which is no
dependency of ours, without touching an environment: ``pip install --no-deps --target DIR lightly pytorch-lightning
torchmetrics`` and ``PYTHONPATH=DIR``.
"""

import argparse
import contextlib
import importlib.util
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pacx.core.preprocessing import Preprocessing
from pacx.core.randomness import generator, sample_keys
from pacx.models.mae.config import CrossDecoder, FullDecoder, MAEConfig, SampledDecoder
from pacx.models.mae.flops import training_flops
from pacx.models.mae.model import MaskedAutoencoder, is_decoder_key

PEER = "transformers ViTMAE"
OWN = "pacx full"
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
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

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


def has_transformers() -> bool:
    """Whether the peer can take part: older versions give its weights other names."""
    try:
        import transformers
    except ImportError:
        return False
    return int(transformers.__version__.split(".")[0]) >= 5


def contenders(arguments: argparse.Namespace, config: MAEConfig, only: str | None = None) -> dict[str, Contender]:
    """All of them by name, or one."""
    made = {}
    if only in (None, PEER) and has_transformers():
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
        return self.steps(lambda: self._contender.loss(images, noise), 1)

    def steps(self, losses: Callable[[], Tensor], num_steps: int) -> float:
        """Seconds of some steps, between which nobody waits for the device."""
        began = self._clock()
        for _ in range(num_steps):
            mixed = torch.autocast(self._device.type, torch.bfloat16) if self._is_mixed else contextlib.nullcontext()
            with mixed:
                loss = losses()
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
    words += ["--compile"] if arguments.compile else []
    done = subprocess.run(words, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1]) if done.returncode == 0 else float("nan")


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
        losses = {name: made[name].loss(*batch).item() for name in (PEER, LIGHTLY, OWN) if name in made}
    standard = PEER if PEER in made else OWN
    reference = losses[standard]
    if max(abs(each - reference) for each in losses.values()) > 1e-5 * reference:
        raise SystemExit(f"not the same objective: {losses}")
    steppers = {name: Stepper(each, arguments) for name, each in made.items()}
    for _ in range(NUM_WARMUP):
        for stepper in steppers.values():
            stepper.step(*batch)
    rounds = [{name: each.step(*batch) for name, each in steppers.items()} for _ in range(arguments.rounds)]
    del steppers
    said = ", ".join(f"{name} {loss:.6f}" for name, loss in losses.items())
    print(f"\n{size}, batch {arguments.batch_size}, losses at the same weights: {said}; ratios to {standard}\n")
    print("| | images/s | ratio (range over rounds) | GFLOP per image | GFLOP/s | peak memory, GiB |")
    print("|---|---|---|---|---|---|")
    for name in made:
        decoder = DECODERS.get(name.removeprefix("pacx "), FullDecoder())
        sizes = replace(config, decoder=decoder, in_chans=1 if name == GREY else config.in_chans)
        gflop = training_flops(sizes) / 1e9
        rate = arguments.batch_size / float(np.median([each[name] for each in rounds]))
        ratios = [each[standard] / each[name] for each in rounds]
        spread = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        memory = "" if arguments.no_memory else f"{peak_memory_gib(arguments, size, name):.2f}"
        print(f"| {name} | {rate:.2f} | {spread} | {gflop:.1f} | {rate * gflop:.0f} | {memory} |", flush=True)


class Films(NamedTuple):
    """Made-up films, and what else of a pack the training stage asks for."""

    images: NDArray[np.uint8]
    keys: NDArray[np.uint64]
    preprocessing: Preprocessing
    path: str = "made-up films"


def fed(arguments: argparse.Namespace, size: str, decoder: str) -> None:
    """One line: a training step fed from a pack, beside one on the same films again and one on ready input."""
    from pacx.training.config import TrainingConfig
    from pacx.training.task_config import MAETaskConfig
    from pacx.training.tasks.mae import MAETask

    config = replace(SIZES[size], decoder=DECODERS[decoder])
    shape = (8 * arguments.batch_size + 1, config.img_size, config.img_size)
    images = generator(0, "films").integers(0, 256, shape, dtype=np.uint8)
    films = Films(images, sample_keys([f"film-{row}" for row in range(len(images))]), Preprocessing())
    rows = np.arange(len(images))
    task = MAETask(films, rows[1:], rows[:1], MAETaskConfig(model=config), seed=0)
    task.module.to(arguments.device).train()
    if arguments.compile:
        task.compile()
    run = TrainingConfig(epochs=1, batch_size=arguments.batch_size, learning_rate=1e-5)

    def stream() -> Iterator[Tensor]:
        for epoch in count():
            for batch in task.batches(epoch, run, 0, 1):
                yield task.loss(batch, epoch).loss

    again, ready = next(task.batches(0, run, 0, 1)), a_batch(arguments, config)
    fresh = stream()
    ways: dict[str, Callable[[], Tensor]] = {
        "fed": lambda: next(fresh),
        "again": lambda: task.loss(again, 0).loss,
        "ready": lambda: task._loss(*ready),
    }
    stepper = Stepper(Contender(task.module, task._loss), arguments)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(4):  # the first one warms up
        for way, losses in ways.items():
            took = stepper.steps(losses, arguments.fed_steps)
            seconds[way] += [took] if turn else []
    took = {way: float(np.median(each)) for way, each in seconds.items()}
    rate = arguments.fed_steps * arguments.batch_size / took["fed"]
    print(
        f"{size}, pacx {decoder}, fed from a pack of {len(images) - 1} films: {rate:.1f} images/s; of a step "
        f"{1 - took['again'] / took['fed']:+.1%} is fetching, {(took['again'] - took['ready']) / took['fed']:+.1%} "
        f"crop, normalisation and masks (median of three times {arguments.fed_steps} steps)",
        flush=True,
    )


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
    parser.add_argument("--fed-steps", type=int, default=100 if torch.cuda.is_available() else 0)
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
    for size in arguments.size if arguments.fed_steps else ():
        for decoder in ("full", "sampled"):
            fed(arguments, size, decoder)


if __name__ == "__main__":
    main()
