"""Every command and every piece of Python in the docs runs."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from unix_bench.cards import ModelCard
from unix_bench.cli import main
from unix_bench.data import DEMO, DataSet, read_folder

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def commands() -> list[tuple[str, str]]:
    """Lines of the docs that call unix-bench, each with the first page that has it."""
    found: dict[str, str] = {}
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.splitlines():
                command = line.rpartition("&&")[2].split("#")[0].strip().removeprefix(".venv/bin/")
                if command.startswith("unix-bench "):
                    found.setdefault(command, page.name)
    return [(page, command) for command, page in found.items()]


def small(data: DataSet, place: Path) -> None:
    """A folder of eight demo studies with reports, and predictions for it."""
    chosen = [study for study in data.studies if study.reference.report][:8]
    place.mkdir()
    rows = ["id,image,prompt,report"]
    for study in chosen:
        shutil.copy(study.inputs.image, place)
        rows.append(f'{study.id},{study.inputs.image.name},"{study.inputs.prompt}","{study.reference.report}"')
    (place / "manifest.csv").write_text("\n".join(rows) + "\n")
    (place.parent / "theirs.jsonl").write_text(
        "".join(f'{{"id": "{study.id}", "report": "The lungs are clear."}}\n' for study in chosen)
    )


@pytest.mark.parametrize(("page", "command"), commands())
def test_command(page: str, command: str) -> None:
    small(read_folder(DEMO), Path("my_folder"))
    if "--subset" in command:  # the page makes it in the line before
        CliRunner().invoke(
            main, ["data", "subset", "demo", "--name", "nightly-32", "--size", "32", "--task", "generation"]
        )
    result = CliRunner().invoke(main, [*shlex.split(command)[1:], *(["--quiet"] if " run " in command else [])])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("page", [page.name for page in PAGES if page.name != "unix.md" and blocks(page, "python")])
def test_python_of_the_docs(page: str) -> None:
    names: dict[str, object] = {}
    for block in blocks(ROOT / "docs" / page, "python"):
        exec(block, names)


def test_python_of_the_model_page(demo_weights: Path) -> None:
    Path("weights").mkdir()
    Path("weights/UniX").symlink_to(demo_weights)
    names: dict[str, object] = {}
    for block in blocks(ROOT / "docs" / "unix.md", "python"):
        exec(block, names)
    assert len(names["images"]) == len(names["reports"]) == 1


def test_the_card_of_the_docs_is_one() -> None:
    import tomllib

    cards = [tomllib.loads(block) for block in blocks(ROOT / "docs" / "adding.md", "toml") if block.startswith("name")]
    bundled = tomllib.loads((ROOT / "baselines" / "unix.toml").read_text())
    assert ModelCard.model_validate(cards[0]).settings == ModelCard.model_validate(bundled).settings


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([\w/.-]+)(?:#[\w-]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
