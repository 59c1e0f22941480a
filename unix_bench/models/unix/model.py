"""UniX: one model that reads a chest X-ray and writes its report, and draws one from a prompt (arXiv 2601.11522).

pixels --vision--> patches --connector--+
text   --embedding----------------------+--> MixtureOfTransformers --lm_head---> next word
noise  --latent_in + time + position----+                          --latent_out-> velocity --VAE--> pixels
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from unix_bench.errors import UserError
from unix_bench.models.unix import checkpoint
from unix_bench.models.unix.answering import Desk, write_answers
from unix_bench.models.unix.config import UniXConfig
from unix_bench.models.unix.drawing import Canvas
from unix_bench.models.unix.flow import RenormType, SamplerSettings, integrate
from unix_bench.models.unix.losses import Alignment, TrainBatch, packed_losses
from unix_bench.models.unix.parts import BORDER
from unix_bench.models.unix.preprocess import prepare_image
from unix_bench.models.unix.reading import Reader
from unix_bench.models.unix.room import answers_at_once, even_parts, images_at_once, rounded_up
from unix_bench.models.unix.speed import Speed

Output = Literal["pil", "tensor", "latent"]
PREPARERS = 4  # threads
PROMPT_SLOTS = 64  # prompts, and questions, take a multiple of so many where passes are recorded


class UniX(Reader):
    """The full dual-branch model. `from_pretrained` loads it; without a tokenizer the id-based calls still work."""

    tokenizer: Any = None
    # The last ones, with what was recorded on them.
    _canvas: Canvas | None = None
    _desk: Desk | None = None

    def __init__(self, config: UniXConfig, rotary_bf16: bool = False) -> None:
        super().__init__(config, rotary_bf16)
        self._decided: dict[tuple[Any, ...], int] = {}

    def forget(self) -> None:
        """Let go of what was recorded, and of the memory for it."""
        self._canvas = self._desk = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Whatever moves or casts the weights, recordings know them where they were."""
        self.forget()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        rotary_bf16: bool = False,
    ) -> UniX:
        """Load the released directory, the demo's, or any of the same layout; strictly.

        Args:
            directory: Holds `model.safetensors`, `vae/`, and optionally `config.json` and the tokenizer's files.
            dtype: Of all weights: float32 or bfloat16.
            device: Where the model runs.
            rotary_bf16: Round the rotary frequencies to bfloat16, as the published model ran.

        Raises:
            UserError: Something is missing, unreadable, or does not fit; the message names every such tensor.
        """
        directory = Path(directory)
        model = cls._without_weights(directory, rotary_bf16).allocate(dtype, device)
        checkpoint.load(*model._main_file(directory), checkpoint.UNUSED_MAIN)
        checkpoint.load(*model._vae_file(checkpoint.find_vae_file(directory)), checkpoint.UNUSED_VAE)
        if has_tokenizer(directory):
            model.tokenizer = _load_tokenizer(directory)
        return model.eval()

    def allocate(self, dtype: torch.dtype, device: str | torch.device) -> Self:
        """Give a model on the meta device memory, and what is fast there; its weights are still to be filled in."""
        self.to(dtype).to_empty(device=device)
        positions = torch.arange(self.config.vision.num_patches, device=device)[None]
        self.vision.get_submodule("embeddings").register_buffer("position_ids", positions, persistent=False)
        self.be_fast(Speed.on(self.device))
        return self

    @classmethod
    def check_pretrained(cls, directory: str | Path) -> None:
        """See whether `from_pretrained` would find every tensor, reading only the files' headers; raises as it does."""
        directory = Path(directory)
        model = cls._without_weights(directory)
        _, ties, path = model._main_file(directory)
        checkpoint.check(ties, path, checkpoint.UNUSED_MAIN)
        _, ties, path = model._vae_file(checkpoint.find_vae_file(directory))
        checkpoint.check(ties, path, checkpoint.UNUSED_VAE)

    @classmethod
    def _without_weights(cls, directory: Path, rotary_bf16: bool = False) -> UniX:
        """The model a directory describes, on the meta device: no time is spent on weights that a file replaces."""
        if not directory.is_dir():
            raise UserError(f"{directory} is not a directory of UniX weights")
        with torch.device("meta"):
            return cls(UniXConfig.from_directory(directory), rotary_bf16)

    def save_pretrained(self, directory: str | Path, dtype: torch.dtype = torch.bfloat16, **config_extra: Any) -> None:
        """Write the layout that `from_pretrained` reads; the VAE goes to `vae/vae.safetensors`."""
        directory = Path(directory)
        vae_file = directory / checkpoint.VAE_FOLDER / "vae.safetensors"
        vae_file.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(*self._main_file(directory), dtype)
        checkpoint.save(*self._vae_file(vae_file), dtype)
        (directory / "config.json").write_text(self.config.to_json(**config_extra), encoding="utf-8")
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(directory)

    def _main_file(self, directory: Path) -> tuple[nn.Module, list[checkpoint.Tie], Path]:
        ties = checkpoint.main_ties(self.config, checkpoint.parameter_shapes(self))
        return self, list(ties), directory / checkpoint.MAIN_FILE

    def _vae_file(self, path: Path) -> tuple[nn.Module, list[checkpoint.Tie], Path]:
        ties = checkpoint.vae_ties(self.config, checkpoint.parameter_shapes(self.vae))
        return self.vae, list(ties), path

    # Reading

    def generate_ids(
        self,
        pixel_values: Tensor,
        prompt_ids: Sequence[Sequence[int]],
        max_new_tokens: int,
        eos_token_id: int | None = None,
    ) -> list[list[int]]:
        """Answer a prompt about each image, greedily.

        Args:
            pixel_values: [n, 3, H, W], normalised.
            prompt_ids: n token lists, each a whole text segment with its bos and eos; lengths may differ.
            max_new_tokens: At most so many tokens follow the answer's bos.
            eos_token_id: Ends an answer; the model's own if None.

        Returns:
            n lists: the answer's bos, then the new ids, eos left out.
        """
        if len(prompt_ids) != len(pixel_values):
            raise ValueError(f"{len(pixel_values)} images but {len(prompt_ids)} prompts")
        return self._answers(lambda part: pixel_values[part], prompt_ids, max_new_tokens, eos_token_id)

    @torch.inference_mode()
    def _answers(
        self,
        pixels: Callable[[slice], Tensor],
        prompt_ids: Sequence[Sequence[int]],
        max_new_tokens: int,
        eos_token_id: int | None = None,
    ) -> list[list[int]]:
        """As `generate_ids`; the pixels of some images are asked for when their turn comes."""
        tokens = self.config.special_tokens
        eos = tokens.eos_token_id if eos_token_id is None else eos_token_id
        if not prompt_ids or max_new_tokens < 1:
            return [[tokens.bos_token_id] for _ in prompt_ids]
        with self._forgetting_at_an_error():
            desk = self._desk_for(len(prompt_ids), max(map(len, prompt_ids)), max_new_tokens, eos)
            return [[tokens.bos_token_id, *answer] for answer in write_answers(desk, pixels, prompt_ids)]

    @contextmanager
    def _forgetting_at_an_error(self) -> Iterator[None]:
        """Where memory was short, a smaller batch shall find what the larger one took."""
        try:
            yield
        except BaseException:
            self.forget()
            raise

    def _desk_for(self, answers: int, question: int, longest: int, end: int) -> Desk:
        """The last desk where steps are recorded and it serves, else a new one."""
        if self.speed.graphs:
            question = rounded_up(question, PROMPT_SLOTS)
        slots = self.image_tokens + question + 2 * longest
        most = self._most(("answers", slots), lambda: answers_at_once(self.config, slots, self.dtype, self.device))
        desk, wanted, sizes = self._desk, min(answers, most), (question, longest, end)
        if desk is None or desk.seats < wanted or (desk.question, desk.longest, desk.end) != sizes:
            self._desk = None
            desk = Desk(self, wanted, *sizes)
        self._desk = desk if self.speed.graphs else None
        return desk

    def _most(self, what: tuple[Any, ...], decide: Callable[[], int]) -> int:
        """How many fit side by side, decided by the free memory when it is first asked for something of these sizes."""
        if what not in self._decided:
            self.forget()  # what it takes is free then
            self._decided[what] = decide()
        return self._decided[what]

    # Drawing

    @torch.inference_mode()
    def draw(
        self,
        prompts: Sequence[str] | None = None,
        prompt_ids: Sequence[Sequence[int]] | None = None,
        noise: Tensor | None = None,
        seeds: Sequence[int] | None = None,
        size: tuple[int, int] = (512, 512),
        num_timesteps: int = 50,
        timestep_shift: float = 3.0,
        cfg_text_scale: float = 2.0,
        cfg_img_scale: float = 1.0,
        cfg_interval: tuple[float, float] = (0.4, 1.0),
        cfg_renorm_type: RenormType = "global",
        cfg_renorm_min: float = 0.0,
        output: Output = "pil",
    ) -> list[Image.Image] | Tensor:
        """Draw one image a prompt. A sample depends on its own prompt and noise alone, not on its batch.

        Args:
            prompts: n texts; or
            prompt_ids: n token lists, each a whole text segment with its bos and eos.
            noise: Where each walk begins, [n, tokens, z] float32; or
            seeds: n seeds of a CPU generator that draws it.
            size: (height, width) in pixels, multiples of the VAE's stride.
            num_timesteps: Points of the time grid as the paper counts them: 50 -> 49 steps.
            timestep_shift: This and the following are explained at `SamplerSettings`.
            cfg_text_scale: Guidance by text.
            cfg_img_scale: Guidance by image; with a text-only prompt it stretches the guidance by text.
            cfg_interval: Times at which guidance holds, (low, high].
            cfg_renorm_type: "global", "channel" or "text_channel".
            cfg_renorm_min: Least factor of the renormalisation.
            output: "pil": n 8-bit RGB images; "tensor": decoded [n, 3, H, W] before the clamp; "latent":
                [n, z, H / stride, W / stride] before the VAE's scale and shift are undone.

        Raises:
            ValueError: The size does not fit the model, or the arguments do not match each other.
        """
        settings = SamplerSettings(
            num_timesteps, timestep_shift, cfg_text_scale, cfg_img_scale, cfg_interval, cfg_renorm_type, cfg_renorm_min
        )
        if (prompts is None) == (prompt_ids is None):
            raise ValueError("give either prompts or prompt_ids")
        if prompt_ids is None:
            prompt_ids = [self.text_segment(prompt) for prompt in prompts or ()]
        grid = self._latent_grid(size)
        noise = self._start(len(prompt_ids), grid[0] * grid[1], noise, seeds)
        if not prompt_ids:
            return [] if output == "pil" else noise
        with self._forgetting_at_an_error():
            walked = [
                integrate(self.canvas(prompt_ids[part], grid).velocity, self.time_embedder, noise[part], settings)
                for part in self._parts(prompt_ids, grid)
            ]
        latents: Tensor = torch.cat(walked).transpose(1, 2).unflatten(2, grid)
        if output == "latent":
            return latents
        parts = latents.to(self.dtype).split(self.speed.decoded_at_once)
        decoded = torch.cat([self.vae.decode(part) for part in parts]).float()
        return decoded if output == "tensor" else to_images(decoded)

    def _parts(self, prompt_ids: Sequence[Sequence[int]], grid: tuple[int, int]) -> list[slice]:
        """Which prompts are drawn at once."""
        tokens, room = grid[0] * grid[1], self._room(prompt_ids, grid)
        most = self._most(
            ("images", tokens, room), lambda: images_at_once(self.config, tokens, room, self.dtype, self.device)
        )
        return even_parts(len(prompt_ids), most)

    def _room(self, prompt_ids: Sequence[Sequence[int]], grid: tuple[int, int]) -> int:
        """Slots of the longest prompt; where passes are recorded few sizes cover all, and with the image's are even."""
        longest, own = max(map(len, prompt_ids), default=0), BORDER + grid[0] * grid[1]
        return rounded_up(longest + own, PROMPT_SLOTS) - own if self.speed.graphs else longest

    def canvas(self, prompt_ids: Sequence[Sequence[int]], grid: tuple[int, int]) -> Canvas:
        """The images of n prompts in the making, rows x columns latents each; the prompts are read once."""
        batch, room, canvas = len(prompt_ids), self._room(prompt_ids, grid), self._canvas
        if canvas is None or (canvas.batch, canvas.room, canvas.grid) != (batch, room, grid):
            self._canvas = None
            canvas = Canvas(self, batch, room, grid)
        self._canvas = canvas if self.speed.graphs else None
        canvas.read(prompt_ids)
        return canvas

    def _latent_grid(self, size: tuple[int, int]) -> tuple[int, int]:
        stride, side = self.config.vae.ddconfig.stride, self.config.max_latent_size
        if self.config.vae.ddconfig.resolution // 16 != stride:  # the reference lays tokens out by resolution // 16
            raise ValueError(f"the VAE halves to 1/{stride}, its nominal resolution // 16 says otherwise")
        if any(pixels <= 0 or pixels % stride or pixels // stride > side for pixels in size):
            raise ValueError(
                f"size {size[0]} x {size[1]}: each side must be a multiple of {stride} and at most {stride * side}"
            )
        return size[0] // stride, size[1] // stride

    def _start(self, batch: int, tokens: int, noise: Tensor | None, seeds: Sequence[int] | None) -> Tensor:
        shape = (tokens, self.config.vae.ddconfig.z_channels)
        if (noise is None) == (seeds is None):
            raise ValueError("give either noise or seeds, so that a drawing can be repeated")
        if noise is None:
            drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds or ()]
            noise = torch.stack(drawn) if drawn else torch.empty(0, *shape)
        if tuple(noise.shape) != (batch, *shape):
            raise ValueError(f"noise must be [{batch}, {shape[0]}, {shape[1]}], not {list(noise.shape)}")
        return noise.to(self.device, torch.float32)

    # Learning

    def losses(
        self, batch: TrainBatch, timestep_shift: float = 1.0, alignment: Alignment | None = None
    ) -> dict[str, Tensor]:
        """Training losses of a packed batch, those that it asks for, unreduced and with gradients.

        Args:
            batch: What is learnt.
            timestep_shift: Shift of the sampled times; the release trains with 1.
            alignment: How latents are held against `batch.encoder_features`; None: they are not.

        Returns:
            "ce": next word, [labels]; "mse": squared velocity error, [latents with noise, z]; "repa": a scalar.
        """
        return packed_losses(self, batch, timestep_shift, alignment)

    # Words

    def text_segment(self, text: str) -> list[int]:
        """[bos] + tokens + [eos], encoded with the tokenizer's own special tokens as the released inference does."""
        if self.tokenizer is None:
            raise UserError(
                "these UniX weights come without a tokenizer: copy tokenizer.json and its config beside them"
            )
        tokens = self.config.special_tokens
        return [tokens.bos_token_id, *self.tokenizer.encode(text), tokens.eos_token_id]

    def write_reports(
        self, images: Sequence[Image.Image], instructions: Sequence[str], max_new_tokens: int = 499
    ) -> list[str]:
        """Answer an instruction about each image, greedily; any Pillow mode."""
        if len(images) != len(instructions):
            raise ValueError(f"{len(images)} images but {len(instructions)} instructions")
        questions = [self.text_segment(text) for text in instructions]
        with ThreadPoolExecutor(
            PREPARERS
        ) as threads:  # the first are read, and answered, while later ones are prepared
            prepared = [threads.submit(prepare_image, image, self.config.vision.image_size) for image in images]
            answers = self._answers(
                lambda part: torch.stack([one.result() for one in prepared[part]]), questions, max_new_tokens
            )
        return [self.tokenizer.decode(ids[1:], skip_special_tokens=True).strip() for ids in answers]


def to_images(decoded: Tensor) -> list[Image.Image]:
    """Decoded [n, 3, H, W] about [-1, 1] to 8-bit RGB, clamped and truncated as the reference does.

    Raises:
        ValueError: A pixel is not finite.
    """
    if not torch.isfinite(decoded).all():
        raise ValueError("the model drew NaN or Inf")
    pixels = ((decoded * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0).to(torch.uint8).permute(0, 2, 3, 1)
    return [Image.fromarray(np.ascontiguousarray(one)) for one in pixels.cpu().numpy()]


def has_tokenizer(directory: Path) -> bool:
    """Do the files of a tokenizer lie in the directory?"""
    return any((directory / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model"))


def _load_tokenizer(directory: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(directory), local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"{directory}: the tokenizer files cannot be read ({first}): copy them again") from error
