"""Time a pretraining step against transformers' ViTMAE and lightly's MAE: same batch, weights and masks, interleaved.

    python benchmarks/pretrain.py [--size base tiny] [--batch-size 16] [--rounds 6] [--threads 2] [--device cpu]
                                  [--precision 32-true] [--compile] [--avx2] [--before CHECKOUT] [--cpu-time]
                                  [--fed-steps 100]

A step is forward, backward and fused AdamW. Every contender lives in a process of its own, as it would at a user's, and
in each round every one takes one step (on a GPU five), in turn, so that whatever else the machine does meets all of
them alike. Prints images/s (median over rounds), the ratio to transformers (median and range of the rounds' ratios),
arithmetic achieved by the formula in ``pacx.models.mae.flops``, and each process's peak memory. Before it starts, all
with the full decoder must agree on the loss.

One more process takes its turn with nothing but the products of the linear layers, on matrices that lie ready, with the
library that ours would take: what they reach is the limit on this machine. Below the table stands a row for
``docs/performance.md``, ready to be added. ``--avx2`` keeps everybody to AVX2, to see what older processors see;
``--before`` lets another checkout's full decoder take part.

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
import os
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
BEFORE = "pacx before, full"
PRODUCTS = "products"
BASE = MAEConfig()
TINY = replace(BASE, embed_dim=192, num_heads=3, decoder_embed_dim=128, decoder_num_heads=4, decoder_depth=4)
SIZES = {"base": BASE, "tiny": TINY}
DECODERS = {"full": FullDecoder(), "sampled": SampledDecoder(), "cross": CrossDecoder()}
NUM_WARMUP = 2
STEPS_ON_GPU = 5
LOSS_TOLERANCE = 1e-6
ONLY_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


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


def names(arguments: argparse.Namespace) -> list[str]:
    """Who takes part."""
    return [
        *([PEER] if has_transformers() else []),
        *([LIGHTLY] if importlib.util.find_spec("lightly") is not None and not arguments.compile else []),
        *([BEFORE] if arguments.before else []),
        GREY,
        *(f"pacx {name}" for name in DECODERS),
    ]


def contender(arguments: argparse.Namespace, config: MAEConfig, name: str) -> Contender:
    """One of them."""
    if name == PEER:
        made = theirs(config, MaskedAutoencoder(config).state_dict(), arguments.compile)
    elif name == LIGHTLY:
        made = lightlys(config, MaskedAutoencoder(config).state_dict())
    elif name == GREY:
        made = on_one_channel(config, arguments.compile)
    else:
        decoder = FullDecoder() if name == BEFORE else DECODERS[name.removeprefix("pacx ")]
        made = ours(replace(config, decoder=decoder), arguments.compile)
    made.model.to(arguments.device).train()
    return made


class Products:
    """The products of the linear layers of a step with the full decoder, and nothing else."""

    def __init__(self, arguments: argparse.Namespace, config: MAEConfig) -> None:
        seen, every = (arguments.batch_size * (1 + count) for count in (config.num_visible, config.num_patches))
        layers = [(config.depth, seen, config.embed_dim), (config.decoder_depth, every, config.decoder_embed_dim)]
        self._shapes = [
            (depth, rows, *widths)
            for depth, rows, width in layers
            for widths in ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width))
        ]
        self.gflop = sum(6 * depth * rows * k * n for depth, rows, k, n in self._shapes) / 1e9
        self._device, is_mixed = torch.device(arguments.device), arguments.precision == "bf16-mixed"
        dtype = torch.bfloat16 if is_mixed else torch.float32
        self._operands = [
            tuple(torch.randn(shape, device=self._device, dtype=dtype) for shape in ((m, k), (n, k), (m, n)))
            for _, m, k, n in self._shapes
        ]
        self._clock = time.process_time if arguments.cpu_time else time.perf_counter

    def step(self) -> float:
        """Seconds."""
        from pacx.models.onednn import is_suitable, product  # here, because a checkout of before may lack it

        began = self._clock()
        for (depth, *_), (rows, weight, above) in zip(self._shapes, self._operands, strict=True):
            multiply = product if is_suitable(rows) else nn.functional.linear
            for _ in range(depth):
                multiply(rows, weight)
                multiply(above, weight.t())
                multiply(above.t(), rows.t())
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return self._clock() - began


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


def peak_memory_gib(device: str) -> float:
    """Of this process so far: resident on a CPU, allocated on a GPU."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's memory as well
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def serve(arguments: argparse.Namespace) -> None:
    """One contender's process: a line in asks, a line out answers."""
    config = SIZES[arguments.size[0]]
    if arguments.only == PRODUCTS:
        products = Products(arguments, config)
        for _ in sys.stdin:
            print(products.step(), flush=True)
        return
    made, batch = contender(arguments, config, arguments.only), a_batch(arguments, config)
    stepper = Stepper(made, arguments)
    with as_in_training(arguments.only):
        answer(arguments, made, batch, stepper)


def as_in_training(name: str) -> contextlib.AbstractContextManager[None]:
    """What ``pacx train`` does around its steps; others, and earlier builds, do not."""
    if name in (PEER, LIGHTLY, BEFORE):
        return contextlib.nullcontext()
    from pacx.training.memory import freed_memory_kept

    return freed_memory_kept()


def answer(arguments: argparse.Namespace, made: Contender, batch: tuple[Tensor, Tensor], stepper: Stepper) -> None:
    """Every line from outside."""
    for line in sys.stdin:
        if line.strip() == "loss":
            with torch.no_grad():
                print(made.loss(*batch).item(), flush=True)
        elif line.strip() == "memory":
            print(peak_memory_gib(arguments.device), flush=True)
        elif torch.device(arguments.device).type == "cuda":
            stepper.step(*batch)  # finds its memory again
            print(stepper.steps(lambda: made.loss(*batch), STEPS_ON_GPU) / STEPS_ON_GPU, flush=True)
            torch.cuda.empty_cache()  # the next in turn needs it
        else:
            print(stepper.step(*batch), flush=True)


class Worker:
    """The other end of ``serve``."""

    def __init__(self, arguments: argparse.Namespace, size: str, name: str) -> None:
        words = [sys.executable, __file__, "--only", name, "--size", size, "--batch-size", str(arguments.batch_size)]
        words += ["--threads", str(arguments.threads), "--device", arguments.device]
        words += ["--precision", arguments.precision]
        words += [f"--{flag.replace('_', '-')}" for flag in ("compile", "cpu_time") if getattr(arguments, flag)]
        environment = {**os.environ, **(ONLY_AVX2 if arguments.avx2 else {})}
        source = Path(arguments.before) if name == BEFORE else Path(__file__).parents[1]
        paths = [str(source / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )

    def ask(self, question: str) -> float:
        """Loss, seconds of a step, or memory in GiB."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"a contender has died; alone it says why: {' '.join(map(repr, self._process.args))}")
        return float(answer)

    def end(self) -> None:
        """Let it go."""
        self._process.communicate()


def spread(ratios: list[float]) -> str:
    """Median and range."""
    return f"**{np.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"


def compare(arguments: argparse.Namespace, size: str) -> None:
    """One table, and a row for the documentation."""
    config = SIZES[size]
    workers = {name: Worker(arguments, size, name) for name in (*names(arguments), PRODUCTS)}
    losses = {name: workers[name].ask("loss") for name in (PEER, LIGHTLY, BEFORE, OWN) if name in workers}
    standard = PEER if PEER in workers else OWN
    if max(abs(each - losses[standard]) for each in losses.values()) > LOSS_TOLERANCE * losses[standard]:
        raise SystemExit(f"not the same objective: {losses}")
    for _ in range(NUM_WARMUP):
        for worker in workers.values():
            worker.ask("step")
    rounds = [{name: each.ask("step") for name, each in workers.items()} for _ in range(arguments.rounds)]
    memory = {name: each.ask("memory") for name, each in workers.items() if name != PRODUCTS}
    for worker in workers.values():
        worker.end()
    seconds = {name: float(np.median([each[name] for each in rounds])) for name in workers}
    ratios = {name: [each[standard] / each[name] for each in rounds] for name in workers}
    limit = Products(arguments, config).gflop / seconds[PRODUCTS]
    said = ", ".join(f"{name} {loss:.7f}" for name, loss in losses.items())
    print(f"\n{size}, batch {arguments.batch_size}, losses at the same weights: {said}; ratios to {standard};")
    print(f"the products of the linear layers alone reach {limit:.0f} GFLOP/s\n")
    print("| | images/s | ratio (range over rounds) | GFLOP per image | GFLOP/s | of the limit | peak memory, GiB |")
    print("|---|---|---|---|---|---|---|")
    for name in memory:
        decoder = DECODERS.get(name.removeprefix("pacx "), FullDecoder())
        sizes = replace(config, decoder=decoder, in_chans=1 if name == GREY else config.in_chans)
        gflop, rate = training_flops(sizes) / 1e9, arguments.batch_size / seconds[name]
        print(
            f"| {name} | {rate:.2f} | {spread(ratios[name])} | {gflop:.1f} | {rate * gflop:.0f} | "
            f"{rate * gflop / limit:.0%} | {memory[name]:.2f} |",
            flush=True,
        )
    where = f"{chip(arguments.device)}, {instruction_set(arguments)}, {arguments.threads} threads, "
    where += f"{datetime.now(UTC):%Y-%m-%d}"
    cells = [spread(ratios[f"pacx {decoder}"]) for decoder in DECODERS]
    print("\n| processor | batch | products, GFLOP/s | transformers, images/s | full | sampled | cross |")
    print("|---|---|---|---|---|---|---|")
    rate = f"{arguments.batch_size / seconds[PEER]:.2f}" if PEER in seconds else "none"
    print(f"| {where} | {arguments.batch_size} | {limit:.0f} | {rate} | {' | '.join(cells)} |")


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


def instruction_set(arguments: argparse.Namespace) -> str:
    """What torch computes with there."""
    if torch.device(arguments.device).type == "cuda":
        return arguments.precision
    return "AVX2 alone" if arguments.avx2 else torch.backends.cpu.get_cpu_capability()


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
    parser.add_argument("--avx2", action="store_true", help="keep everybody to AVX2")
    parser.add_argument("--before", help="another checkout, whose full decoder takes part")
    parser.add_argument("--fed-steps", type=int, default=100 if torch.cuda.is_available() else 0)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.only:
        serve(arguments)
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
