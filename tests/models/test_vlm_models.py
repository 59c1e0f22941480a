"""Each class of chat-style model: against transformers itself, alone and in a batch, and with files that do not fit."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
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
from unix_bench.models.vlm import VisionLanguageModel, checkpoint, demo, llava_mistral
from unix_bench.models.vlm.answers import NoAnswer
from unix_bench.models.vlm.llava_mistral import TOWER, load_tokenizer
from unix_bench.models.vlm.readers import Question
from unix_bench.weights import fill_seeded

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
SEED = 8
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


def untaught(model: VisionLanguageModel) -> VisionLanguageModel:
    """The same class with weights that are random throughout, whose answers wander."""
    fill_seeded(model.model, SEED, scale=1.5)
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampling", [{}, {"temperature": 1.0, "top_p": 0.9}, {"repetition_penalty": 1.3}])
def test_reports_do_not_depend_on_the_batch(made: Callable[[str], Path], kind: str, sampling: dict[str, Any]) -> None:
    model = untaught(load(made(kind), kind, max_new_tokens=20, **sampling))
    asked = requests()
    together = model.write(asked)
    model._last = []
    assert [model.write([one])[0] for one in asked] == together
    assert model.write(asked[3:0:-1]) == together[3:0:-1]
    assert len(set(together)) > 2


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_does_what_it_is_set_to(made: Callable[[str], Path], kind: str) -> None:
    decodings = ({}, {"temperature": 2.0}, {"repetition_penalty": 1.9})
    greedy, drawn, fresh = (untaught(load(made(kind), kind, max_new_tokens=20, **one)) for one in decodings)
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
def test_answers_are_those_of_the_library(made: Callable[[str], Path], kind: str) -> None:
    """The library's own way: text of the template, then processor, then `generate`, one by one."""
    ours = untaught(load(made(kind), kind, max_new_tokens=20, system="You are a radiologist."))
    processor = hf.AutoProcessor.from_pretrained(made(kind))
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
        ids = ours.model.generate(**inputs, do_sample=False, max_new_tokens=20)
        answered = processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert ours.write([one]) == [answered.strip()]


@pytest.mark.parametrize("kind", [QWEN25, QWEN3])
def test_qwens_inputs_made_by_hand(made: Callable[[str], Path], kind: str) -> None:
    """Image tokens by the grid of patches, three-axis positions by the types: without a processor at all."""
    ours = untaught(load(made(kind), kind, max_new_tokens=20))
    tokenizer = ours.reader.tokenizer
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
        written = ours.model.generate(
            input_ids=ids, mm_token_type_ids=types, attention_mask=torch.ones_like(ids), **seen, do_sample=False,
            max_new_tokens=20,
        )  # fmt: skip
        answered = tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
        assert ours.write([one]) == [answered.strip()]
        if one.indication:  # the types do matter to these classes
            other = ours.model.generate(
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


def test_llava_med_is_its_parts_put_together(made: Callable[[str], Path]) -> None:
    vision, projector, language, tokenizer = released_parts(made(MISTRAL))
    fill_seeded(language, SEED, scale=1.5)
    ours = load(made(MISTRAL), MISTRAL, max_new_tokens=20)
    fill_seeded(language, SEED, scale=1.5)
    target = dict(ours.model.named_parameters())
    for name, parameter in language.named_parameters():  # the same wandering weights in both
        found = [key for key in target if key.endswith(f"language_model.{name.removeprefix('model.')}") or key == name]
        assert len(found) == 1, name
        target[found[0]].data.copy_(parameter)
    processor = hf.CLIPImageProcessorPil.from_pretrained(made(MISTRAL) / TOWER)
    for one in requests(4):
        image = one.image.convert("RGB")
        side = max(image.size)
        square = Image.new("RGB", (side, side), (122, 116, 104))
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
def test_an_image_and_a_question_matter(made: Callable[[str], Path], kind: str) -> None:
    model = untaught(load(made(kind), kind, max_new_tokens=20))
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
def test_the_files_of_older_releases_are_read(
    own: Callable[[str], Path], made: Callable[[str], Path], kind: str
) -> None:
    """Preprocessing and chat template in files of their own, under the names that transformers 4 wrote."""
    directory = own(kind)
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
    before, after = (
        untaught(load(place, kind, max_new_tokens=20)).write(requests()) for place in (made(kind), directory)
    )
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


def test_the_releases_decoding_is_not_followed(own: Callable[[str], Path], made: Callable[[str], Path]) -> None:
    directory = own(QWEN25)
    path = directory / "generation_config.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps({**stated, "do_sample": True, "temperature": 9.0, "repetition_penalty": 2.0}))
    before, after = (untaught(load(d, QWEN25, max_new_tokens=20)).write(requests()) for d in (made(QWEN25), directory))
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
    path = directory / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


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
