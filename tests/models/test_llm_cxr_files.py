"""LLM-CXR's files: the VQ-GAN against diffusers', strict loading of every layout, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from bench import bench, refused
from diffusers import VQModel
from safetensors.torch import save_file
from transformers import GPTNeoXForCausalLM

from unix_bench import registry
from unix_bench.errors import UserError
from unix_bench.models.llm_cxr import VQGAN, LlmCxr
from unix_bench.models.llm_cxr.release import Release
from unix_bench.models.llm_cxr.vqgan import VQConfig
from unix_bench.models.unix.checkpoint import vae_ties
from unix_bench.weights import fill_seeded, mark_stand_in, stand_in_name

CARD = registry.model("llm-cxr")
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "llm-cxr"
    LlmCxr.write_demo_weights(directory, CARD)
    mark_stand_in(directory, "llm-cxr-demo")
    return directory


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copied"))


def configured(**changes: Any) -> VQConfig:
    ddconfig = {
        "double_z": False, "z_channels": 16, "resolution": 64, "in_channels": 3, "out_ch": 3, "ch": 32,
        "ch_mult": [1, 2, 2], "num_res_blocks": 2, "attn_resolutions": [32, 16], "dropout": 0.0,
    }  # fmt: skip
    return VQConfig.model_validate({"embed_dim": 8, "n_embed": 50, "ddconfig": {**ddconfig, **changes}})


# --- the VQ-GAN


@pytest.mark.parametrize(
    "changes",
    [{}, {"attn_resolutions": []}, {"attn_resolutions": [64], "num_res_blocks": 1}, {"ch_mult": [1]}],
    ids=["middle", "none", "finest", "one level"],
)
def test_encoder_codes_and_decoder_are_those_of_diffusers(changes: dict[str, Any]) -> None:
    config = configured(**changes)
    ours = VQGAN(config).eval()
    fill_seeded(ours, 4)
    sizes = config.ddconfig
    attends = [sizes.resolution // 2**level in sizes.attn_resolutions for level in range(len(sizes.ch_mult))]
    theirs = VQModel(
        block_out_channels=tuple(sizes.widths),
        layers_per_block=sizes.num_res_blocks,
        down_block_types=tuple("AttnDownEncoderBlock2D" if a else "DownEncoderBlock2D" for a in attends),
        up_block_types=tuple("AttnUpDecoderBlock2D" if a else "UpDecoderBlock2D" for a in reversed(attends)),
        latent_channels=sizes.z_channels,
        vq_embed_dim=config.embed_dim,
        num_vq_embeddings=config.n_embed,
        sample_size=sizes.resolution,
    ).eval()
    # The names of CompVis against those of diffusers, as they are proved on UniX's released list.
    shapes = {name: tuple(parameter.shape) for name, parameter in theirs.named_parameters()}
    ties = list(vae_ties(SimpleNamespace(vae=SimpleNamespace(ddconfig=sizes)), shapes))
    held = ours.state_dict()
    assert {tie.key for tie in ties} == set(held)
    theirs.load_state_dict({tie.parameter: held[tie.key].reshape(shapes[tie.parameter]) for tie in ties})

    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        vectors = theirs.encode(pixels).latents
        torch.testing.assert_close(ours.vectors(pixels).permute(0, 3, 1, 2), vectors, rtol=1e-4, atol=1e-5)
        quantised, _, (_, _, codes) = theirs.quantize(vectors)
        found = ours.encode(pixels)
        assert found.shape == (2, config.codes)
        assert found.flatten().tolist() == codes.tolist()
        assert len(set(codes.tolist())) > 5
        decoded = theirs.decode(quantised, force_not_quantize=True).sample
        torch.testing.assert_close(ours.decode(found), decoded, rtol=1e-4, atol=1e-4)


def test_a_code_is_the_nearest_vector() -> None:
    book = VQGAN(configured()).quantize
    rng = np.random.default_rng(0)
    with torch.no_grad():
        book.embedding.weight.copy_(torch.from_numpy(rng.normal(size=(50, 8)) * rng.uniform(0.1, 3, size=(50, 1))))
    vectors = rng.normal(size=(3, 5, 7, 8))
    distances = ((vectors[..., None, :] - book.embedding.weight.detach().double().numpy()) ** 2).sum(axis=-1)
    assert (book.nearest(torch.from_numpy(vectors).float()).numpy() == distances.argmin(axis=-1)).all()
    every = torch.arange(50)
    assert (book.nearest(book(every)) == every).all()


def test_rows_come_before_columns() -> None:
    """A code changes its own corner of the image most."""
    vqgan = VQGAN(configured(attn_resolutions=[])).eval()
    fill_seeded(vqgan, 4)
    codes = torch.zeros(1, 256, dtype=torch.long)
    with torch.inference_mode():
        plain = vqgan.decode(codes)
        codes[0, 15] = 7  # the first row's last
        change = (vqgan.decode(codes) - plain).abs().sum(dim=1)[0]
    assert int(change.argmax()) // 64 < 12
    assert int(change.argmax()) % 64 > 48


def test_the_usual_size_has_the_published_tensors() -> None:
    """f16 with two blocks a level, under taming's names: the list of an autoencoder of the same layout."""
    config = configured(resolution=256, ch=128, ch_mult=[1, 1, 2, 2, 4], attn_resolutions=[16])
    with torch.device("meta"):
        ours = {name: list(tensor.shape) for name, tensor in VQGAN(config).state_dict().items()}
    listed = {}
    for line in (GOLDEN / "released" / "vae.txt").read_text().splitlines():
        name, shape = re.match(r"(\S+)\s+(\[.*\])", line).groups()
        listed[name] = json.loads(shape)
    differs = re.compile(r"encoder\.conv_out\.|quant_conv\.|post_quant_conv\.|quantize\.")  # twice as wide, or absent
    assert {n: s for n, s in ours.items() if not differs.match(n)} == {
        n: s for n, s in listed.items() if not differs.match(n)
    }
    assert (config.grid, config.codes) == (16, 256)


# --- loading


def sharded(folder: Path) -> None:
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    names = sorted(tensors)
    halves = {"part-1.bin": names[::2], "part-2.bin": names[1::2]}
    for part, keys in halves.items():
        torch.save({key: tensors[key] for key in keys}, folder / part)
    index = {"weight_map": {key: part for part, keys in halves.items() for key in keys}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (folder / "pytorch_model.bin").unlink()


def as_safetensors(folder: Path) -> None:
    save_file(torch.load(folder / "pytorch_model.bin", weights_only=True), folder / "model.safetensors")
    (folder / "pytorch_model.bin").unlink()


def with_buffers(folder: Path) -> None:
    """As transformers 4.28 saved them."""
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    for layer in range(2):
        place = f"gpt_neox.layers.{layer}.attention"
        tensors[f"{place}.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.uint8)
        tensors[f"{place}.masked_bias"] = torch.tensor(-1e9)
        tensors[f"{place}.rotary_emb.inv_freq"] = torch.ones(2)
    torch.save(tensors, folder / "pytorch_model.bin")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("change", [lambda folder: None, sharded, as_safetensors, with_buffers])
def test_every_layout_loads_as_transformers_loads_it(
    made: Path, copied: Path, change: Callable[[Path], None], dtype: torch.dtype
) -> None:
    theirs = GPTNeoXForCausalLM.from_pretrained(made / "llm", dtype=dtype).eval()
    change(copied / "llm")
    release = Release.described(copied)
    release.check_weights()
    ours = release.load_language(dtype, "cpu")
    assert not any(tensor.is_meta for tensor in [*ours.parameters(), *ours.buffers()])
    for (name, mine), (_, other) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert torch.equal(mine, other), name
    for (name, mine), (_, other) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        assert torch.equal(mine, other), name
    ids = torch.arange(1, 400)[None]
    with torch.inference_mode():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)


def test_rotary_sizes_of_the_configuration_count(copied: Path) -> None:
    """Their older names are read."""
    ids, file = torch.arange(1, 60)[None], copied / "llm" / "config.json"
    plain = Release.described(copied).load_language(torch.float32, "cpu")
    stated = json.loads(file.read_text())
    file.write_text(json.dumps({**stated, "rotary_pct": 0.5, "rotary_emb_base": 500}))
    changed = Release.described(copied).load_language(torch.float32, "cpu")
    theirs = GPTNeoXForCausalLM.from_pretrained(copied / "llm", dtype=torch.float32).eval()
    with torch.inference_mode():
        assert torch.equal(changed(ids).logits, theirs(ids).logits)
        assert not torch.equal(changed(ids).logits, plain(ids).logits)


def test_the_vqgan_holds_what_its_file_holds(made: Path) -> None:
    stored = torch.load(made / "vqgan" / "demo.ckpt", weights_only=True)["state_dict"]
    held = Release.described(made).load_vqgan("cpu").state_dict()
    assert set(stored) - set(held) == {"loss.discriminator.main.0.weight"}
    assert all(torch.equal(tensor, stored[name].float()) for name, tensor in held.items())


def test_demo_weights_are_small_and_the_same_every_time(made: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    LlmCxr.write_demo_weights(tmp_path / "again", CARD)
    files = sorted(path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file())
    assert len(files) == 6
    assert all((made / file).read_bytes() == (tmp_path / "again" / file).read_bytes() for file in files)
    assert sum((made / file).stat().st_size for file in files) < 2_000_000
    assert bench("weights", "demo", "--model", "llm-cxr", "--out", tmp_path / "third").exit_code == 0
    assert stand_in_name(tmp_path / "third") == "llm-cxr-demo"


def test_training_settings_of_the_tokenizer_are_undone(copied: Path) -> None:
    """The file remembers at what length training cut its texts."""
    from tokenizers import Tokenizer

    path = copied / "llm" / "tokenizer.json"
    before = Release.described(copied).vocabulary.about_text("Draw.", "effusion " * 50)
    words = Tokenizer.from_file(str(path))
    words.enable_truncation(20)
    words.enable_padding(length=500)
    words.save(str(path))
    assert Release.described(copied).vocabulary.about_text("Draw.", "effusion " * 50) == before


# --- what is refused


def edit_json(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        stated = json.loads((directory / name).read_text())
        (directory / name).write_text(json.dumps({**stated, **changes}))

    return change


def edit_yaml(place: str, value: Any) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        path = directory / "vqgan" / "demo-project.yaml"
        document = yaml.safe_load(path.read_text())
        inner = document["model"]["params"]
        *parents, last = place.split(".")
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
        path.write_text(yaml.safe_dump(document))

    return change


def edit_tensors(name: str, edit: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        stored = torch.load(directory / name, weights_only=True)
        edit(stored.get("state_dict", stored))
        torch.save(stored, directory / name)

    return change


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda directory: (directory / name).write_bytes((directory / name).read_bytes()[:size])  # type: ignore[return-value]


def gone(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).write_text(text)  # type: ignore[return-value]


LLM_FILE, VQ_FILE, YAML = "llm/pytorch_model.bin", "vqgan/demo.ckpt", "vqgan/demo-project.yaml"
QKV = "gpt_neox.layers.1.attention.query_key_value.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (gone("llm/config.json"), "llm/config.json is missing: copy it from the LLM-CXR release"),
        (write("llm/config.json", "{"), "llm/config.json cannot be read"),
        (edit_json("llm/config.json", architectures=["LlamaForCausalLM"]), "describes ['LlamaForCausalLM'], not GPT"),
        (edit_json("llm/config.json", num_attention_heads=3), "config.json describes no GPT-NeoX"),
        (edit_json("llm/config.json", hidden_size="wide"), "config.json describes no GPT-NeoX"),
        (edit_json("llm/config.json", hidden_act="none"), "config.json describes no GPT-NeoX"),
        (edit_json("llm/config.json", vocab_size=600), "vocab_size 600, but the tokenizer beside it has 513 tok"),
        (edit_json("llm/config.json", hidden_size=32), "of the wrong shape"),
        (gone("llm/tokenizer.json"), "tokenizer.json is missing"),
        (write("llm/tokenizer.json", "{}"), "tokenizer.json is no tokenizer"),
        (gone(LLM_FILE), "llm/model.safetensors is missing: copy it from the LLM-CXR release"),
        (cut(LLM_FILE, 1000), "pytorch_model.bin is not a whole torch checkpoint"),
        (cut(LLM_FILE, 200_000), "pytorch_model.bin"),
        (edit_tensors(LLM_FILE, lambda held: held.pop("embed_out.weight")), "1 missing: embed_out.weight [577, 64]"),
        (edit_tensors(LLM_FILE, lambda held: held.update({QKV: torch.zeros(3, 4)})), f"{QKV} [3, 4] instead of"),
        (edit_tensors(LLM_FILE, lambda held: held.update(extra=torch.zeros(1))), "1 unknown: extra"),
        (gone(YAML), "vqgan must hold one *.yaml (there: none)"),
        (write("vqgan/second.yaml", ""), "vqgan must hold one *.yaml (there: demo-project.yaml, second.yaml)"),
        (write(YAML, "model: {}"), "demo-project.yaml has no model.params"),
        (write(YAML, "{"), "demo-project.yaml cannot be read"),
        (edit_yaml("ddconfig.double_z", True), "a VQ-GAN has double_z false"),
        (edit_yaml("ddconfig.ch", 33), "ch 33 times ch_mult is not a multiple of 32"),
        (edit_yaml("ddconfig.resolution", 36), "resolution 36 is not a multiple of 8"),
        (edit_yaml("ddconfig.ch", "wide"), "demo-project.yaml: ddconfig.ch: "),
        (edit_yaml("ddconfig.ch_mult", [1, 1, 1, 2]), "of the wrong shape"),
        (edit_yaml("remap", "x.npy"), "demo-project.yaml: remap: "),
        (edit_yaml("n_embed", 63), "the VQ-GAN 63 codes"),
        (gone(VQ_FILE), "vqgan must hold one *.ckpt (there: none)"),
        (cut(VQ_FILE, 100_000), "demo.ckpt"),
        (edit_tensors(VQ_FILE, lambda held: held.pop("quant_conv.bias")), "1 missing: quant_conv.bias [16]"),
        (edit_tensors(VQ_FILE, lambda held: held.update({"quantize.used": torch.ones(4)})), "1 unknown: quantize.used"),
    ],
)  # fmt: skip
def test_files_that_are_wrong(copied: Path, change: Callable[[Path], None], message: str) -> None:
    change(copied)
    with pytest.raises(UserError) as caught:
        LlmCxr.check_weights(copied, CARD)
    assert message in str(caught.value)
    assert str(copied) in str(caught.value)
    assert "\n" not in str(caught.value)
    settings = {**CARD.settings["report"]}
    with pytest.raises(UserError):
        LlmCxr.load(copied, CARD, settings, "float32", "cpu")


@pytest.mark.parametrize("word", ["### End", "### Response:\n", "image"])
def test_another_models_tokenizer(copied: Path, word: str) -> None:
    path = copied / "llm" / "tokenizer.json"
    stated = json.loads(path.read_text())
    stated["added_tokens"] = [token for token in stated["added_tokens"] if token["content"] != word]
    path.write_text(json.dumps(stated))
    with pytest.raises(UserError, match=r"tokenizer\.json splits .* it is not the tokenizer that LLM-CXR was trained"):
        Release.described(copied)


@pytest.mark.parametrize("text", ["{}", '{"weight_map": {"a": "../elsewhere.bin"}}', "[]"])
def test_an_index_that_leads_nowhere(copied: Path, text: str) -> None:
    (copied / LLM_FILE).rename(copied / "elsewhere.bin")
    (copied / "llm" / "pytorch_model.bin.index.json").write_text(text)
    with pytest.raises(UserError, match=r"pytorch_model\.bin\.index\.json"):
        LlmCxr.check_weights(copied, CARD)


def test_a_part_that_is_missing(copied: Path) -> None:
    sharded(copied / "llm")
    (copied / "llm" / "part-2.bin").unlink()
    with pytest.raises(UserError, match=r"llm lacks part-2\.bin of the 2 shards"):
        LlmCxr.check_weights(copied, CARD)


def test_real_weights_have_the_released_sizes(copied: Path) -> None:
    (copied / "unix-bench-demo.json").unlink()
    refused(
        bench("run", "--model", "llm-cxr", "--task", "report", "--weights", copied, "--quiet"),
        "holds a tokenizer of 513 tokens and a VQ-GAN of 64 codes, and the LLM-CXR release has 50281 and 1024",
    )
