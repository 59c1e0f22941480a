"""Image metrics against golden values, and against properties that hold whatever the numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from unix_bench.scoring.image import frechet_distance, kernel_distance, prdc

GOLDEN = Path(__file__).parents[1] / "golden" / "image_metrics"
FEATURES = load_file(GOLDEN / "features.safetensors")
CASES = json.loads((GOLDEN / "expected.json").read_text())["cases"]
NOT_FINITE = ("nan_in_real", "inf_in_fake")
USABLE = [name for name in CASES if name not in (*NOT_FINITE, "n_real_1")]


@pytest.mark.parametrize("name", USABLE)
def test_golden(name: str) -> None:
    real, fake, expected = FEATURES[f"{name}.real"], FEATURES[f"{name}.fake"], CASES[name]
    scale = float(np.square(real).sum(axis=1).mean())  # distances of equal sets are 0 to rounding at this scale
    fd = expected["fd"]["nuclear_norm_float64"]
    assert frechet_distance(real, fake) == pytest.approx(fd, rel=1e-9, abs=1e-13 * scale)
    kd = expected["kid"]["unbiased_mmd2_all_rows_float64"]
    assert kernel_distance(real, fake) == pytest.approx(kd, rel=1e-8, abs=1e-15)
    for key, shares in expected["prdc"].items():
        k = int(key.removeprefix("prdc_k"))
        if min(len(real), len(fake)) <= k:
            with pytest.raises(ValueError, match="at least"):
                prdc(real, fake, k)
        elif "raises" not in shares:  # the package needs one row more than the definition
            ours = prdc(real, fake, k)
            assert {name: getattr(ours, name) for name in shares} == pytest.approx(shares, abs=1e-12)


@pytest.mark.parametrize("metric", [frechet_distance, kernel_distance, prdc])
def test_bad_features_are_refused(metric: object) -> None:
    good = np.random.default_rng(0).normal(size=(20, 4))
    for name in NOT_FINITE:
        with pytest.raises(ValueError, match="NaN or Inf"):
            metric(FEATURES[f"{name}.real"], FEATURES[f"{name}.fake"])
    with pytest.raises(ValueError, match="need at least"):
        metric(good[:1], good)
    with pytest.raises(ValueError, match="4 columns, generated ones 3"):
        metric(good, good[:, :3])
    with pytest.raises(ValueError, match=r"must be \[n, d\]"):
        metric(good[0], good)


def test_the_sides_of_prdc_are_not_exchanged() -> None:
    """Generated points inside a small part of the real ones: precise, and recalling little."""
    rng = np.random.default_rng(1)
    real = rng.normal(size=(200, 3))
    shares = prdc(real, 0.05 * rng.normal(size=(200, 3)))
    assert shares.precision > 0.95
    assert shares.recall < 0.1
    assert shares.coverage < 0.5


def test_torch_and_numpy_agree() -> None:
    real, fake = FEATURES["base.real"], FEATURES["base.fake"]
    for metric in (frechet_distance, kernel_distance, prdc):
        assert metric(torch.from_numpy(real), torch.from_numpy(fake)) == metric(real, fake)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(7, 40), st.integers(7, 40), st.integers(1, 12))
def test_properties(seed: int, n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.5 + 0.3
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    order = rng.permutation(n)
    for metric in (frechet_distance, kernel_distance):
        assert metric(x, y) == pytest.approx(metric(y, x), rel=1e-8, abs=1e-9)
        assert metric(x[order], y) == pytest.approx(metric(x, y), rel=1e-8, abs=1e-9)
        assert metric(x @ rotation, y @ rotation) == pytest.approx(metric(x, y), rel=1e-6, abs=1e-9)
    assert frechet_distance(x, y) >= -1e-9
    one, two = prdc(x, y), prdc(y, x)
    assert (one.precision, one.recall) == (two.recall, two.precision)
    assert prdc(x, x).coverage == 1.0
