"""What image encoders of the hub have in common: a folder in transformers' layout, read strictly and run in batches.

A subclass says which model it is, how a folder of it is recognised, and what its tensors are called.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn

from unix_bench.errors import UserError, unknown_name
from unix_bench.features.encoder import encode_in_batches, identity_of
from unix_bench.features.geometry import PAD_SQUARE, Fit, column_of
from unix_bench.released import CONFIG, CONFIG_ERRORS, read_json
from unix_bench.weights import TensorFile, check_tensors, digest_file, stand_in_name

PREPROCESSOR, WEIGHTS = "preprocessor_config.json", "model.safetensors"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
BATCH = 16


class PretrainedEncoder(ABC):
    """An encoder of images whose weights a user brings.

    Attributes:
        name: Of the encoder alone, whatever its geometry.
        column: As it stands in metric names.
        dim: Length of a feature vector.
        geometry: Which of `geometries` images go through before the release's own processor.
        dtype: What the network computes in.
        batch_size: Images the network sees at once.
        stand_in: False: it runs with the released weights, or not at all.
        geometries: What each geometry does to an image.
        hub_name: Where the release lies.
        unused: Tensors the release may hold that no feature needs.
    """

    name: str
    dim: int
    geometry: str
    stand_in = False
    geometries: ClassVar[Mapping[str, Fit]]
    hub_name: ClassVar[str]
    unused: ClassVar[re.Pattern[str]]

    def __init__(
        self,
        directory: Path,
        cache: Path,
        geometry: str = PAD_SQUARE,
        device: str = "cpu",
        dtype: str = "float32",
        batch_size: int = BATCH,
    ) -> None:
        """Read the folder's configuration; weights are loaded when an image is encoded.

        Args:
            directory: Folder with `config.json`, `preprocessor_config.json` and `model.safetensors` of the release.
            cache: Where digests of big files are kept.
            geometry: How images are fitted; see `geometries`.
            device: "cpu" or "cuda".
            dtype: "float32" or "bfloat16"; features are float32 either way.
            batch_size: Images the network sees at once; it moves a feature by rounding alone.

        Raises:
            UserError: A file is missing or describes another model.
            ValueError: No such geometry or dtype.
        """
        if geometry not in self.geometries:
            raise ValueError(str(unknown_name("geometry", geometry, self.geometries)))
        if dtype not in DTYPES:
            raise ValueError(str(unknown_name("dtype", dtype, DTYPES)))
        if batch_size < 1:
            raise ValueError(f"a batch has at least one image, not {batch_size}")
        if (stand_in := stand_in_name(directory)) is not None:
            raise UserError(f"{directory} holds the stand-in {stand_in}: copy {self.hub_name} there")
        self.geometry, self.column = geometry, column_of(self.name, geometry)
        self.dtype, self.batch_size = dtype, batch_size
        self._directory, self._cache, self._device = directory, cache, device
        self._config = read_json(directory / CONFIG, self.hub_name)
        self._preprocessor = read_json(directory / PREPROCESSOR, self.hub_name)
        other = self._other_model()
        if other is not None:
            raise UserError(f"{directory} is not {self.hub_name}: {other}; copy that release there")
        with self._stated_wrongly():
            self.dim = self._width()
        self._process = self._built_processor()  # now, since threads share it

    @abstractmethod
    def _other_model(self) -> str | None:
        """Why the configuration is not this model's, if it is not."""

    @abstractmethod
    def _width(self) -> int: ...

    @abstractmethod
    def _build(self) -> nn.Module: ...

    @abstractmethod
    def _processor(self) -> Any: ...

    @abstractmethod
    def _released(self, name: str) -> str:
        """What the release calls a tensor of the network that this version of transformers builds."""

    @cached_property
    def digest(self) -> str:
        """sha256 over weights, configuration and preprocessing: all that decides a feature but the geometry."""
        total = hashlib.sha256()
        for part in (CONFIG, PREPROCESSOR, WEIGHTS):
            path = self._directory / part
            if not path.is_file():
                raise UserError(f"{path} is missing: copy it from {self.hub_name}")
            total.update(f"{part} {digest_file(path, self._cache)}\n".encode())
        return total.hexdigest()

    @property
    def identity(self) -> str:
        """All that decides a feature, in a line."""
        return identity_of(self)

    @contextmanager
    def _stated_wrongly(self) -> Iterator[None]:
        """Says that it is config.json which transformers cannot make a network of."""
        try:
            yield
        except CONFIG_ERRORS as error:
            path, why = self._directory / CONFIG, " ".join(str(error).split())
            raise UserError(f"{path} describes no {self.hub_name} ({why}): copy it again") from error

    @cached_property
    def _network(self) -> nn.Module:
        with self._stated_wrongly():
            network = self._build()
        path = self._directory / WEIGHTS
        keys = {name: self._released(name) for name in network.state_dict()}
        expected = {keys[name]: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        with TensorFile.open(path) as file:
            check_tensors(path, file.shapes, expected, self.unused)
            network.load_state_dict({name: file.read(key) for name, key in keys.items()})
        return network.eval().to(self._device, DTYPES[self.dtype])

    def _built_processor(self) -> Any:
        try:
            return self._processor()
        except (ValueError, TypeError) as error:
            raise UserError(f"{self._directory / PREPROCESSOR} is damaged ({error}): copy it again") from error

    def prepare(self, image: Image.Image) -> Tensor:
        """Pixels of an image of mode L or RGB, any size, as the release's processor makes them: [3, height, width]."""
        pixels: Tensor = self._process(self.geometries[self.geometry](image), return_tensors="pt")["pixel_values"]
        return pixels[0]

    @torch.inference_mode()
    def embed(self, pixels: Tensor) -> Tensor:
        """The pooled output of prepared images [n, 3, height, width], float32 [n, dim] on the CPU.

        Raises:
            UserError: The weights are missing, damaged or of another model; names the tensors.
        """
        pooled: Tensor = self._network(pixels.to(self._device, DTYPES[self.dtype])).pooler_output
        return pooled.float().cpu()

    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        """The pooled output of each image, float32 [n, dim] on the CPU.

        Args:
            images: Mode L or RGB, any size.

        Raises:
            UserError: The weights are missing, damaged or of another model; names the tensors.
        """
        return encode_in_batches(self, images)
