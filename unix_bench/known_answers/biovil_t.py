"""BioViL-T on plain sentences and drawn chests: does it know a synonym from a contradiction, and a white lung?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from unix_bench.execution import choose_device
from unix_bench.features import BioViLT
from unix_bench.features.biovil_t.image import image_shape
from unix_bench.features.biovil_t.model import IMAGE_WEIGHTS
from unix_bench.features.biovil_t.text import text_weights
from unix_bench.features.places import find_biovil_t
from unix_bench.known_answers.answer import Answer, ask_digest, figures, known
from unix_bench.known_answers.phantom import draw
from unix_bench.settings import Settings
from unix_bench.weights import TensorFile


def ask_biovil_t(settings: Settings) -> list[Answer]:
    """Compare both weights' files, the text tower's sizes and the embeddings of sentences and phantoms.

    Bounds and sentences were chosen without the release at hand; `known_answers.toml` says what they rest on.

    Raises:
        UserError: The weights are not there, damaged, or another model's by their configuration or their tensors.
    """
    asked, directory = known()["biovil_t"], find_biovil_t(settings)
    model = BioViLT(directory, settings.cache, device=choose_device("auto"))
    texts = _distinct(asked, "triplet", ("reference", "synonym", "contradiction"))
    texts = list(dict.fromkeys([*texts, *_distinct(asked, "picture", ("shows", "clear"))]))
    phantoms = ["clear", *_distinct(asked, "picture", ("phantom",))]
    text_rows = model.text_embeddings(texts)[0].double()
    image_rows = model.encode([draw(name) for name in phantoms]).double()
    of_text = dict(zip(texts, text_rows, strict=True))
    of_image = dict(zip(phantoms, image_rows, strict=True))
    answers = [
        ask_digest(directory / IMAGE_WEIGHTS, asked["files"]),
        ask_digest(text_weights(directory), asked["files"]),
        Answer.same("sizes of the image model", asked["image_network"], _image_network(directory / IMAGE_WEIGHTS)),
        Answer.same("sizes of the text model", asked["text_network"], _text_network(text_weights(directory))),
        _ask_length({**of_text, **of_image}),
    ]
    answers += [_ask_triplet(one, of_text, asked["synonym_above"]) for one in asked["triplet"]]
    answers.append(_ask_gap(asked["triplet"], of_text, asked["gap_at_least"]))
    answers += [_ask_picture(one, of_text, of_image, asked["turn_at_least"]) for one in asked["picture"]]
    return answers


def _ask_triplet(one: dict[str, str], of_text: dict[str, Tensor], least: float) -> Answer:
    synonym, contradiction = _cosines(one, of_text)
    return Answer(
        f"{one['reference']} / {one['synonym']} / {one['contradiction']}",
        f"synonym above {least} and above contradiction",
        figures({"synonym": synonym, "contradiction": contradiction}),
        right=synonym > max(least, contradiction),
    )


def _ask_gap(triplets: list[dict[str, str]], of_text: dict[str, Tensor], least: float) -> Answer:
    """Over all triplets at once, so that no pair of sentences decides alone."""
    pairs = [_cosines(one, of_text) for one in triplets]
    gap = sum(synonym - contradiction for synonym, contradiction in pairs) / len(pairs)
    return Answer(
        "cosine of synonyms less that of contradictions, mean",
        f"at least {least:.2f}",
        f"{gap:.2f}",
        right=gap >= least,
    )


def _cosines(one: dict[str, str], of_text: dict[str, Tensor]) -> tuple[float, float]:
    reference = of_text[one["reference"]]
    return float(reference @ of_text[one["synonym"]]), float(reference @ of_text[one["contradiction"]])


def _ask_picture(one: dict[str, str], of_text: dict[str, Tensor], of_image: dict[str, Tensor], least: float) -> Answer:
    """A difference of differences: whatever an image or a sentence has in common with all others cancels."""
    turn = float((of_image[one["phantom"]] - of_image["clear"]) @ (of_text[one["shows"]] - of_text[one["clear"]]))
    return Answer(
        f"phantom with {one['phantom']}: nearer than the clear one to {one['shows']!r}, less {one['clear']!r}",
        f"by at least {least:.2f}",
        f"by {turn:.3f}",
        right=turn >= least,
    )


def _ask_length(rows: dict[str, Tensor]) -> Answer:
    lengths = [float(row.norm()) for row in rows.values()]
    return Answer.same("length of every embedding", "1.000 to 1.000", f"{min(lengths):.3f} to {max(lengths):.3f}")


def _distinct(asked: dict[str, Any], kind: str, keys: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(one[key] for one in asked[kind] for key in keys))


def _image_network(path: Path) -> str:
    """The sizes of the image model whose tensors a file holds."""
    with TensorFile.open(path) as file:
        shape = image_shape(file.shapes)
    blocks = "-".join(map(str, shape.blocks))
    return f"{blocks} blocks of width {shape.width}, patches of {shape.patch}, embeddings of {shape.joint}"


def _text_network(path: Path) -> str:
    """The sizes of the text model whose tensors a file holds."""
    with TensorFile.open(path) as file:
        shapes = file.shapes
    words, width = shapes["bert.embeddings.word_embeddings.weight"]
    layers = len([name for name in shapes if name.endswith(".attention.self.query.weight")])
    joint = shapes["cls_projection_head.dense_to_output.weight"][0]
    return f"{layers} layers of width {width}, {words} words, embeddings of {joint}"
