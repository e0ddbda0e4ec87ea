"""Encoders between libraries: ours in others' hands, others' in ours, adapters, and graphs that tell nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from pacx.core.errors import ModelError
from pacx.core.preprocessing import Preprocessing
from pacx.data.augment import to_input
from pacx.exporting.graphs import write_graph
from pacx.inference.export_folder import GraphInput, GraphOutput
from pacx.models.adapters import add_lora, load_lora, save_lora
from pacx.models.adapters_config import LoRAConfig
from pacx.models.encoders import huggingface_encoder
from pacx.models.encoders.by_name import open_encoder
from pacx.models.encoders.folder import is_config_of_ours, load_encoder, save_encoder
from pacx.models.encoders.huggingface_encoder import HuggingFaceEncoder, open_huggingface
from pacx.models.encoders.timm_encoder import TimmEncoder, open_timm_folder
from pacx.models.vit import Pooling, ViTConfig, random_vit

CONFIG = ViTConfig(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)
CONTRACT = Preprocessing(image_size_px=32)
SHAPE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
SIZES = {"image_size": 32, "patch_size": 8}
AGREE = {"rtol": 0, "atol": 1e-4}


def films(count: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def ours(folder: Path, pooling: Pooling = Pooling.CLASS_TOKEN, config: ViTConfig = CONFIG) -> Path:
    save_encoder(random_vit(config, 3), folder, preprocessing=CONTRACT, pooling=pooling, card="", provenance={})
    return folder


def saved(model: torch.nn.Module, folder: Path, **processor: Any) -> Any:
    """A transformers folder whose every weight is random, so that no part stays at zero or one."""
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "position" not in name or parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=draws) * 0.2)
    model.eval().save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.ViTImageProcessor(**{"size": size, **processor}).save_pretrained(folder)
    return model


@pytest.mark.parametrize("pooling", list(Pooling))
@torch.inference_mode()
def test_timm_transformers_and_onnx_runtime_open_our_folder(tmp_path: Path, pooling: Pooling) -> None:
    encoder = load_encoder(ours(tmp_path / "ours", pooling))
    images = to_input(films(), CONTRACT)
    expected = encoder.embed_images(images)
    by_timm = timm.create_model(f"local-dir:{tmp_path / 'ours'}", pretrained=True).eval()
    torch.testing.assert_close(by_timm(images), expected, **AGREE)
    by_transformers = transformers.AutoModel.from_pretrained(tmp_path / "ours").eval()
    found = by_transformers(pixel_values=images)
    torch.testing.assert_close(found.pooler_output, expected, **AGREE)
    torch.testing.assert_close(found.last_hidden_state[:, 1:], encoder.patches(images), **AGREE)
    write_graph(encoder, tmp_path / "fp32.onnx", takes=GraphInput.PIXELS, gives=GraphOutput.EMBEDDING)
    session = onnxruntime.InferenceSession(tmp_path / "fp32.onnx", providers=["CPUExecutionProvider"])
    (by_onnx,) = session.run(None, {session.get_inputs()[0].name: films().numpy()})
    np.testing.assert_allclose(by_onnx, expected, **AGREE)


@torch.inference_mode()
def test_openvino_runs_our_graph(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="pip install openvino; PaCX does not need it")
    encoder = load_encoder(ours(tmp_path / "ours"))
    write_graph(encoder, tmp_path / "fp32.onnx", takes=GraphInput.PIXELS, gives=GraphOutput.EMBEDDING)
    compiled = openvino.Core().compile_model(tmp_path / "fp32.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = encoder.embed_images(to_input(films(), CONTRACT))
    np.testing.assert_allclose(compiled(films().numpy())[0], expected, **AGREE)


@torch.inference_mode()
def test_folders_that_name_the_classes_twice_are_ours_still(tmp_path: Path) -> None:
    """As versions up to 0.2.0 wrote them."""
    config = json.loads((ours(tmp_path) / "config.json").read_text())
    assert "num_classes" not in config["model_args"], "transformers hears it twice"
    assert is_config_of_ours(config)
    config["model_args"]["num_classes"] = 0
    assert is_config_of_ours(config)
    assert not is_config_of_ours({"model_args": {"img_size": 32}})


@torch.inference_mode()
def test_a_masked_autoencoder_sees_the_whole_film_and_keeps_its_patches_in_order(tmp_path: Path) -> None:
    config = transformers.ViTMAEConfig(**SIZES, **SHAPE, decoder_hidden_size=16, decoder_num_hidden_layers=1,
                                       decoder_num_attention_heads=2, decoder_intermediate_size=16)  # fmt: skip
    saved(transformers.ViTMAEForPreTraining(config), tmp_path)
    encoder = open_huggingface(str(tmp_path))
    plain = transformers.ViTModel(transformers.ViTConfig(**SIZES, **SHAPE), add_pooling_layer=False).eval()
    plain.load_state_dict(encoder.module.state_dict())
    images = to_input(films(), encoder.preprocessing)
    expected = plain(pixel_values=images).last_hidden_state
    torch.testing.assert_close(encoder.embed_images(images), expected[:, 0], **AGREE)
    torch.testing.assert_close(encoder.patches(images), expected[:, 1:], **AGREE)
    mean = open_encoder(f"hf:{tmp_path}#mean")
    torch.testing.assert_close(mean.embed_images(images), expected[:, 1:].mean(dim=1), **AGREE)


def test_a_network_that_draws_what_it_shows_is_refused(tmp_path: Path) -> None:
    config = transformers.ViTMAEConfig(**SIZES, **SHAPE, mask_ratio=0.0)
    network = saved(transformers.ViTMAEModel(config), tmp_path)
    encoder = HuggingFaceEncoder(name="it", module=network, preprocessing=CONTRACT, has_pooler=False)
    with pytest.raises(ModelError, match="answers otherwise each time"):
        huggingface_encoder._try(encoder)
    network.config.mask_ratio = 0.75
    with pytest.raises(ModelError, match="nobody here knows which they are"):
        huggingface_encoder._try(encoder)


DINOV3 = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
OF_OTHERS = {
    "ViT": (lambda: transformers.ViTModel(transformers.ViTConfig(**SIZES, **SHAPE)), 1),
    "DeiT": (lambda: transformers.DeiTModel(transformers.DeiTConfig(**SIZES, **SHAPE)), 2),
    "DINOv2 with registers": (
        lambda: transformers.Dinov2WithRegistersModel(
            transformers.Dinov2WithRegistersConfig(
                **SIZES, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, num_register_tokens=3
            )
        ),
        4,
    ),
    "DINOv3": (
        lambda: transformers.DINOv3ViTModel(
            transformers.DINOv3ViTConfig(**SIZES, **DINOV3, num_register_tokens=4)
        ),
        5,
    ),
    "BEiT": (lambda: transformers.BeitModel(transformers.BeitConfig(**SIZES, **SHAPE)), 1),
    "Data2Vec": (lambda: transformers.Data2VecVisionModel(transformers.Data2VecVisionConfig(**SIZES, **SHAPE)), 1),
    "SigLIP": (lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**SIZES, **SHAPE)), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_OTHERS)
@torch.inference_mode()
def test_models_of_transformers_give_their_own_tokens(tmp_path: Path, name: str) -> None:
    make, num_prefix = OF_OTHERS[name]
    model = saved(make(), tmp_path)
    encoder = open_encoder(str(tmp_path))
    images = to_input(films(), encoder.preprocessing)
    hidden = model(pixel_values=images).last_hidden_state
    torch.testing.assert_close(encoder.patches(images), hidden[:, num_prefix:], **AGREE)
    mean = open_encoder(f"{tmp_path}#mean").embed_images(images)
    torch.testing.assert_close(mean, hidden[:, num_prefix:].mean(dim=1), **AGREE)
    token = open_encoder(f"hf:{tmp_path}#token")
    if num_prefix:
        torch.testing.assert_close(token.embed_images(images), hidden[:, 0], **AGREE)
    else:
        with pytest.raises(ModelError, match="has no class token"):
            token.embed_images(images)


def test_tokens_that_stand_for_no_patch_are_not_taken_for_patches(tmp_path: Path) -> None:
    config = transformers.YolosConfig(image_size=[32, 32], patch_size=8, **SHAPE, num_detection_tokens=5)
    saved(transformers.YolosModel(config), tmp_path)
    with pytest.raises(ModelError, match="nobody here knows which they are"):
        open_huggingface(str(tmp_path))


def test_a_config_that_has_fewer_or_other_layers_than_the_weights_is_refused(tmp_path: Path) -> None:
    saved(transformers.ViTForImageClassification(transformers.ViTConfig(**SIZES, **SHAPE)), tmp_path)
    open_huggingface(str(tmp_path))  # its classifier is no layer too many
    whole = json.loads((tmp_path / "config.json").read_text())
    for changed, said in ((1, "weights of layers that its config.json does not have"), (3, "lacks 16 weights")):
        (tmp_path / "config.json").write_text(json.dumps(whole | {"num_hidden_layers": changed}))
        with pytest.raises(ModelError, match=said):
            open_huggingface(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(whole | {"hidden_size": 12}))
    with pytest.raises(ModelError, match="cannot open"):
        open_huggingface(str(tmp_path))


@torch.inference_mode()
def test_a_timm_folder_behind_hf_is_opened_as_timm_does(tmp_path: Path) -> None:
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
    model = timm.create_model("vit_small_patch16_224", num_classes=5, **arguments).eval()
    model.pretrained_cfg |= {"input_size": (3, 32, 32)}
    save_for_hf(model, tmp_path, model_args=arguments, safe_serialization=True)
    encoder = open_huggingface(str(tmp_path))
    assert isinstance(encoder, TimmEncoder)
    images = to_input(films(), encoder.preprocessing)
    torch.testing.assert_close(encoder.embed_images(images), model.forward_features(images)[:, 0], **AGREE)


@torch.inference_mode()
def test_a_processor_may_say_one_number_for_all_channels_and_must_say_a_size(tmp_path: Path) -> None:
    saved(transformers.ViTModel(transformers.ViTConfig(**SIZES, **SHAPE)), tmp_path)
    path = tmp_path / "preprocessor_config.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"image_mean": 0.5, "image_std": 0.25}))
    contract = open_huggingface(str(tmp_path)).preprocessing
    assert (contract.mean, contract.std) == ((0.5,) * 3, (0.25,) * 3)
    path.write_text(json.dumps(said | {"size": {"max_height": 5}}))
    with pytest.raises(ModelError, match="size"):
        open_huggingface(str(tmp_path))


@torch.inference_mode()
def test_the_recipe_for_eva_x_works_and_its_input_has_to_be_said(tmp_path: Path) -> None:
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "ref_feat_shape": [4, 4]}
    model = timm.create_model("eva02_base_patch14_224", num_classes=0, **arguments).eval()
    torch.save({"module": model.state_dict()}, tmp_path / "eva_x.pt")
    config = {"architecture": "eva02_base_patch14_224", "model_args": arguments}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="does not say what the encoder is fed"):
        open_timm_folder(tmp_path)
    fed = {"input_size": [3, 32, 32], "mean": [0.49185243] * 3, "std": [0.28509309] * 3}
    (tmp_path / "config.json").write_text(json.dumps(config | {"pretrained_cfg": fed}))
    encoder = open_timm_folder(tmp_path)
    assert encoder.preprocessing.mean == tuple(fed["mean"])
    images = to_input(films(), encoder.preprocessing)
    torch.testing.assert_close(encoder.embed_images(images), model(images), **AGREE)
    torch.testing.assert_close(encoder.patches(images), model.forward_features(images)[:, 1:], **AGREE)


def adapted(folder: Path, config: ViTConfig = CONFIG) -> torch.Tensor:
    """Adapters with trained norms in a folder, and what the adapted encoder gives."""
    model = add_lora(random_vit(config, 3), LoRAConfig(), seed=0)
    draws = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=draws) * 0.1)
        found = model.eval()(to_input(films(), CONTRACT))
    save_lora(model, folder)
    return found


@torch.inference_mode()
def test_adapters_come_back_whole(tmp_path: Path) -> None:
    expected = adapted(tmp_path / "lora")
    vit = random_vit(CONFIG, 3)
    images = to_input(films(), CONTRACT)
    before = vit(images)
    torch.testing.assert_close(load_lora(vit, tmp_path / "lora")(images), expected, **AGREE)
    torch.testing.assert_close(vit(images), before)
    assert (expected - before).abs().max() > 0.1


@pytest.mark.parametrize(
    "other",
    [{"depth": 1}, {"depth": 3}, {"embed_dim": 32}, {"mlp_ratio": 2.0}],
    ids=lambda change: f"{next(iter(change))}={next(iter(change.values()))}",
)
def test_adapters_of_another_architecture_are_refused_whole(tmp_path: Path, other: dict[str, Any]) -> None:
    adapted(tmp_path / "lora")
    vit = random_vit(ViTConfig(**{**vars(CONFIG), **other}), 3)
    with pytest.raises(ModelError, match="do not fit this encoder in"):
        load_lora(vit, tmp_path / "lora")


def test_adapters_for_other_networks_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    adapted(tmp_path / "lora")
    shape = {"img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2}
    eva = timm.create_model("eva02_tiny_patch14_224", num_classes=0, patch_size=8, ref_feat_shape=(4, 4), **shape)
    for act in (lambda: load_lora(eva, tmp_path / "lora"), lambda: add_lora(eva, LoRAConfig(), seed=0)):
        with pytest.raises(ModelError, match="adapters do nothing in a Eva"):
            act()
    vit = random_vit(CONFIG, 3)
    path = tmp_path / "lora/adapter_model.safetensors"
    weights = load_file(path)
    weights.pop(min(weights))
    save_file(weights, path)
    with pytest.raises(ModelError, match="in 1 weights, first base_model"):
        load_lora(vit, tmp_path / "lora")
    path.write_bytes(b"{}")
    with pytest.raises(ModelError, match="no adapters that peft can read"):
        load_lora(vit, tmp_path / "lora")
    settings = json.loads((tmp_path / "lora/adapter_config.json").read_text())
    (tmp_path / "lora/adapter_config.json").write_text(json.dumps(settings | {"target_modules": ["query"]}))
    with pytest.raises(ModelError, match=r"no adapters that peft can read|are of another architecture"):
        load_lora(vit, tmp_path / "lora")


@pytest.mark.parametrize("gives", [GraphOutput.EMBEDDING, GraphOutput.ROLLOUT], ids=lambda gives: gives.value)
def test_a_graph_tells_neither_path_nor_source_and_is_the_same_wherever_it_is_made(
    tmp_path: Path, gives: GraphOutput
) -> None:
    folder = ours(tmp_path / "ours")
    here = tmp_path / "here.onnx"
    write_graph(load_encoder(folder), here, takes=GraphInput.PIXELS, gives=gives)
    content = here.read_bytes()
    for tell in (b"site-packages", b"/src/", b".py", b"forward(", str(Path.home()).encode() + b"/", b"stack_trace"):
        assert tell not in content, tell
    assert not [node for node in onnx.load(here).graph.node if node.metadata_props or node.doc_string]
    onnx.checker.check_model(here)
    if gives is GraphOutput.EMBEDDING:  # from a copy of the code elsewhere, by another process
        elsewhere = tmp_path / "elsewhere"
        import pacx

        elsewhere.mkdir()
        (elsewhere / "pacx").symlink_to(Path(pacx.__file__).parent)
        code = (
            "import sys; from pathlib import Path; from pacx.exporting.graphs import write_graph;"
            "from pacx.inference.export_folder import GraphInput, GraphOutput;"
            "from pacx.models.encoders.folder import load_encoder;"
            "write_graph(load_encoder(Path(sys.argv[1])), Path(sys.argv[2]), takes=GraphInput.PIXELS,"
            " gives=GraphOutput.EMBEDDING)"
        )
        there = tmp_path / "there.onnx"
        environment = {**os.environ, "PYTHONPATH": str(elsewhere)}
        subprocess.run([sys.executable, "-c", code, str(folder), str(there)], env=environment, check=True)
        assert there.read_bytes() == content
