"""What the bench asks of a family that somebody else's package brings."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import bench, refused

from unix_bench.errors import UserError
from unix_bench.models import model_family
from unix_bench.models.unix.adapter import UniXAdapter

LACKING = """
from unix_bench.models import Loadable

class Model:
    demo_version = "1"

    @classmethod
    def load(cls, directory, card, settings, dtype, device): ...

    @staticmethod
    def write_demo_weights(directory, card):
        directory.mkdir()

class Inherits(Loadable):
    @classmethod
    def complete_settings(cls, directory, card, kind, stated): ...

    @classmethod
    def load(cls, directory, card, settings, dtype, device): ...

    @classmethod
    def check_weights(cls, directory, card): ...

def function(): ...
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with three families, none of them whole."""
    site = tmp_path / "site"
    (site / "their_models-1.0.dist-info").mkdir(parents=True)
    (site / "their_models.py").write_text(LACKING)
    (site / "their_models-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1.0\n")
    places = {"theirs": "Model", "inherits": "Inherits", "no_class": "function"}
    lines = [f"{name} = their_models:{place}" for name, place in places.items()]
    (site / "their_models-1.0.dist-info" / "entry_points.txt").write_text("\n".join(["[unix_bench.models]", *lines]))
    monkeypatch.syspath_prepend(str(site))


@pytest.mark.usefixtures("plugin")
def test_a_family_that_lacks_something_is_refused() -> None:
    cards = Path("unix-bench/baselines")
    cards.mkdir(parents=True)
    (cards / "mine.toml").write_text(
        'name = "mine"\ntitle = "Mine"\nfamily = "theirs"\ntasks = ["report"]\nweights = "mine"\n'
    )
    said = "model family 'theirs': their_models:Model lacks complete_settings, check_weights"
    for words in (("run", "--model", "mine", "--task", "report"), ("weights", "demo", "--model", "mine", "--out", "w")):
        refused(bench(*words), said)
    assert not Path("w").exists()
    with pytest.raises(UserError, match=r"Inherits lacks demo_version, write_demo_weights \("):
        model_family("inherits")
    with pytest.raises(UserError, match="lacks demo_version, complete_settings, load, check_weights, write_demo"):
        model_family("no_class")


def test_the_full_family() -> None:
    assert model_family("unix") is UniXAdapter
