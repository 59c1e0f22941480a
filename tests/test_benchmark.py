"""Several models in one run: all are looked at before any is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import bench, make_folder, refused

from unix_bench.models.radedit.adapter import RadEdit
from unix_bench.registry import model

MODELS = ("run", "--task", "generation", "--limit", 2, "--model", "shuffled", "--model", "radedit")


@pytest.fixture
def words(tmp_path: Path) -> tuple[object, ...]:
    make_folder(tmp_path / "data", 4)
    RadEdit.write_demo_weights(tmp_path / "radedit", model("radedit"))
    return (*MODELS, "--data", tmp_path / "data", "--weights", tmp_path / "radedit")


def test_the_last_models_weights_are_looked_at_before_the_first_is_run(
    words: tuple[object, ...], tmp_path: Path
) -> None:
    file = tmp_path / "radedit" / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:20_000])
    refused(bench(*words), "is not a whole safetensors file")
    assert not Path("results").exists()


def test_weights_beside_a_reference_point_are_the_others(words: tuple[object, ...], tmp_path: Path) -> None:
    assert bench(*words, "--set", "longest_side=0", "--dry-run").exit_code == 2  # a setting of one of them alone
    assert bench(*words, "--dry-run").exit_code == 0
    alone = ("run", "--model", "real", "--task", "generation", "--weights", tmp_path / "radedit")
    refused(bench(*alone), f"--weights {tmp_path / 'radedit'}: reference points have no weights: leave it out")
