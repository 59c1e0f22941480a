"""Demo weights: a tiny model of each class in the files of its release, the same bytes every time.

Their layers are random, but from the last token of a question on, each token leads to one of the next sentence's: so a
demo writes a short report that ends, in the box or section that its card takes it from. Which of the sentences come
depends on image and question through the random layers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from PIL import Image

from unix_bench.cards import ModelCard
from unix_bench.models.plain_words import quiet
from unix_bench.models.tiny import byte_level_bpe, llama_tokenizer
from unix_bench.models.vlm.checkpoint import model_class
from unix_bench.models.vlm.llava_mistral import ARCHITECTURE, MODEL_TYPE, RENAMED, TOWER, Release
from unix_bench.models.vlm.readers import PROCESSORS, ChatReader, Question, Reader
from unix_bench.weights import fill_seeded

DEMO_VERSION = "1"  # raise it when the bytes change: made weights are cached under it
SEED = 20_261_125
HIDDEN, CODES = 32, 16  # of the hidden numbers so many say where in the report a token stands
LOUD, LEAD, OWN = 30.0, 8.0, 4.0  # of a token's embedding; of its place in the scores; of the rest there
PLACES = 4096
SENTENCES = (
    ("The heart is enlarged.", "The heart size is normal.", "There is mild cardiomegaly."),
    (" There is pulmonary edema.", " The lungs are clear.", " There is a right lower lobe consolidation."),
    (" There is a small left pleural effusion.", " No pleural effusion.", " No pneumothorax."),
    (" A central line ends in the right atrium.", " No acute osseous abnormality.", " There is a left rib fracture."),
)
SMALL_TEXT = {
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": PLACES,
}
SMALL_VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2}
IMAGES = {"do_convert_rgb": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}

QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA_CHAT = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'system' %}<start_of_turn>user\n{{ message.content[0].text }}\n\n"
    "{% else %}{% if loop.first %}<start_of_turn>user\n{% endif %}"
    "{% for part in message.content %}{% if part.type == 'image' %}<start_of_image>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<end_of_turn>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
JANUS_CHAT = (
    "{% for message in messages %}{{ message.role }}: "
    "{% for part in message.content %}{% if part.type == 'image' %}<image_placeholder>\n"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}\n\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)
LLAVA_CHAT = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ message.content[0].text }} {% else %}USER: "
    "{% for part in message.content %}{% if part.type == 'image' %}<image>\n"
    "{% else %}{{ part.text }}{% endif %}{% endfor %} {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def write_demo_weights(directory: Path, card: ModelCard) -> None:
    """Make the directory and write a tiny checkpoint of the card's class, of LLaVA in the layout of LLaVA-Med."""
    directory.mkdir(parents=True)
    write = write_llava_mistral if card.architecture == hf.LlavaForConditionalGeneration.__name__ else write_tiny
    write(directory, card)


def write_tiny(directory: Path, card: ModelCard) -> None:
    """Write a tiny checkpoint of the card's class as transformers saves it."""
    report = _report_of(card)
    processor, config = BUILDERS[card.architecture](report)
    with quiet():
        processor.save_pretrained(directory)
        model = _filled(model_class(card.architecture), config)
        _teach(model, ChatReader.load(directory, card.architecture), report)
        model.to(torch.bfloat16).save_pretrained(directory)


def write_llava_mistral(directory: Path, card: ModelCard) -> None:
    """Write a tiny LLaVA-Med v1.5: the tower's tensors among the others, in two shards."""
    report = _report_of(card)
    tokenizer = _mistral_tokenizer(report)
    tower = directory / TOWER
    vision = _clip_config()
    with quiet():
        tokenizer.save_pretrained(directory)
        vision.save_pretrained(tower)
        _clip_images().save_pretrained(tower)
    stated = {
        **SMALL_TEXT,
        "architectures": [ARCHITECTURE],
        "model_type": MODEL_TYPE,
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "image_aspect_ratio": "pad",
        "mm_hidden_size": vision.hidden_size,
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": f"openai/{TOWER}",
    }
    (directory / "config.json").write_text(json.dumps(stated, indent=2) + "\n", encoding="utf-8")
    release = Release(directory, card)
    model = _filled(hf.LlavaForConditionalGeneration, release.config)
    _teach(model, release.reader(), report)
    with quiet():
        model.to(torch.bfloat16).save_pretrained(directory / "made", max_shard_size="100KB")
    _as_released(directory / "made", directory)


def _as_released(made: Path, directory: Path) -> None:
    """Give the tensors that transformers saved the names of the release, in shards with an index."""
    from safetensors.torch import load_file, save_file

    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(made.glob("*.safetensors")):
        tensors |= {_released(name): tensor for name, tensor in load_file(path).items()}
    for path in made.iterdir():
        path.unlink()
    made.rmdir()
    names = sorted(tensors)
    halves = (names[: len(names) // 2], names[len(names) // 2 :])
    places: dict[str, str] = {}
    for index, half in enumerate(halves, start=1):
        file = f"model-{index:05}-of-{len(halves):05}.safetensors"
        save_file({name: tensors[name] for name in half}, directory / file, metadata={"format": "pt"})
        places |= dict.fromkeys(half, file)
    index_file = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": places}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index_file, indent=2) + "\n", encoding="utf-8")


def _released(name: str) -> str:
    theirs, ours = next(pair for pair in RENAMED if name.startswith(pair[1]))
    inner = name.removeprefix(ours)
    # Newer versions of transformers save a tower without the name of the module that it once was in.
    return theirs + (f"vision_model.{inner.removeprefix('vision_model.')}" if "vision_tower" in theirs else inner)


def _report_of(card: ModelCard) -> list[tuple[str, ...]]:
    """The parts of a demo's report, one of each to be chosen, in the frame that the card takes a report from."""
    stated = card.settings.get("report", {})
    name = str(stated.get("section", ""))
    section = ("<answer>", "</answer>") if name.lower() == "answer" else (f"{name.upper()}: ", "")
    before, after = {"boxed": ("\\boxed{", "}"), "section": section}.get(str(stated.get("extract")), ("", ""))
    frame = [[(text,)] if text else [] for text in (before, after)]
    return [*frame[0], *SENTENCES, *frame[1]]


def _tokenizer(special: Sequence[str], report: Sequence[Sequence[str]], **names: Any) -> Any:
    """A tokenizer in which each part of the report is one token."""
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=byte_level_bpe(special), **names)
    tokenizer.add_tokens([text for choice in report for text in choice])
    return tokenizer


def _mistral_tokenizer(report: Sequence[Sequence[str]]) -> Any:
    tokenizer = llama_tokenizer()
    tokenizer.add_tokens([text for choice in report for text in choice])
    return tokenizer


def _filled(model: Any, config: Any) -> Any:
    made = model(config)
    fill_seeded(made, SEED)
    return made.eval()


@torch.no_grad()
def _teach(model: Any, reader: Reader, report: Sequence[Sequence[str]]) -> None:
    """Have each token lead to the report's next part; see the head of this file."""
    asked = reader.read([Question(Image.new("RGB", (64, 64)), "", "Describe this image.")])
    last = int(asked["input_ids"][0, -1])
    parts = [[reader.tokenizer.convert_tokens_to_ids(text) for text in choice] for choice in report]
    embedded, scores = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert len(parts) < CODES
    scores[:, :CODES] = 0
    for place, chosen in enumerate([[last], *parts]):
        embedded[chosen, :CODES] = LOUD * torch.eye(CODES)[place]
    for place, chosen in enumerate([*parts, [reader.tokenizer.eos_token_id]]):
        scores[chosen, :CODES] = LEAD * torch.eye(CODES)[place]
        scores[chosen, CODES:] *= OWN


def _qwen(report: Sequence[Sequence[str]], vision: Mapping[str, Any], kind: str) -> tuple[Any, Any]:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    special += ["<|image_pad|>", "<|video_pad|>"]
    tokenizer = _tokenizer(special, report, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in special}
    size = {"shortest_edge": 256, "longest_edge": 1024}  # pixels
    images = hf.Qwen2VLImageProcessorPil(patch_size=4, merge_size=2, temporal_patch_size=2, size=size)
    processor = PROCESSORS[f"{kind}ForConditionalGeneration"](images, tokenizer, QWEN_CHAT)
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}
    text = {**SMALL_TEXT, "head_dim": 8, "vocab_size": len(tokenizer), "rope_parameters": rope, "bos_token_id": None}
    config = getattr(hf, f"{kind}Config")(
        text_config={**text, "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]},
        vision_config={"depth": 2, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2, **vision},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    return processor, config


def _qwen25(report: Sequence[Sequence[str]]) -> tuple[Any, Any]:
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": HIDDEN}
    return _qwen(report, {**vision, "window_size": 16, "fullatt_block_indexes": [1]}, "Qwen2_5_VL")


def _qwen3(report: Sequence[Sequence[str]]) -> tuple[Any, Any]:
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": HIDDEN}
    return _qwen(report, {**vision, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}, "Qwen3VL")


def _gemma3(report: Sequence[Sequence[str]]) -> tuple[Any, Any]:
    special = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
    own = {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    }
    tokenizer = _tokenizer(
        [*special, *own.values()],
        report,
        bos_token="<bos>",
        eos_token="<end_of_turn>",
        pad_token="<pad>",
        extra_special_tokens=own,
    )
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in own.items()}
    images = hf.Gemma3ImageProcessorPil(size={"height": 56, "width": 56}, **IMAGES)
    processor = hf.Gemma3Processor(images, tokenizer, chat_template=GEMMA_CHAT, image_seq_length=4)
    text = {**SMALL_TEXT, "head_dim": 8, "vocab_size": len(tokenizer), "sliding_window": 16, "pad_token_id": 0}
    layers = ["sliding_attention", "full_attention"]  # without the latter, a long question hides the image
    config = hf.Gemma3Config(
        text_config={**text, "layer_types": layers, "bos_token_id": 2, "eos_token_id": tokenizer.eos_token_id},
        vision_config={**SMALL_VISION, "image_size": 56, "patch_size": 14},
        mm_tokens_per_image=4,
        image_token_index=ids["image_token"],
        boi_token_index=ids["boi_token"],
        eoi_token_index=ids["eoi_token"],
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    return processor, config


def _janus(report: Sequence[Sequence[str]]) -> tuple[Any, Any]:
    own = {
        "image_token": "<image_placeholder>",
        "boi_token": "<begin_of_image>",
        "eoi_token": "<end_of_image>",
    }
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    special = [*names.values(), *own.values()]
    tokenizer = _tokenizer(special, report, **names, extra_special_tokens=own)
    images = hf.JanusImageProcessorPil(size={"height": 32, "width": 32}, min_size=8, **IMAGES)
    processor = hf.JanusProcessor(images, tokenizer, chat_template=JANUS_CHAT, num_image_tokens=16)
    config = hf.JanusConfig(
        text_config={
            **SMALL_TEXT,
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "mlp_ratio": 1.5,
            "projection_dim": HIDDEN,
            "num_image_tokens": 16,
        },
        vq_config={
            "embed_dim": 8,
            "num_embeddings": 16,
            "latent_channels": 8,
            "base_channels": 32,
            "channel_multiplier": [1, 1],
            "num_res_blocks": 1,
            "projection_dim": HIDDEN,
            "num_patches": 4,
            "image_token_embed_dim": HIDDEN,
        },
        image_token_id=tokenizer.convert_tokens_to_ids(own["image_token"]),
        tie_word_embeddings=False,
    )
    return processor, config


def _llava(report: Sequence[Sequence[str]]) -> tuple[Any, Any]:
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    tokenizer = _tokenizer([*names.values(), "<image>"], report, **names)
    processor = hf.LlavaProcessor(
        _clip_images(),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=LLAVA_CHAT,
        num_additional_image_tokens=1,
    )
    text = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 3}
    config = hf.LlavaConfig(
        vision_config=_clip_config(),
        text_config=hf.MistralConfig(**SMALL_TEXT, **text),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )
    return processor, config


def _clip_config() -> Any:
    return hf.CLIPVisionConfig(**SMALL_VISION, image_size=56, patch_size=14, projection_dim=32)


def _clip_images() -> Any:
    return hf.CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})


BUILDERS: Mapping[str, Callable[[Sequence[Sequence[str]]], tuple[Any, Any]]] = {
    "Gemma3ForConditionalGeneration": _gemma3,
    "JanusForConditionalGeneration": _janus,
    "LlavaForConditionalGeneration": _llava,
    "Qwen2_5_VLForConditionalGeneration": _qwen25,
    "Qwen3VLForConditionalGeneration": _qwen3,
}
