"""Each class of chat-style model: against transformers itself, alone and in a batch, and with files that do not fit."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models.base import ReportRequest
from unix_bench.models.fit import check_fit
from unix_bench.models.tiny import demo_texts
from unix_bench.models.vlm import VisionLanguageModel, adapter, checkpoint, demo, llava_mistral
from unix_bench.models.vlm.answers import NoAnswer
from unix_bench.models.vlm.llava_mistral import TOWER, load_tokenizer
from unix_bench.models.vlm.readers import Question

SETTINGS = {
    "system": "",
    "prompt": "{instruction}",
    "prompt_with_indication": "{indication}. {instruction}",
    "max_new_tokens": 64,
    "temperature": 0.0,
    "top_p": 1.0,
    "top_k": 0,
    "repetition_penalty": 1.0,
    "extract": "all",
    "section": "",
}
GEMMA, JANUS, LLAVA, QWEN25, QWEN3 = sorted(demo.BUILDERS)
MISTRAL = "llava_mistral"
QUESTIONS = [Question(Image.new("RGB", (80, 60), grey), "", "Describe it.") for grey in ("black", "white")]
KINDS = (GEMMA, JANUS, LLAVA, QWEN25, QWEN3, MISTRAL)


def card_of(kind: str, **settings: Any) -> ModelCard:
    return ModelCard(
        name="mine",
        title="Mine",
        family="vlm",
        architecture=LLAVA if kind == MISTRAL else kind,
        tasks=["report"],
        hub_id="them/theirs",
        gate="terms on its page",
        settings={"report": {**SETTINGS, **settings}},
    )


def write(directory: Path, kind: str) -> None:
    if kind == MISTRAL:
        demo.write_demo_weights(directory, card_of(kind))
    else:
        directory.mkdir(parents=True)
        demo.write_tiny(directory, card_of(kind))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The tiny checkpoint of a kind, made once."""
    place = tmp_path_factory.mktemp("vlm")

    def of(kind: str) -> Path:
        if not (place / kind).is_dir():
            write(place / kind, kind)
        return place / kind

    return of


@pytest.fixture(scope="module")
def wild(made: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The same checkpoint with weights on disk that are random throughout, so that its answers wander."""
    place = tmp_path_factory.mktemp("wild")

    def of(kind: str) -> Path:
        if not (place / kind).is_dir():
            for path in Path(shutil.copytree(made(kind), place / kind)).glob("*.safetensors"):
                filled = {name: wandering(name, tensor.shape) for name, tensor in load_file(path).items()}
                save_file(filled, path, metadata={"format": "pt"})
        return place / kind

    return of


def wandering(name: str, shape: torch.Size) -> torch.Tensor:
    made = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    noise = torch.randn(shape, generator=made)
    if len(shape) > 1:
        return noise * 1.5 / noise[0].numel() ** 0.5
    return 0.02 * noise + (1.0 if name.endswith("weight") else 0.0)


@pytest.fixture
def own(made: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy that a test may damage."""

    def of(kind: str) -> Path:
        return Path(shutil.copytree(made(kind), tmp_path / kind))

    return of


def load(directory: Path, kind: str, dtype: str = "float32", **settings: Any) -> VisionLanguageModel:
    card = card_of(kind, **settings)
    return VisionLanguageModel.load(directory, card, card.settings["report"], dtype, "cpu")


def requests(n: int = 5) -> list[ReportRequest]:
    """Images of several sizes and modes, questions of several lengths."""
    rng = np.random.default_rng(3)
    found = []
    for index in range(n):
        pixels = rng.integers(0, 256, size=(40 + 24 * index, 90 - 10 * index), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((60 + 16 * index, 70)) if index % 2 else Image.fromarray(pixels)
        text = "Describe the findings." + " Be brief." * index
        found.append(ReportRequest(f"study-{index}", image, text, "Cough" if index % 3 == 0 else None, seed=index))
    return found


def theirs(directory: Path, kind: str) -> Any:
    """The library's own model, loaded by it from the folder."""
    return getattr(hf, kind).from_pretrained(directory, dtype=torch.float32).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampling", [{}, {"temperature": 1.0, "top_p": 0.9}, {"repetition_penalty": 1.3}])
def test_reports_do_not_depend_on_the_batch(wild: Callable[[str], Path], kind: str, sampling: dict[str, Any]) -> None:
    model = load(wild(kind), kind, max_new_tokens=20, **sampling)
    asked = requests()
    together = model.write(asked)
    model._last = []
    assert [model.write([one])[0] for one in asked] == together
    assert model.write(asked[3:0:-1]) == together[3:0:-1]
    assert len(set(together)) > 2


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_does_what_it_is_set_to(wild: Callable[[str], Path], kind: str) -> None:
    decodings = ({}, {"temperature": 2.0}, {"repetition_penalty": 1.9})
    greedy, drawn, fresh = (load(wild(kind), kind, max_new_tokens=20, **one) for one in decodings)
    asked = ((greedy, [0, 1]), (greedy, [2, 3]), (drawn, [0, 1]), (drawn, [2, 3]), (fresh, [0, 1]))
    texts = [tuple(model.ask(QUESTIONS, seeds)) for model, seeds in asked]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 4


@pytest.mark.parametrize("kind", [MISTRAL, QWEN25])
def test_a_model_loads_without_accelerate_too(
    made: Callable[[str], Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(made(kind), kind).write(requests())
    monkeypatch.setattr(checkpoint, "find_spec", lambda name: None)
    assert load(made(kind), kind).write(requests()) == before


@pytest.mark.parametrize("kind", [GEMMA, JANUS, LLAVA])
def test_answers_are_those_of_the_library(wild: Callable[[str], Path], kind: str) -> None:
    """The library's own way: text of the template, then processor, then `generate`, one by one."""
    ours = load(wild(kind), kind, max_new_tokens=20, system="You are a radiologist.")
    model, processor = theirs(wild(kind), kind), hf.AutoProcessor.from_pretrained(wild(kind))
    for one in requests(3):
        said = f"{one.indication}. {one.instruction}" if one.indication else one.instruction
        talk = [
            {"role": "system", "content": [{"type": "text", "text": "You are a radiologist."}]},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": said}]},
        ]
        text = processor.apply_chat_template(talk, add_generation_prompt=True)
        inputs = processor(
            text=[text], images=[[one.image.convert("RGB")]], return_tensors="pt", add_special_tokens=False
        )
        ids = model.generate(
            **inputs, do_sample=False, max_new_tokens=20, eos_token_id=processor.tokenizer.eos_token_id
        )
        answered = processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert ours.write([one]) == [answered.strip()]


@pytest.mark.parametrize("kind", [QWEN25, QWEN3])
def test_qwens_inputs_made_by_hand(wild: Callable[[str], Path], kind: str) -> None:
    """Image tokens by the grid of patches, three-axis positions by the types: without a processor at all."""
    ours, model = load(wild(kind), kind, max_new_tokens=20), theirs(wild(kind), kind)
    tokenizer = hf.AutoTokenizer.from_pretrained(wild(kind))
    # Named here, so that it cannot come from the processor's folder.
    images = hf.Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 256, "longest_edge": 1024}
    )
    for one in requests(3):
        said = f"{one.indication}. {one.instruction}" if one.indication else one.instruction
        seen = images([one.image.convert("RGB")], return_tensors="pt")
        pads = "<|image_pad|>" * (int(seen["image_grid_thw"].prod()) // 4)
        text = f"<|im_start|>user\n<|vision_start|>{pads}<|vision_end|>{said}<|im_end|>\n<|im_start|>assistant\n"
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        types = (ids == tokenizer.convert_tokens_to_ids("<|image_pad|>")).int()
        written = model.generate(
            input_ids=ids, mm_token_type_ids=types, attention_mask=torch.ones_like(ids), **seen, do_sample=False,
            max_new_tokens=20,
        )  # fmt: skip
        answered = tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
        assert ours.write([one]) == [answered.strip()]
        if one.indication:  # the types do matter to these classes
            other = model.generate(
                input_ids=ids, mm_token_type_ids=torch.zeros_like(types), attention_mask=torch.ones_like(ids),
                **seen, do_sample=False, max_new_tokens=20,
            )  # fmt: skip
            assert not torch.equal(other, written)


def released_parts(directory: Path) -> tuple[Any, nn.Sequential, Any, Any]:
    """Tower, projector, language model and tokenizer of LLaVA-Med, each of its own class, by the released names."""
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(directory.glob("*.safetensors")):
        tensors |= {name: tensor.float() for name, tensor in load_file(path).items()}
    vision = hf.CLIPVisionModel(hf.CLIPVisionConfig.from_pretrained(directory / TOWER)).eval()
    text = json.loads((directory / "config.json").read_text())
    del text["model_type"], text["architectures"]
    language = hf.MistralForCausalLM(hf.MistralConfig(**text)).eval()
    width = text["hidden_size"]
    projector = nn.Sequential(nn.Linear(text["mm_hidden_size"], width), nn.GELU(), nn.Linear(width, width))

    def under(*prefixes: str) -> dict[str, torch.Tensor]:
        return {name.removeprefix(p): t for p in prefixes for name, t in tensors.items() if name.startswith(p)}

    projector.load_state_dict(under("model.mm_projector."))
    tower = under("model.vision_tower.vision_tower.vision_model.")
    fits = set(vision.state_dict()) == set(tower)
    vision.load_state_dict(tower if fits else {f"vision_model.{name}": tensor for name, tensor in tower.items()})
    own = {name: tensor for name, tensor in tensors.items() if "vision_tower" not in name and "mm_proj" not in name}
    language.load_state_dict(own)
    return vision, projector, language, hf.LlamaTokenizer.from_pretrained(directory)


def test_llava_med_is_its_parts_put_together(wild: Callable[[str], Path]) -> None:
    vision, projector, language, tokenizer = released_parts(wild(MISTRAL))
    ours = load(wild(MISTRAL), MISTRAL, max_new_tokens=20)
    processor = hf.CLIPImageProcessorPil.from_pretrained(wild(MISTRAL) / TOWER)
    for index, one in enumerate(requests(4)):
        assert one.image.mode == "L"
        if index % 2:
            one = replace(one, image=one.image.convert("RGB"))
        image = one.image
        side = max(image.size)
        square = Image.new(image.mode, (side, side), (122, 116, 104) if index % 2 else 114)
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        pixels = processor(square, return_tensors="pt")["pixel_values"]
        said = f"{one.indication}. {one.instruction}" if one.indication else one.instruction
        with torch.no_grad():
            seen = projector(vision(pixels, output_hidden_states=True).hidden_states[-2][:, 1:])
            table = language.get_input_embeddings()
            before = tokenizer("[INST] ", return_tensors="pt", add_special_tokens=False)["input_ids"]
            after = tokenizer(f"\n{said} [/INST]", return_tensors="pt", add_special_tokens=False)["input_ids"]
            start = torch.tensor([[tokenizer.bos_token_id]])
            embedded = torch.cat([table(torch.cat([start, before], 1)), seen, table(after)], 1)
            written = language.generate(
                inputs_embeds=embedded,
                attention_mask=torch.ones(embedded.shape[:2]),
                do_sample=False,
                max_new_tokens=20,
                pad_token_id=tokenizer.eos_token_id,
            )
        assert ours.write([one]) == [tokenizer.decode(written[0], skip_special_tokens=True).strip()]


def test_llava_meds_tokenizer_is_that_of_its_sentencepiece_model(tmp_path: Path) -> None:
    """The release is said to hold tokenizer.model alone."""
    sentencepiece = pytest.importorskip("sentencepiece")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(demo_texts()[:-1]), model_prefix=str(tmp_path / "tokenizer"), vocab_size=600,
        model_type="bpe", byte_fallback=True, pad_id=-1, unk_id=0, bos_id=1, eos_id=2, minloglevel=2,
        remove_extra_whitespaces=False, normalization_rule_name="identity",
    )  # fmt: skip
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "pad_token": "<unk>", "legacy": True})
    )
    ours, theirs = load_tokenizer(tmp_path), sentencepiece.SentencePieceProcessor(str(tmp_path / "tokenizer.model"))
    for text in ("[INST] ", "\nDescribe the findings. [/INST]", "\nÄé?  Two spaces. [/INST]", "[INST] <<SYS>>\nYou.\n"):
        ids = ours(text, add_special_tokens=False)["input_ids"]
        assert ids == theirs.encode(text)
        assert ours.unk_token_id not in ids


def test_without_sentencepiece_it_is_said(own: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    directory = own(MISTRAL)
    (directory / "tokenizer.json").rename(directory / "tokenizer.model")
    monkeypatch.setattr(llava_mistral, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"tokenizer\.model needs sentencepiece to be read: pip install sentencepiece"):
        load(directory, MISTRAL)


def test_llava_meds_tower_may_lie_apart(own: Callable[[str], Path], made: Callable[[str], Path]) -> None:
    """As CLIP's release has it: a torch file, with a text tower that nobody asks for."""
    directory = own(MISTRAL)
    towers = {}
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    for path in sorted(directory.glob("*.safetensors")):
        tensors = load_file(path)
        towers |= {name: tensor for name, tensor in tensors.items() if "vision_tower" in name}
        save_file({name: tensor for name, tensor in tensors.items() if "vision_tower" not in name}, path)
    index["weight_map"] = {name: file for name, file in index["weight_map"].items() if "vision_tower" not in name}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"clip-vit-large-patch14-336/model\.safetensors is missing"):
        load(directory, MISTRAL)
    clip = {name.removeprefix("model.vision_tower.vision_tower."): tensor for name, tensor in towers.items()}
    clip |= {"text_model.final_layer_norm.weight": torch.ones(3), "logit_scale": torch.ones(())}
    clip["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    torch.save(clip, directory / TOWER / "pytorch_model.bin")
    config = json.loads((directory / TOWER / "config.json").read_text())
    (directory / TOWER / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": config}))
    VisionLanguageModel.check_weights(directory, card_of(MISTRAL))
    assert load(directory, MISTRAL).write(requests()) == load(made(MISTRAL), MISTRAL).write(requests())
    del clip["vision_model.pre_layrnorm.bias"]
    torch.save(clip, directory / TOWER / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"1 missing: .*pre_layrnorm\.bias \[32\]"):
        VisionLanguageModel.check_weights(directory, card_of(MISTRAL))


@pytest.mark.parametrize("kind", KINDS)
def test_demo_weights_are_small_and_the_same_every_time(made: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    write(tmp_path / "again", kind)

    def digests(directory: Path) -> dict[str, str]:
        files = [path for path in directory.rglob("*") if path.is_file()]
        return {str(p.relative_to(directory)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    assert digests(tmp_path / "again") == digests(made(kind))
    assert sum(path.stat().st_size for path in made(kind).rglob("*") if path.is_file()) < 2_000_000
    VisionLanguageModel.check_weights(made(kind), card_of(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_and_a_question_matter(wild: Callable[[str], Path], kind: str) -> None:
    model = load(wild(kind), kind, max_new_tokens=20)
    one, two = requests(2)
    again = ReportRequest("x", Image.new("L", two.image.size, 255), one.instruction, one.indication)
    other = ReportRequest("x", one.image, "Something else.", one.indication)
    assert len({model.write([asked])[0] for asked in (one, again, other)}) == 3


@pytest.mark.parametrize("kind", [GEMMA, QWEN25])
def test_bfloat16_runs(made: Callable[[str], Path], kind: str) -> None:
    assert all(text.endswith(".") for text in load(made(kind), kind, "bfloat16").write(requests()))


def rename(directory: Path, *rules: tuple[str, str]) -> None:
    """Give tensors the names that older releases have on disk."""
    tensors = load_file(directory / "model.safetensors")
    named = {}
    for name, tensor in tensors.items():
        for pattern, theirs in rules:
            if re.match(pattern, name):
                name = re.sub(pattern, theirs, name, count=1)
                break
        named[name] = tensor
    assert set(named) != set(tensors)
    save_file(named, directory / "model.safetensors", metadata={"format": "pt"})


NEW_TO_OLD = {
    GEMMA: [(r"^lm_head", "language_model.lm_head"), (r"^model\.language_model\.", "language_model.model."),
            (r"^model\.vision_tower\.", "vision_tower."), (r"^model\.multi_modal", "multi_modal")],
    QWEN25: [(r"^model\.language_model\.", "model."), (r"^model\.visual\.", "visual.")],
}  # fmt: skip
OLD_TO_NEW = {
    GEMMA: [(r"^language_model\.lm_head", "lm_head"), (r"^language_model\.model\.", "model.language_model."),
            (r"^vision_tower\.", "model.vision_tower."), (r"^multi_modal", "model.multi_modal")],
    QWEN25: [(r"^visual\.", "model.visual."), (r"^model\.(?!language_model)", "model.language_model.")],
}  # fmt: skip


@pytest.mark.parametrize("kind", [GEMMA, QWEN25])
def test_both_generations_of_names_load(own: Callable[[str], Path], made: Callable[[str], Path], kind: str) -> None:
    directory = own(kind)
    old = any(name.startswith(("language_model.", "visual.")) for name in load_file(directory / "model.safetensors"))
    rename(directory, *(OLD_TO_NEW if old else NEW_TO_OLD)[kind])
    VisionLanguageModel.check_weights(directory, card_of(kind))
    assert load(directory, kind).write(requests()) == load(made(kind), kind).write(requests())


def test_a_tied_release_holds_no_lm_head(own: Callable[[str], Path]) -> None:
    directory = own(GEMMA)
    config = json.loads((directory / "config.json").read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True
    (directory / "config.json").write_text(json.dumps(config))
    tensors = load_file(directory / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if "lm_head" not in k}, directory / "model.safetensors")
    VisionLanguageModel.check_weights(directory, card_of(GEMMA))
    model = load(directory, GEMMA).model
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


OLDER = {
    GEMMA: "Gemma3ImageProcessorFast",
    JANUS: "JanusImageProcessor",
    LLAVA: "CLIPImageProcessor",
    QWEN25: "Qwen2VLImageProcessor",
    QWEN3: "Qwen2VLImageProcessorFast",
}


@pytest.mark.parametrize("kind", OLDER)
def test_the_files_of_older_releases_are_read(wild: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    """Preprocessing and chat template in files of their own, under the names that transformers 4 wrote."""
    directory = Path(shutil.copytree(wild(kind), tmp_path / kind))
    stated = json.loads((directory / "processor_config.json").read_text())
    images = {**stated.pop("image_processor"), "image_processor_type": OLDER[kind]}
    if kind in (QWEN25, QWEN3):
        size = images.pop("size")
        images |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    stated["processor_class"] = images["processor_class"] = f"{kind.removesuffix('ForConditionalGeneration')}Processor"
    (directory / "preprocessor_config.json").write_text(json.dumps(images))
    (directory / "processor_config.json").write_text(json.dumps(stated))
    if kind in (QWEN25, QWEN3):
        (directory / "processor_config.json").unlink()
    template = (directory / "chat_template.jinja").read_text()
    (directory / "chat_template.jinja").unlink()
    (directory / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    VisionLanguageModel.check_weights(directory, card_of(kind))
    before, after = (load(place, kind, max_new_tokens=20).write(requests()) for place in (wild(kind), directory))
    assert before == after


def test_a_videos_part_in_the_processors_file_does_no_harm(own: Callable[[str], Path]) -> None:
    directory = own(QWEN25)
    path = directory / "processor_config.json"
    stated = json.loads(path.read_text())
    stated |= {
        "video_processor": {"video_processor_type": "Qwen2VLVideoProcessor"},
        "processor_class": "Qwen2_5_VLProcessor",
    }
    path.write_text(json.dumps(stated))
    assert load(directory, QWEN25).write(requests(1))


def test_the_releases_decoding_is_not_followed(wild: Callable[[str], Path], tmp_path: Path) -> None:
    directory = Path(shutil.copytree(wild(QWEN25), tmp_path / QWEN25))
    path = directory / "generation_config.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps({**stated, "do_sample": True, "temperature": 9.0, "repetition_penalty": 2.0}))
    before, after = (load(d, QWEN25, max_new_tokens=20).write(requests()) for d in (wild(QWEN25), directory))
    assert before == after


def test_nothing_is_written_twice_when_one_answer_is_missing(
    made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(made(QWEN25), QWEN25, extract="section", section="summary")
    texts = ["SUMMARY: a", "nothing", "SUMMARY: c"]
    calls: list[list[int]] = []

    def ask(questions: Any, seeds: list[int]) -> list[str]:
        calls.append(list(seeds))
        return [texts[one] for one in seeds]

    monkeypatch.setattr(model, "ask", ask)
    with pytest.raises(NoAnswer, match="there is no section 'summary'"):
        model.write(requests(3))
    found = []
    for one in requests(3):  # as the scheduler asks again: alone, from files that were opened again
        try:
            found += model.write([one])
        except NoAnswer:
            found.append("none")
    assert found == ["a", "none", "c"]
    assert calls == [[0, 1, 2]]
    other = ReportRequest("study-0", Image.new("L", (9, 9)), requests(1)[0].instruction, "Cough")
    model.write([other])
    assert calls[1:] == [[0]]


@pytest.mark.parametrize("kind", [QWEN25, GEMMA, MISTRAL])
def test_a_question_that_spells_a_special_token_is_refused(made: Callable[[str], Path], kind: str) -> None:
    model = load(made(kind), kind)
    token = {QWEN25: "<|image_pad|>", GEMMA: "<start_of_image>", MISTRAL: "<unk>"}[kind]
    with pytest.raises(ValueError, match=re.escape(token)):
        model.write([ReportRequest("x", Image.new("L", (50, 50)), f"Look {token} here.")])
    assert model.write([]) == []


def test_a_question_too_long_for_the_model_is_refused(made: Callable[[str], Path]) -> None:
    model = load(made(GEMMA), GEMMA, max_new_tokens=4090)
    with pytest.raises(ValueError, match="and 4090 new ones exceed the 4096"):
        model.write([ReportRequest("x", Image.new("L", (50, 50)), "Look. " * 50)])


def refusal(directory: Path, kind: str) -> str:
    """What `check_weights` and `load` say, which is the same and one line."""
    said = []
    for attempt in (lambda: VisionLanguageModel.check_weights(directory, card_of(kind)), lambda: load(directory, kind)):
        with pytest.raises(UserError) as caught:
            attempt()
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "\n" not in said[0]
    return said[0]


@pytest.mark.parametrize("kind", [GEMMA, JANUS, QWEN3])
def test_wrong_tensors_are_all_named(own: Callable[[str], Path], kind: str) -> None:
    directory = own(kind)
    tensors = load_file(directory / "model.safetensors")
    gone = next(name for name in sorted(tensors) if "layers.1" in name and name.endswith("q_proj.weight"))
    short = next(name for name in sorted(tensors) if "layers.0" in name and name.endswith("k_proj.weight"))
    del tensors[gone]
    tensors[short] = tensors[short][:3].contiguous()
    tensors["surprise"] = torch.zeros(2)
    save_file(tensors, directory / "model.safetensors")
    said = refusal(directory, kind)
    for part in ("1 missing: ", "q_proj.weight [", "1 of the wrong shape: ", " instead of [", "1 unknown: surprise"):
        assert part in said


def test_llava_meds_unknown_tensors_are_named(own: Callable[[str], Path]) -> None:
    directory = own(MISTRAL)
    path = directory / "model-00001-of-00002.safetensors"
    index = json.loads((directory / "model.safetensors.index.json").read_text())
    for name in ("model.mm_projector.4.weight", "model.image_newline"):
        index["weight_map"][name] = path.name
    save_file(
        {**load_file(path), "model.mm_projector.4.weight": torch.ones(2), "model.image_newline": torch.ones(2)}, path
    )
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "2 unknown: model.image_newline, model.mm_projector.4.weight" in refusal(directory, MISTRAL)


def test_llava_meds_layout_under_another_card_is_refused(made: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match=f"says model_type llava_mistral, which is no {GEMMA}: copy them/theirs there"):
        VisionLanguageModel.check_weights(made(MISTRAL), card_of(GEMMA))


def edit(directory: Path, file: str, **changes: Any) -> None:
    """Change what a JSON file states; None takes it out."""
    path = directory / file
    stated = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in stated.items() if value is not None}))


def edit_images(directory: Path, **changes: Any) -> None:
    """Change the preprocessing of images in the processor's file."""
    images = json.loads((directory / "processor_config.json").read_text())["image_processor"] | changes
    images = {name: value for name, value in images.items() if value is not None}
    edit(directory, "processor_config.json", image_processor=images)


def edit_tensors(directory: Path, change: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
    path = directory / "model.safetensors"
    save_file({name: change(name, tensor) for name, tensor in load_file(path).items()}, path)


def more_words(directory: Path, n: int) -> None:
    tokenizer = hf.PreTrainedTokenizerFast.from_pretrained(directory)
    tokenizer.add_tokens([f"<word {index}>" for index in range(n)])
    tokenizer.backend_tokenizer.save(str(directory / "tokenizer.json"))


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    (
        GEMMA,
        lambda d: (d / "config.json").unlink(),
        "is missing: copy the files of them/theirs there, gated: terms on its page",
    ),
    (GEMMA, lambda d: (d / "config.json").write_text("{"), "config.json cannot be read"),
    (GEMMA, lambda d: (d / "config.json").write_text("[]"), "config.json holds no configuration"),
    (
        QWEN25,
        lambda d: edit(d, "config.json", architectures=["Qwen2VL"]),
        "says architectures ['Qwen2VL'] (model_type qwen2_5_vl), not Qwen2_5_VLForConditionalGeneration",
    ),
    (
        JANUS,
        lambda d: edit(d, "config.json", architectures=["Own"], model_type="multi_modality"),
        "(model_type multi_modality), not JanusForConditionalGeneration: copy them/theirs there",
    ),
    (
        QWEN25,
        lambda d: edit(d, "config.json", vision_config={"depth": "two"}),
        "config.json describes no Qwen2_5_VLForConditionalGeneration",
    ),
    (GEMMA, lambda d: (d / "model.safetensors").unlink(), "model.safetensors is missing"),
    (
        GEMMA,
        lambda d: (d / "model.safetensors").write_bytes((d / "model.safetensors").read_bytes()[:-9]),
        "model.safetensors is not a whole safetensors file",
    ),
    (
        QWEN3,
        lambda d: save_file({"lm_head.weight": torch.ones(4, 32)}, d / "model.safetensors"),
        "holds 128 numbers where its config.json describes",
    ),
    (GEMMA, lambda d: (d / "tokenizer.json").unlink(), "holds no tokenizer.json and no tokenizer.model"),
    (GEMMA, lambda d: (d / "tokenizer.json").write_text("{}"), "the processor's files in"),
    (
        QWEN25,
        lambda d: (d / "processor_config.json").unlink(),
        "holds no preprocessor_config.json and no processor_config.json",
    ),
    (LLAVA, lambda d: (d / "chat_template.jinja").unlink(), "holds no chat template"),
    (
        LLAVA,
        lambda d: (d / "chat_template.jinja").write_text("{{ raise_exception('no system') }}"),
        "the chat template in",
    ),
    (
        MISTRAL,
        lambda d: (d / "model-00002-of-00002.safetensors").unlink(),
        "lacks model-00002-of-00002.safetensors of the 2 shards of its index",
    ),
    (
        MISTRAL,
        lambda d: edit(d, "model.safetensors.index.json", weight_map={"a": "../x.safetensors"}),
        "does not say which files beside it hold what",
    ),
    (
        MISTRAL,
        lambda d: edit(d, "model.safetensors.index.json", weight_map=3),
        "does not say which files beside it hold what",
    ),
    (
        MISTRAL,
        lambda d: edit(d, "model.safetensors.index.json", weight_map={"a": "model-00001-of-00002.safetensors"}),
        "does not fit its shards: 1 tensors are not where it says",
    ),
    (MISTRAL, lambda d: (d / "tokenizer.json").rename(d / "tokenizer.model"), "the tokenizer in"),
    (MISTRAL, lambda d: (d / TOWER / "config.json").unlink(), "clip-vit-large-patch14-336/config.json is missing"),
    (MISTRAL, lambda d: (d / TOWER / "preprocessor_config.json").unlink(), "holds no preprocessor_config.json"),
    (
        MISTRAL,
        lambda d: edit(d, "config.json", image_aspect_ratio="anyres"),
        "says image_aspect_ratio anyres, and only pad is known here",
    ),
    (
        MISTRAL,
        lambda d: edit(d, "config.json", mm_projector_type="linear"),
        "says mm_projector_type linear, and only mlp2x_gelu",
    ),
    (
        MISTRAL,
        lambda d: edit(d, "config.json", architectures=["LlavaLlamaForCausalLM"]),
        "says architectures ['LlavaLlamaForCausalLM'], not LlavaMistralForCausalLM",
    ),
    (GEMMA, lambda d: (d / "generation_config.json").unlink(), "generation_config.json is missing: copy it from them"),
    (JANUS, lambda d: (d / "generation_config.json").write_text("{"), "generation_config.json cannot be read"),
    (
        QWEN3,
        lambda d: edit(d, "generation_config.json", eos_token_id=[2, "<|im_end|>"]),
        "generation_config.json says eos_token_id [2, '<|im_end|>'], which is no number of a token",
    ),
    (MISTRAL, lambda d: (d / "generation_config.json").write_text("[]"), "generation_config.json holds no config"),
    (
        QWEN25,
        lambda d: (
            edit(d, "generation_config.json", eos_token_id=None),
            edit(
                d,
                "config.json",
                text_config={**json.loads((d / "config.json").read_text())["text_config"], "eos_token_id": None},
            ),
            edit(d, "tokenizer_config.json", eos_token=None),
        ),
        "nor the tokenizer says which token ends an answer",
    ),
    (JANUS, lambda d: (d / "tokenizer_config.json").unlink(), "holds no tokenizer_config.json: copy it"),
    (MISTRAL, lambda d: (d / "tokenizer_config.json").unlink(), "holds no tokenizer_config.json: copy it"),
    (GEMMA, lambda d: edit_images(d, image_mean=None), "states no image_mean of three numbers"),
    (JANUS, lambda d: edit_images(d, image_std=[0.5]), "states no image_std of three numbers"),
    (QWEN3, lambda d: edit_images(d, size=None), "does not state the size that images are brought to"),
    (QWEN25, lambda d: edit_images(d, do_normalize="yes"), "says do_normalize 'yes', not true or false"),
    (
        MISTRAL,
        lambda d: edit(d / TOWER, "preprocessor_config.json", image_std=None),
        f"{TOWER}/preprocessor_config.json states no image_std of three numbers",
    ),
    (
        QWEN25,
        lambda d: (
            (d / "processor_config.json").unlink(),
            (d / "preprocessor_config.json").write_text("{}"),
        ),
        "preprocessor_config.json states no image_mean",
    ),
    (QWEN25, lambda d: edit_images(d, patch_size=8), "(patches are [8, 384], not [8, 96])"),
    (QWEN3, lambda d: edit_images(d, merge_size=1), "that the model sees as"),
    (GEMMA, lambda d: edit_images(d, size={"height": 42, "width": 42}), "does not fit the model of its config.json ("),
    (JANUS, lambda d: edit_images(d, size={"height": 64, "width": 64}), "does not fit the model of its config.json ("),
    (
        LLAVA,
        lambda d: edit_images(d, crop_size={"height": 28, "width": 28}),
        "does not fit the model of its config.json (",
    ),
    (
        MISTRAL,
        lambda d: edit(d / TOWER, "preprocessor_config.json", crop_size={"height": 28, "width": 28}),
        "does not fit the model of its config.json (",
    ),
    (
        MISTRAL,
        lambda d: edit(d, "config.json", mm_vision_select_layer=-9),
        "does not fit the model of its config.json (",
    ),
    (
        GEMMA,
        lambda d: edit(d, "processor_config.json", image_seq_length=9),
        "(a question holds 9 tokens 5 for an image that the model sees as 4)",
    ),
    (
        QWEN25,
        lambda d: edit(d, "config.json", image_token_id=7),
        "(a question holds 0 tokens 7 for an image that the model sees as 12)",
    ),
    (GEMMA, lambda d: more_words(d, 3), "counts up to token 526, and the model of its config.json has 524"),
    (
        JANUS,
        lambda d: edit_tensors(d, lambda name, one: one.to(torch.int8) if "layers.1.mlp.up_proj" in name else one),
        "holds 1 tensors of other than 16 to 64-bit floating-point numbers, such as ",
    ),
    (
        QWEN25,
        lambda d: edit(d, "config.json", model_type="qwen2_vl"),
        "says model_type qwen2_vl, which is not that of Qwen2_5_VLForConditionalGeneration",
    ),
    (
        QWEN3,
        lambda d: edit(d, "config.json", quantization_config={"quant_method": "fp8"}),
        "config.json describes quantised weights, which are not read: copy them/theirs there",
    ),
    (
        MISTRAL,
        lambda d: edit(d, "config.json", hidden_size="wide"),
        "config.json describes no LlavaForConditionalGeneration",
    ),
]


@pytest.mark.parametrize(("kind", "damage", "message"), DAMAGE)
def test_damaged_files_are_named(
    own: Callable[[str], Path], kind: str, damage: Callable[[Path], object], message: str
) -> None:
    directory = own(kind)
    damage(directory)
    assert message in refusal(directory, kind)


def parameters(directory: Path, kind: str) -> dict[str, torch.Tensor]:
    return dict(load(directory, kind).model.named_parameters())


def test_the_files_that_were_checked_are_loaded_and_no_others(
    wild: Callable[[str], Path], made: Callable[[str], Path], tmp_path: Path
) -> None:
    """Another network's tensors, in every place where transformers might look for them first."""
    before, directory = parameters(wild(GEMMA), GEMMA), Path(shutil.copytree(wild(GEMMA), tmp_path / "d"))
    shutil.copy(made(GEMMA) / "model.safetensors", directory / "other.safetensors")
    torch.save(load_file(made(GEMMA) / "model.safetensors"), directory / "pytorch_model.bin")
    edit(directory, "config.json", transformers_weights="other.safetensors")
    VisionLanguageModel.check_weights(directory, card_of(GEMMA))
    after = parameters(directory, GEMMA)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_an_adapter_beside_the_weights_is_not_applied(wild: Callable[[str], Path], tmp_path: Path) -> None:
    """Even one that cannot be loaded, which transformers would choke on, or that changes every answer."""
    before, directory = parameters(wild(QWEN25), QWEN25), Path(shutil.copytree(wild(QWEN25), tmp_path / "d"))
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    config["base_model_name_or_path"] = str(directory)
    (directory / "adapter_config.json").write_text(json.dumps(config))
    modules = {name.removesuffix(".weight"): one for name, one in before.items() if name.endswith("q_proj.weight")}
    lora = {
        f"base_model.model.{name}.lora_{side}.weight": torch.ones(
            (2, one.shape[1]) if side == "A" else (one.shape[0], 2)
        )
        for name, one in modules.items()
        for side in "AB"
    }
    save_file(lora, directory / "adapter_model.safetensors")
    VisionLanguageModel.check_weights(directory, card_of(QWEN25))
    after = parameters(directory, QWEN25)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_tensor_that_loading_misses_is_refused(own: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the check beforehand said nothing: transformers would fill it in at random."""
    directory = own(QWEN25)
    tensors = load_file(directory / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layers.1.mlp.up_proj.weight"))
    save_file({key: one for key, one in tensors.items() if key != name}, directory / "model.safetensors")
    monkeypatch.setattr(adapter, "check_fit", lambda *args: None)
    with pytest.raises(UserError, match=r"tensors 1 missing: .*layers\.1\.mlp\.up_proj\.weight \[48, 32\]"):
        load(directory, QWEN25)
    save_file({**tensors, name: tensors[name][:7].contiguous()}, directory / "model.safetensors")
    with pytest.raises(UserError, match=r"1 of the wrong shape: .*up_proj\.weight \[7, 32\] instead of \[48, 32\]"):
        load(directory, QWEN25)
    save_file({**tensors, "surprise": torch.ones(2)}, directory / "model.safetensors")
    with pytest.raises(UserError, match="1 unknown: surprise"):
        load(directory, QWEN25)


@pytest.mark.parametrize("kind", [GEMMA, MISTRAL])
def test_weights_are_in_memory_once(own: Callable[[str], Path], kind: str) -> None:
    """In the precision of their files they are the mapped files themselves, and those stay as they are."""
    directory = own(kind)
    model = load(directory, kind, "bfloat16").model
    paths = sorted(directory.glob("*.safetensors"))
    files = [path.read_bytes() for path in paths]
    mapped = Path("/proc/self/maps").read_text()
    assert all(str(path) in mapped for path in paths)
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(3)
    assert files == [path.read_bytes() for path in paths]


def test_an_end_that_generation_config_alone_names_ends_an_answer(
    own: Callable[[str], Path], made: Callable[[str], Path]
) -> None:
    """As a chat model's end of turn: without it the model goes on until its room is used up."""
    whole = load(made(GEMMA), GEMMA)
    ids = whole.reader.tokenizer.encode(whole.write(requests(1))[0], add_special_tokens=False)
    directory = own(GEMMA)
    edit(directory, "generation_config.json", eos_token_id=[1, ids[1]])
    cut = load(directory, GEMMA)
    assert cut._ends == [1, ids[1], whole.reader.tokenizer.eos_token_id]
    assert cut.write(requests(1)) == [whole.reader.tokenizer.decode(ids[:2]).strip()]


def test_without_ends_of_its_own_those_of_config_json_hold(own: Callable[[str], Path]) -> None:
    directory = own(GEMMA)
    edit(directory, "generation_config.json", eos_token_id=None)
    edit(directory, "config.json", eos_token_id=[1, 4])
    model = load(directory, GEMMA)
    assert model._ends == [1, 4]


def test_llava_med_needs_no_generation_config(own: Callable[[str], Path]) -> None:
    directory = own(MISTRAL)
    assert not (directory / "generation_config.json").is_file()
    assert load(directory, MISTRAL)._ends == [2]
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": 7}))
    assert load(directory, MISTRAL)._ends == [7, 2]


def test_a_grey_image_is_padded_with_one_grey(made: Callable[[str], Path]) -> None:
    """As LLaVA-Med's own code: int(255 * mean(image_mean)) for mode L, each channel's own for RGB."""
    reader = load(made(MISTRAL), MISTRAL).reader
    grey = Image.new("L", (80, 40), 200)
    squared = [reader._squared(image) for image in (grey, grey.convert("RGB"), Image.new("L", (9, 9), 5))]
    assert [one.mode for one in squared] == ["RGB"] * 3
    assert [one.getpixel((0, 0)) for one in squared] == [(114,) * 3, (122, 116, 104), (5,) * 3]
    assert [one.getpixel((40, 40)) for one in squared[:2]] == [(200,) * 3] * 2


def test_full_size_llava_med_has_the_tensors_of_its_parts() -> None:
    """The renaming reaches every parameter of the 7 B model, and no other."""
    from unix_bench.models.vlm.llava_mistral import RENAMED

    text = hf.MistralConfig(vocab_size=32_000, intermediate_size=14_336, num_key_value_heads=8, sliding_window=None)
    config = hf.LlavaConfig(text_config=text, image_token_index=0)
    with torch.device("meta"):
        language, tower = hf.MistralForCausalLM(text), hf.CLIPVisionModel(config.vision_config)
    shapes = {name: tuple(tensor.shape) for name, tensor in language.state_dict().items()}
    for name, tensor in tower.state_dict().items():
        name = name if name.startswith("vision_model.") else f"vision_model.{name}"
        shapes[f"model.vision_tower.vision_tower.{name}"] = tuple(tensor.shape)
    for index, width in (("0", 1024), ("2", 4096)):
        shapes |= {f"model.mm_projector.{index}.weight": (4096, width), f"model.mm_projector.{index}.bias": (4096,)}
    renamed = {}
    for name, shape in shapes.items():
        theirs, ours = next(pair for pair in RENAMED if name.startswith(pair[0]))
        renamed[ours + name.removeprefix(theirs)] = shape
    check_fit(hf.LlavaForConditionalGeneration, config, renamed, Path("there"))
    mistral, clip, projector = 7_241_732_096, 303_507_456, 1024 * 4096 + 4096 * 4096 + 2 * 4096
    assert sum(torch.Size(shape).numel() for shape in renamed.values()) == mistral + clip + projector
