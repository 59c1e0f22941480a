"""RAD-DINO on drawn chests: is one that is brighter or moved nearer to it than one that is ill, and than no chest?

A network that was not trained sees how bright an image is, and hardly where: it takes a chest that is upside down for
the same one, and a darker chest for another. Weights of another trained network, as Meta's DINOv2 of photographs, may
well pass all that; their file is not the published one.
"""

from __future__ import annotations

from pathlib import Path

from torch.nn.functional import normalize

from unix_bench.execution import choose_device
from unix_bench.features import RadDino
from unix_bench.features.places import find_rad_dino
from unix_bench.features.pretrained import WEIGHTS
from unix_bench.known_answers.answer import Answer, ask_digest, ask_order, figures, known
from unix_bench.known_answers.phantom import draw
from unix_bench.settings import Settings
from unix_bench.weights import TensorFile


def ask_rad_dino(settings: Settings) -> list[Answer]:
    """Compare the weights' file, the network's sizes and the features of phantoms with what they must be.

    Bounds and orders were chosen without the release at hand; `known_answers.toml` says what they rest on.

    Raises:
        UserError: The weights are not there, damaged, or another model's by their configuration or their tensors.
    """
    asked, directory = known()["rad_dino"], find_rad_dino(settings)
    encoder = RadDino(directory, settings.cache, device=choose_device("auto"))
    compared = [name for one in asked["order"] for name in (*one["near"], *one["far"])]
    names = list(dict.fromkeys(["clear", *asked["unlike"], *compared]))
    features = encoder.encode([draw(name) for name in names]).double()
    whole = normalize(features, dim=-1)
    centred = normalize(features - features.mean(dim=0), dim=-1)
    raw = dict(zip(names, (whole @ whole[0]).tolist(), strict=True))
    cosines = dict(zip(names, (centred @ centred[0]).tolist(), strict=True))
    path = directory / WEIGHTS
    answers = [
        ask_digest(path, asked["files"]),
        Answer.same("sizes of the network", asked["network"], _network(path)),
        _ask_unlike({name: raw[name] for name in asked["unlike"]}, asked["alike_at_most"]),
    ]
    for one in asked["order"]:
        near, far = ({name: cosines[name] for name in one[side]} for side in ("near", "far"))
        answers.append(ask_order(f"nearness to the clear chest: {one['text']}", near, far))
    return answers


def _ask_unlike(cosines: dict[str, float], most: float) -> Answer:
    text = "cosine of the clear chest with what is no upright chest"
    return Answer(text, f"at most {most}", figures(cosines, places=3), right=max(cosines.values()) <= most)


def _network(path: Path) -> str:
    """The sizes of the network whose tensors a file holds."""
    with TensorFile.open(path) as file:
        shapes = file.shapes
    width = shapes["embeddings.cls_token"][-1]
    layers = len([name for name in shapes if name.endswith(".norm1.weight")])
    patch = shapes["embeddings.patch_embeddings.projection.weight"][-1]
    side = round((shapes["embeddings.position_embeddings"][1] - 1) ** 0.5) * patch
    return f"{layers} layers of width {width}, patches of {patch} pixels, images of {side}"
