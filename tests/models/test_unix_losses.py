"""Training losses and their gradients against the reference code's."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from unix_bench.models.unix import Alignment, TrainBatch, UniX, checkpoint

GOLDEN = Path(__file__).parents[1] / "golden" / "unix"
CASES = {
    name: case
    for name, case in json.loads((GOLDEN / "cases.json").read_text())["train"].items()
    if "grad_norms_of_sum_of_means" in case
}
TOLERANCES = {"mse": 1e-4, "ce": 2e-5, "repa": 1e-6}


def batch_of(tensors: dict[str, torch.Tensor], name: str) -> TrainBatch:
    fields: dict[str, object] = {}
    for field in dataclasses.fields(TrainBatch):
        key = f"{name}.in.{field.name}"
        if key in tensors:
            fields[field.name] = tensors[key]
        elif f"{key}.0" in tensors:
            fields[field.name] = [tensors[f"{key}.{i}"] for i in range(9) if f"{key}.{i}" in tensors]
    return TrainBatch(
        **fields, noise=tensors.get(f"{name}.noise"), encoder_features=tensors.get(f"{name}.encoder_features")
    )


def projector(tensors: dict[str, torch.Tensor]) -> nn.Module:
    layers = [nn.Linear(64, 40), nn.SiLU(), nn.Linear(40, 40), nn.SiLU(), nn.Linear(40, 24)]
    module = nn.Sequential(*layers)
    prefix = "repa_projector.mlp."
    module.load_state_dict(
        {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    )
    return module


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients(name: str) -> None:
    expected = load_file(GOLDEN / "train.safetensors")
    model = UniX.from_pretrained(GOLDEN)
    alignment = Alignment(projector(expected), CASES[name].get("intermediate_depth", 0))
    found = model.losses(batch_of(expected, name), alignment=alignment)
    asked = {"ce": "ce", "mse": "mse", "repa": "repa_loss"}
    assert set(found) == {key for key, golden in asked.items() if f"{name}.out.{golden}" in expected}
    for key, loss in found.items():
        golden = expected[f"{name}.out.{asked[key]}"]
        assert loss.shape == golden.shape
        assert (loss.detach() - golden).abs().max() < TOLERANCES[key]

    sum(loss.mean() for loss in found.values()).backward()
    parameters = dict(model.named_parameters())
    ties = {tie.key: tie for tie in checkpoint.main_ties(model.config, checkpoint.parameter_shapes(model))}
    for key, norm in CASES[name]["grad_norms_of_sum_of_means"].items():
        tie = ties[key.replace("connector.fc1", "connector.layers.0")]
        assert parameters[tie.parameter].grad[tie.parameter_rows].norm() == pytest.approx(norm, rel=1e-4)
