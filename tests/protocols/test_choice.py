"""Which scoring a task card's protocol is."""

from __future__ import annotations

from pathlib import Path

from bench import bench, make_folder, refused, write_lines

from unix_bench import registry
from unix_bench.cards import bundled
from unix_bench.protocols import SCORINGS


def test_every_protocol_of_a_bundled_card_has_its_scoring() -> None:
    assert {(card.kind, protocol) for card in registry.tasks().values() for protocol in card.protocols} == set(SCORINGS)


def test_a_card_with_a_misspelt_protocol_is_refused(tmp_path: Path) -> None:
    cards = Path("unix-bench/tasks")
    cards.mkdir(parents=True)
    card = (bundled("tasks") / "report.toml").read_text().replace('name = "report"', 'name = "mine"')
    card = card.replace('aliases = ["understanding"]\n', "")
    folder, file = tmp_path / "data", tmp_path / "theirs.jsonl"
    reports = make_folder(folder, 4)
    write_lines(file, ({"id": f"study-{index}", "report": text} for index, text in enumerate(reports)))
    words = ("score", "--task", "mine", "--predictions", file, "--data", folder, "--quiet")
    for stated in ("{ sonud = 1 }", "{ sound = 1, sonud = 1 }", "{ chexgenbench = 1 }"):
        (cards / "mine.toml").write_text(card.replace("{ sound = 1, unix = 1 }", stated))
        refused(bench(*words), "task card 'mine': unknown report protocol '", "(known: sound, unix)")
    (cards / "mine.toml").write_text(card)
    assert bench(*words).exit_code == 0
