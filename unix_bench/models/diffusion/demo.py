"""Demo weights: tiny pipelines with seeded random weights, in the folders and files of the released ones.

Each has the released strides (8 pixels a latent, 32 of Sana's), so that a card's own sizes can be drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    Lumina2Transformer2DModel,
    PixArtTransformer2DModel,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
)
from safetensors.torch import save_file
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    T5Config,
    T5EncoderModel,
)

from unix_bench.cards import ModelCard
from unix_bench.errors import UserError
from unix_bench.models.diffusion.demo_tokenizers import CLIP_TOKENS, write_clip, write_gemma, write_t5
from unix_bench.models.diffusion.folder import INDEX, silent
from unix_bench.models.tiny import tiny_unet
from unix_bench.weights import fill_seeded

DEMO_VERSION = "1"  # raise it when the bytes change: made weights are cached under it
SEED = 2505_10496
GENERIC = "StableDiffusionPipeline"  # the demo of a card that names no class
WIDTH = 32  # of a token of CLIP or T5
GEMMA_WIDTH = 8
RANK = 2
ADAPTED = ("to_q", "to_k", "to_v", "to_out.0")  # what a LoRA's training adapts by default
NO_SAFETY = {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}

Parts = dict[str, Any]  # name -> network, scheduler, or the class of a tokenizer that is written already


def write_demo_weights(directory: Path, card: ModelCard) -> None:
    """Make the demo's weights of a card: its pipeline, below its base's folder where there is one, and its LoRA.

    Raises:
        UserError: There is no demo of its class.
    """
    name = card.architecture or GENERIC
    if name not in BUILDERS:
        raise UserError(f"there is no demo of {name} ({card.title}): name its weights with --weights")
    folder = directory / next(iter(card.parts), ".")
    parts, options = BUILDERS[name](folder)
    index: dict[str, Any] = {"_class_name": name, **options}
    for number, (part, what) in enumerate(sorted(parts.items())):
        kind = what if isinstance(what, str) else type(what).__name__
        if isinstance(what, nn.Module):
            fill_seeded(what, SEED + number, scale=2.0 if "encoder" in part else 1.0)
        if not isinstance(what, str):
            with silent():
                what.save_pretrained(folder / part)
        transformer = isinstance(what, str) or type(what).__module__.startswith("transformers.")
        index[part] = ["transformers" if transformer else "diffusers", kind]
    (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if lora := str(card.settings.get("generation", {}).get("lora", "")):
        network = "unet" if "unet" in parts else "transformer"
        _write_lora(parts[network], network, directory / lora)


def _write_lora(network: nn.Module, name: str, file: Path) -> None:
    """A LoRA of the network's attention that changes what it draws, as `save_lora_weights` would name it."""
    generator = torch.Generator().manual_seed(SEED)
    tensors = {}
    for path, module in network.named_modules():
        if isinstance(module, nn.Linear) and path.endswith(ADAPTED):
            given, taken = module.weight.shape
            tensors[f"{name}.{path}.lora_A.weight"] = torch.randn(RANK, taken, generator=generator)
            tensors[f"{name}.{path}.lora_B.weight"] = torch.randn(given, RANK, generator=generator)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file, metadata={"format": "pt"})


def _stable_diffusion(folder: Path) -> tuple[Parts, Parts]:
    unet = tiny_unet(WIDTH, use_linear_projection=True)
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    words = write_clip(folder / "tokenizer")
    return {
        "unet": unet,
        "vae": _vae(4, scaling_factor=0.18215),
        "scheduler": scheduler,
        "tokenizer": "CLIPTokenizer",
        "text_encoder": CLIPTextModel(_clip(words)),
    }, NO_SAFETY


def _stable_diffusion_3(folder: Path) -> tuple[Parts, Parts]:
    transformer = SD3Transformer2DModel(
        sample_size=128,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=2 * WIDTH,  # both CLIPs' side by side
        pos_embed_max_size=64,
        qk_norm="rms_norm",
        dual_attention_layers=(0,),
    )
    clips = {f"tokenizer{suffix}": write_clip(folder / f"tokenizer{suffix}") for suffix in ("", "_2")}
    words = write_t5(folder / "tokenizer_3")
    return {
        "transformer": transformer,
        "vae": _vae(4, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        **dict.fromkeys(clips, "CLIPTokenizer"),
        "tokenizer_3": "T5Tokenizer",
        "text_encoder": CLIPTextModelWithProjection(_clip(clips["tokenizer"])),
        "text_encoder_2": CLIPTextModelWithProjection(_clip(clips["tokenizer_2"])),
        "text_encoder_3": _t5(words),
    }, {"image_encoder": [None, None], "feature_extractor": [None, None]}


def _flux(folder: Path) -> tuple[Parts, Parts]:
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,  # four latents of four channels
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    )
    words, pieces = write_clip(folder / "tokenizer"), write_t5(folder / "tokenizer_2")
    return {
        "transformer": transformer,
        "vae": _vae(4, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        "tokenizer": "CLIPTokenizer",
        "tokenizer_2": "T5Tokenizer",
        "text_encoder": CLIPTextModel(_clip(words)),
        "text_encoder_2": _t5(pieces),
    }, {"image_encoder": [None, None], "feature_extractor": [None, None]}


def _pixart_sigma(folder: Path) -> tuple[Parts, Parts]:
    transformer = PixArtTransformer2DModel(
        sample_size=64,
        patch_size=2,
        in_channels=4,
        out_channels=8,  # a learned sigma beside the noise
        num_layers=2,
        num_attention_heads=3,
        attention_head_dim=8,
        cross_attention_dim=24,
        caption_channels=WIDTH,
        norm_num_groups=4,
    )
    pieces = write_t5(folder / "tokenizer")
    return {
        "transformer": transformer,
        "vae": _vae(4, scaling_factor=0.13025),
        "scheduler": DPMSolverMultistepScheduler(),
        "tokenizer": "T5Tokenizer",
        "text_encoder": _t5(pieces),
    }, {}


def _sana(folder: Path) -> tuple[Parts, Parts]:
    transformer = SanaTransformer2DModel(
        sample_size=16,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=4,
        num_cross_attention_heads=2,
        cross_attention_head_dim=4,
        cross_attention_dim=8,
        caption_channels=GEMMA_WIDTH,
    )
    vae = AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_block_out_channels=(4,) * 6,
        decoder_block_out_channels=(4,) * 6,
        encoder_qkv_multiscales=((),) * 6,
        decoder_qkv_multiscales=((),) * 6,
        encoder_layers_per_block=(1,) * 6,
        decoder_layers_per_block=(1,) * 6,
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    words = write_gemma(folder / "tokenizer")
    return {
        "transformer": transformer,
        "vae": vae,
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        "tokenizer": "GemmaTokenizerFast",
        "text_encoder": _gemma(words),
    }, {}


def _lumina_2(folder: Path) -> tuple[Parts, Parts]:
    transformer = Lumina2Transformer2DModel(
        sample_size=128,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        hidden_size=GEMMA_WIDTH,
        num_layers=2,
        num_refiner_layers=1,
        num_attention_heads=1,
        num_kv_heads=1,
        multiple_of=16,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(512, 512, 512),
        cap_feat_dim=GEMMA_WIDTH,
    )
    words = write_gemma(folder / "tokenizer")
    return {
        "transformer": transformer,
        "vae": _vae(4, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=6.0),
        "tokenizer": "GemmaTokenizerFast",
        "text_encoder": _gemma(words),
    }, {}


BUILDERS: Mapping[str, Callable[[Path], tuple[Parts, Parts]]] = {
    "StableDiffusionPipeline": _stable_diffusion,
    "StableDiffusion3Pipeline": _stable_diffusion_3,
    "FluxPipeline": _flux,
    "PixArtSigmaPipeline": _pixart_sigma,
    "SanaPipeline": _sana,
    "Lumina2Pipeline": _lumina_2,
}


def _vae(latent_channels: int, **options: Any) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        latent_channels=latent_channels,
        norm_num_groups=2,
        sample_size=64,
        **options,
    )


def _clip(words: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=words,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CLIP_TOKENS,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )


def _t5(pieces: int) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(vocab_size=pieces, d_model=WIDTH, d_kv=8, d_ff=2 * WIDTH, num_layers=2, num_heads=4, pad_token_id=0)
    )


def _gemma(words: int) -> Gemma2Model:
    return Gemma2Model(
        Gemma2Config(
            vocab_size=words,
            hidden_size=GEMMA_WIDTH,
            intermediate_size=2 * GEMMA_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=4,
            query_pre_attn_scalar=4,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=2,
        )
    )
