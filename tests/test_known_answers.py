"""The known answers of the image encoders: random weights are refused, a model that knows passes, phantoms are so."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoders import IMAGE, write_biovil_t, write_rad_dino
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

from unix_bench.errors import UserError
from unix_bench.known_answers import Answer, ask_biovil_t, ask_rad_dino
from unix_bench.known_answers.answer import ask_digest, known
from unix_bench.known_answers.phantom import SIDE, VARIANTS, draw
from unix_bench.settings import Settings


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


Write = Callable[[Path], None]
Ask = Callable[[Settings], list[Answer]]


@pytest.mark.parametrize(
    ("folder", "write", "ask", "wrong"),
    [
        ("rad-dino", write_rad_dino, ask_rad_dino, ["published file", "sizes of the network", "no upright chest"]),
        ("biovil-t", write_biovil_t, ask_biovil_t, ["published file", "sizes of the image model", "synonyms less"]),
    ],
)
def test_random_weights_are_refused(tmp_path: Path, folder: str, write: Write, ask: Ask, wrong: list[str]) -> None:
    write(tmp_path / folder)
    answers = ask(Settings(weights=tmp_path, cache=tmp_path / "cache"))
    assert all(answer.text and answer.expected and answer.given for answer in answers)
    for text in wrong:
        assert not next(answer for answer in answers if text in answer.text).right, text


@pytest.mark.parametrize(("setting", "ask"), [("rad_dino", ask_rad_dino), ("biovil_t", ask_biovil_t)])
def test_weights_that_are_not_there(tmp_path: Path, setting: str, ask: Ask) -> None:
    with pytest.raises(UserError, match=f"copy its files there, or set UNIX_BENCH_{setting.upper()}"):
        ask(Settings(weights=tmp_path))
    with pytest.raises(UserError, match=r"is missing: copy"):
        ask(Settings.model_validate({setting: tmp_path}))


class Knowing:
    """An encoder made by hand: how the grey values of an image lie, whatever their brightness, and a few words."""

    def __init__(self, directory: Path, cache: Path, device: str = "cpu") -> None:
        pass

    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        small = [np.asarray(image.resize((8, 8), Image.Resampling.BOX), dtype=np.float64) for image in images]
        rows = torch.tensor(np.stack([grid.ravel() - grid.mean() for grid in small]))
        return nn.functional.normalize(rows, dim=-1).float()


class Aligned(Knowing):
    """Images and texts as [is it ill, is it well, what else is said]."""

    def encode(self, images: Sequence[Image.Image]) -> Tensor:
        white = torch.tensor([float((np.asarray(image) > 210).mean() > 0.05) for image in images])
        return torch.stack([white, 1 - white, *torch.zeros(9, len(images))], dim=-1)

    def text_embeddings(self, texts: Sequence[str]) -> tuple[Tensor, np.ndarray[Any, Any]]:
        return nn.functional.normalize(torch.stack([self._row(text.lower()) for text in texts]), dim=-1), np.array([])

    def _row(self, text: str) -> Tensor:
        well = re.search(r"\bno\b|normal|clear|improved|decreased", text) is not None
        topics = ("effusion", "heart|cardio", "lungs", "pneumothorax", "edema", "fracture", "opacification")
        return torch.tensor(
            [2.0 - 2 * well, 2.0 * well, *(float(re.search(t, text) is not None) for t in topics), 0, 0]
        )


def test_a_model_that_knows_chests_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rad_dino(tmp_path / "rad-dino")
    monkeypatch.setattr("unix_bench.known_answers.rad_dino.RadDino", Knowing)
    answers = ask_rad_dino(Settings(weights=tmp_path))
    assert [answer.text for answer in answers if not answer.right] == [
        "model.safetensors is the published file",
        "sizes of the network",
    ]


def test_a_model_that_knows_sentences_and_chests_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_biovil_t(tmp_path / "biovil-t")
    monkeypatch.setattr("unix_bench.known_answers.biovil_t.BioViLT", Aligned)
    answers = ask_biovil_t(Settings(weights=tmp_path))
    assert [answer.text for answer in answers if not answer.right] == [
        f"{IMAGE} is the published file",
        "pytorch_model.bin is the published file",
        "sizes of the image model",
        "sizes of the text model",
    ]


def test_the_sizes_of_the_releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ViT-B/14 as transformers builds it, and what it weighs: the size on record of the published file."""
    with torch.device("meta"):
        network = Dinov2Model(Dinov2Config(image_size=518))
    assert sum(parameter.numel() for parameter in network.parameters()) == 86_580_480
    network.to_empty(device="cpu").save_pretrained(tmp_path / "rad-dino")
    assert (tmp_path / "rad-dino" / "model.safetensors").stat().st_size == 346_345_912
    monkeypatch.setattr("unix_bench.known_answers.rad_dino.RadDino", Knowing)
    answers = ask_rad_dino(Settings(weights=tmp_path))
    assert [answer.text for answer in answers if not answer.right] == ["model.safetensors is the published file"]


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_published_file_is_known_by_its_bytes(tmp_path: Path, algorithm: str) -> None:
    (tmp_path / "w.bin").write_bytes(b"weights")
    published = {"w.bin": f"{algorithm}:{hashlib.new(algorithm, b'weights').hexdigest()}"}
    assert ask_digest(tmp_path / "w.bin", published).right
    (tmp_path / "w.bin").write_bytes(b"weights ")
    answer = ask_digest(tmp_path / "w.bin", published)
    assert not answer.right
    assert answer.expected != answer.given


def test_phantoms_are_the_same_on_every_machine() -> None:
    pixels = b"".join(draw(name).tobytes() for name in VARIANTS)
    assert hashlib.sha256(pixels).hexdigest() == "375c3586a009af1f0ac7035189f79fecfd59e0ea8e6f450932fe669ca6d7efdd"


def test_phantoms_are_what_their_names_say() -> None:
    grey = {name: np.asarray(draw(name), dtype=np.int64) for name in VARIANTS}
    clear = grey["clear"]
    assert {values.shape for values in grey.values()} == {(SIDE, SIDE)}
    left, right = np.s_[180:360, 340:400], np.s_[180:280, 110:170]  # the patient's, as one faces him
    middle, heart = np.s_[150:400, 246:266], np.s_[330:370, 300:330]
    assert clear[left].mean() < clear[middle].mean() - 80
    assert clear[right].mean() < clear[middle].mean() - 80
    assert clear[heart].mean() > clear[heart][:, ::-1].mean() - 1
    assert clear[heart].mean() > clear[330:370, 182:212].mean() + 60, "the heart lies to the patient's left"
    for side, other, lung, opposite in (("left", "right", left, right), ("right", "left", right, left)):
        white = grey[f"white {side} lung"]
        assert white[lung].mean() > 200, side
        assert np.array_equal(white[opposite], clear[opposite]), other
    assert (grey["large heart"] - clear).clip(0).sum() > 100 * (clear - grey["large heart"]).clip(0).sum()
    assert np.array_equal(grey["mirrored"][:, ::-1], clear)
    assert np.array_equal(grey["upside down"][::-1], clear)
    assert np.array_equal(grey["shifted"][10:, 10:], clear[:-10, :-10])
    assert grey["darker"].mean() < clear.mean() < grey["brighter"].mean()
    assert np.array_equal(np.sort(grey["shuffled"], axis=None), np.sort(clear, axis=None))
    assert (grey["shuffled"] != clear).mean() > 0.9
    neighbours = {name: np.corrcoef(grey[name][:, 1:].ravel(), grey[name][:, :-1].ravel())[0, 1] for name in grey}
    assert abs(neighbours["noise"]) < 0.02
    assert neighbours["texture"] > 0.95


def test_every_question_can_be_asked() -> None:
    asked = known()
    phantoms = [*asked["rad_dino"]["unlike"], *(one["phantom"] for one in asked["biovil_t"]["picture"])]
    phantoms += [name for one in asked["rad_dino"]["order"] for name in (*one["near"], *one["far"])]
    assert set(phantoms) <= set(VARIANTS)
    assert len(asked["biovil_t"]["triplet"]) >= 5
