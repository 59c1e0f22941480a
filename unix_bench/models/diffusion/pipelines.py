"""Classes of pipelines as data: which settings each takes, and which argument of its call each becomes.

A class that has no row here takes what its call takes: see `Asked.of`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers

from unix_bench.errors import UserError

# Of every class: setting -> argument. What guidance leads away from is said once a prompt.
COMMON = {"steps": "num_inference_steps", "guidance_scale": "guidance_scale", "height": "height", "width": "width"}
NEGATIVE = "negative_prompt"
GUIDANCE = "guidance_scale"
NEEDED = frozenset({*COMMON.values(), "prompt", "generator", "output_type"})
# A class that takes one of these draws from another image, or from its outlines.
IMAGES = frozenset({"control_image", "controlnet"})
CLIP = "clip_tokens"  # no argument of any call: it is a tokenizer's length
OFF = {"complex_human_instruction": None, "system_prompt": ""}  # switches: the pipeline's own words, or none
PLAIN = (bool, int, float, str)


@dataclass(frozen=True)
class Asked:
    """How a class of pipelines is asked.

    Attributes:
        own: Settings beyond those of every class -> an example of what each is; arguments have the same names.
        multiple: Height and width are a multiple of it.
        stride: Pixels along each side of one latent that the class takes for granted; None: it asks its VAE.
        most_tokens: Bound of `max_sequence_length`; None: there is none.
        negative: Takes a negative prompt.
        guided_by: Setting above 1 at which it is guided away from the negative prompt; None: not known.
        shifted: Its VAE's latents have a shift beside their scale.
    """

    own: Mapping[str, bool | int | float | str]
    multiple: int = 8
    stride: int | None = None
    most_tokens: int | None = None
    negative: bool = True
    guided_by: str | None = GUIDANCE
    shifted: bool = False

    @property
    def called(self) -> frozenset[str]:
        """Which of its own settings are arguments of the call."""
        return frozenset(self.own) - {CLIP}

    @classmethod
    def of(cls, name: str) -> Asked:
        """The row of a class, else what its signature says: its plain arguments, all of which are then passed on.

        What is `UNASKED` stays off unless a card says otherwise, whatever the class has for a default.
        """
        return TABLE.get(name) or cls._by_signature(name)

    @classmethod
    def _by_signature(cls, name: str) -> Asked:
        arguments = inspect.signature(pipeline_class(name).__call__).parameters
        own = {
            key: False if key in UNASKED else argument.default
            for key, argument in arguments.items()
            if isinstance(argument.default, PLAIN)
            and key not in NOT_ASKED | NEEDED | {NEGATIVE}
            and not key.startswith("callback")
        }
        return cls(own, negative=NEGATIVE in arguments, guided_by=None)


# Arguments that say how the answer is handed over, not what it is; and those of others than the first prompt.
NOT_ASKED = {"return_dict", "num_images_per_prompt", "prompt_2", "prompt_3", "negative_prompt_2", "negative_prompt_3"}
# Rewords prompts, if packages are there that no pipeline needs; draws another size than asked for, and resizes.
UNASKED = {"clean_caption", "use_resolution_binning"}

TABLE: Mapping[str, Asked] = {
    "StableDiffusionPipeline": Asked({"eta": 0.0, "guidance_rescale": 0.0, CLIP: 77}),
    "StableDiffusion3Pipeline": Asked(
        {"max_sequence_length": 512, CLIP: 77}, multiple=16, most_tokens=512, shifted=True
    ),
    "FluxPipeline": Asked(
        {"max_sequence_length": 512, "true_cfg_scale": 1.0, CLIP: 77},
        multiple=16,
        most_tokens=512,
        guided_by="true_cfg_scale",
        shifted=True,
    ),
    "PixArtSigmaPipeline": Asked({"max_sequence_length": 300, **dict.fromkeys(sorted(UNASKED), False)}, multiple=16),
    "SanaPipeline": Asked(
        {
            "max_sequence_length": 300,
            **dict.fromkeys(sorted(UNASKED), False),
            "complex_human_instruction": True,
        },
        multiple=32,
    ),
    "Lumina2Pipeline": Asked(
        {"max_sequence_length": 256, "cfg_trunc_ratio": 1.0, "cfg_normalization": True, "system_prompt": True},
        multiple=16,
        stride=8,
        shifted=True,
    ),
}


def pipeline_class(name: str) -> Any:
    """The class of diffusers of that name.

    Raises:
        UserError: There is none, or it does not make images of prompts alone.
    """
    found = getattr(diffusers, name, None) if name.endswith("Pipeline") else None
    if found is None:
        raise UserError(f"diffusers {diffusers.__version__} has no pipeline '{name}': see to its model_index.json")
    if name not in TABLE and not _draws_from_prompts(found):
        raise UserError(f"{name} does not draw images from prompts alone: give a text-to-image pipeline")
    return found


def _draws_from_prompts(kind: Any) -> bool:
    from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

    called = inspect.signature(kind.__call__).parameters.keys()
    made = inspect.signature(kind.__init__).parameters.keys()
    return kind in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values() and called >= NEEDED and not (called | made) & IMAGES
