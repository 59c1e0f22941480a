"""Whether tensors are those that a model of transformers needs.

Names of tensors differ from the parameters' by transformers' own rules (`language_model.model.x` on disk is
`model.language_model.x` in memory), which change with its versions; so it is asked, with tensors that hold nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unix_bench.errors import UserError
from unix_bench.models.plain_words import in_plain_words, quiet
from unix_bench.released import CONFIG
from unix_bench.weights import Shapes, check_tensors

# Buffers that older versions saved and newer ones compute.
UNUSED = re.compile(r".*(rotary_emb\.inv_freq|embeddings\.position_ids)$")
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def check_fit(model: Any, config: Any, shapes: Shapes, directory: Path) -> None:
    """See whether tensors of these names and shapes are all that a model needs, and nothing else.

    Args:
        model: Class of transformers.
        config: Its configuration.
        shapes: Of the tensors, by the names they have on disk.
        directory: For the message.

    Raises:
        UserError: Names every tensor that is missing, unknown or of another shape.
    """
    with in_plain_words(f"{directory / CONFIG} describes no {model.__name__}"), torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in model(config).state_dict().items()}
    held, needed = (sum(map(_size, sizes.values())) for sizes in (shapes, wanted))
    if 2 * held < needed:  # to name what is missing would take memory for it
        raise UserError(
            f"{directory} holds {held:,} numbers where its config.json describes {needed:,}: copy the whole release"
        )
    empty = torch.zeros((), dtype=torch.bfloat16)
    nothing = {name: empty.expand(shape) for name, shape in shapes.items()}
    with in_plain_words(f"{directory} cannot be read as a {model.__name__}"), quiet():
        _, said = model.from_pretrained(
            None,
            config=config,
            state_dict=nothing,
            dtype=torch.bfloat16,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    refuse_misfits(said, shapes, wanted, directory)


def refuse_misfits(said: Mapping[str, Any], shapes: Shapes, wanted: Shapes, directory: Path) -> None:
    """See that nothing was missing, unknown or of another shape when transformers loaded a model.

    Args:
        said: Its `output_loading_info`.
        shapes: Of the tensors on disk, by the names they have there.
        wanted: Of the model's own, by the names they have in memory.
        directory: For the message.

    Raises:
        UserError: Names every tensor that was.
    """
    expected = {name: wanted[name] for name in said["missing_keys"] if name in wanted}
    found = {name: shapes.get(name, ()) for name in sorted(said["unexpected_keys"])}
    for name, on_disk, in_memory in said["mismatched_keys"]:
        found[name], expected[name] = tuple(on_disk), tuple(in_memory)
    check_tensors(directory, found, dict(sorted(expected.items())), UNUSED)


def check_numbers(tensors: Mapping[str, Tensor], directory: Path) -> None:
    """See that tensors hold floating-point numbers: others are quantised weights, whose scale would be lost.

    Raises:
        UserError: One does not; names it.
    """
    odd = {name: tensor.dtype for name, tensor in tensors.items() if tensor.dtype not in FLOATS}
    if odd:
        name, dtype = next(iter(odd.items()))
        raise UserError(
            f"{directory} holds {len(odd)} tensors of other than 16 to 64-bit floating-point numbers, such as {name} "
            f"({str(dtype).removeprefix('torch.')}): copy the release that is not quantised"
        )


def _size(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()
