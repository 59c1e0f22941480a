"""Both towers of BioViL-T: cosines of their embeddings are the alignment score."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from unix_bench.errors import UserError, unknown_name
from unix_bench.features.biovil_t.image import ImageNetwork, image_shape, load_image_network, prepare_image
from unix_bench.features.biovil_t.text import TextNetwork, TextReader, load_text_network, text_weights
from unix_bench.features.encoder import encode_in_batches, identity_of
from unix_bench.features.geometry import CENTRE_CROP, PAD_SQUARE
from unix_bench.features.places import BIOVIL_T
from unix_bench.features.pretrained import BATCH, DTYPES
from unix_bench.released import CONFIG
from unix_bench.weights import TensorFile, digest_file, stand_in_name

GEOMETRIES = (PAD_SQUARE, CENTRE_CROP)
IMAGE_WEIGHTS = "biovil_t_image_model_proj_size_128.pt"
TOKENIZER = ("vocab.txt", "tokenizer.json", "tokenizer_config.json")


class BioViLT:
    """Embeddings of images and texts, of length 1, so that a product of two is their cosine.

    Attributes:
        name: As it stands in metric names, which `column` repeats: no scoring has two geometries.
        geometry: How images are fitted: `pad-square`, or hi-ml-multimodal's `centre-crop`.
        stand_in: False: it runs with the released weights, or not at all.
        dtype: What the networks compute in.
        batch_size: Images or texts a network sees at once.
    """

    name = column = "biovilt"
    stand_in = False

    def __init__(
        self,
        directory: Path,
        cache: Path,
        geometry: str = PAD_SQUARE,
        device: str = "cpu",
        dtype: str = "float32",
        batch_size: int = BATCH,
    ) -> None:
        """Name the folder; either tower is loaded when it is first needed.

        Args:
            directory: Folder with the files of `microsoft/BiomedVLP-BioViL-T`, image and text model alike.
            cache: Where digests of big files are kept.
            geometry: How images are fitted; see `prepare_image`.
            device: "cpu" or "cuda".
            dtype: "float32" or "bfloat16"; embeddings are float32 either way.
            batch_size: Images or texts a network sees at once; it moves an embedding by rounding alone.

        Raises:
            UserError: The folder holds a stand-in.
            ValueError: No such geometry or dtype.
        """
        if geometry not in GEOMETRIES:
            raise ValueError(str(unknown_name("geometry", geometry, GEOMETRIES)))
        if dtype not in DTYPES:
            raise ValueError(str(unknown_name("dtype", dtype, DTYPES)))
        if batch_size < 1:
            raise ValueError(f"a batch has at least one image or text, not {batch_size}")
        if (stand_in := stand_in_name(directory)) is not None:
            raise UserError(f"{directory} holds the stand-in {stand_in}: copy {BIOVIL_T} there")
        self.geometry, self.dtype, self.batch_size = geometry, dtype, batch_size
        self._directory, self._cache, self._device = directory, cache, device

    @cached_property
    def dim(self) -> int:
        """Length of an embedding, 128 in the release.

        Raises:
            UserError: The image model's file is missing or damaged.
        """
        with TensorFile.open(self._directory / IMAGE_WEIGHTS) as file:
            return image_shape(file.shapes).joint

    @cached_property
    def digest(self) -> str:
        """sha256 over both models' weights, the text model's configuration and its vocabulary."""
        needed = (self._directory / IMAGE_WEIGHTS, text_weights(self._directory), self._directory / CONFIG)
        for path in needed:
            if not path.is_file():
                raise UserError(f"{path} is missing: copy it from {BIOVIL_T}")
        words = (self._directory / name for name in TOKENIZER)
        total = hashlib.sha256()
        for path in (*needed, *(path for path in words if path.is_file())):
            total.update(f"{path.name} {digest_file(path, self._cache)}\n".encode())
        return total.hexdigest()

    @property
    def identity(self) -> str:
        """All that decides an embedding, in a line."""
        return identity_of(self)

    @cached_property
    def _image_network(self) -> ImageNetwork:
        return load_image_network(self._directory / IMAGE_WEIGHTS).to(self._device, DTYPES[self.dtype])

    @cached_property
    def _text_network(self) -> TextNetwork:
        return load_text_network(self._directory, self.dim).to(self._device, DTYPES[self.dtype])

    @cached_property
    def _reader(self) -> TextReader:
        return TextReader(self._directory, self._text_network.bert.config.max_position_embeddings)

    def prepare(self, image: Image.Image) -> Tensor:
        """Grey values of an image of mode L or RGB, any size: [1, 448, 448] in 0..1."""
        return torch.from_numpy(prepare_image(image, self.geometry))[None]

    @torch.inference_mode()
    def embed(self, pixels: Tensor) -> Tensor:
        """Prepared images [n, 1, 448, 448] to float32 [n, dim] of length 1 on the CPU.

        An embedding is the mean over the projected patches, which the package's score takes.

        Raises:
            UserError: The weights are missing, damaged or of another model; names the tensors.
        """
        grey = pixels.to(self._device, DTYPES[self.dtype]).expand(-1, 3, -1, -1)
        return normalize(self._image_network(grey).float(), dim=-1).cpu()

    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        """Embeddings of images, float32 [n, dim] of length 1 on the CPU.

        Args:
            images: Mode L or RGB, any size.

        Raises:
            UserError: The weights are missing, damaged or of another model; names the tensors.
        """
        return encode_in_batches(self, images)

    @torch.inference_mode()
    def text_embeddings(self, texts: Sequence[str], truncate: bool = True) -> tuple[Tensor, NDArray[np.bool_]]:
        """float32 [n, dim] of length 1 on the CPU, and [n], which texts were cut to what the model reads (512 tokens).

        Args:
            texts: Sentences or whole reports; the model was trained on sentences.
            truncate: Read the first 512 tokens of a longer text, and special tokens that it spells out as words.
                False is the published way: either is refused.

        Raises:
            TextTooLong: A text is too long and may not be truncated; a ValueError.
            SpecialTokenInText: A text holds "[SEP]" or its like and `truncate` is False; a ValueError.
            UserError: A file is missing, damaged or of another model.
        """
        tokens, cut = self._reader.read(texts, truncate)
        order = sorted(range(len(texts)), key=lambda index: len(tokens[index]))
        rows = torch.empty(len(texts), self.dim)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]  # of like length, so that little is padding
            ids, mask = self._reader.pad([tokens[index] for index in chosen])
            embedded = self._text_network(ids.to(self._device), mask.to(self._device)).float()
            rows[chosen] = normalize(embedded, dim=-1).cpu()
        return rows, np.array(cut, dtype=np.bool_)

    def check_texts(self, texts: Sequence[str]) -> None:
        """See that texts can be embedded in the published way, without embedding them.

        Raises:
            TextTooLong: A text is too long; a ValueError.
            SpecialTokenInText: A text holds "[SEP]" or its like; a ValueError.
            UserError: A file is missing, damaged or of another model.
        """
        self._reader.read(texts, truncate=False)
