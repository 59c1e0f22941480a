"""The command line as tests call it, the files that they write for it, and a data set whose reports are known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from unix_bench.cli import main

SENTENCES = {
    "Cardiomegaly": ("The heart is enlarged.", "The heart size is normal."),
    "Edema": ("There is pulmonary edema.", "There is no pulmonary edema."),
    "Pneumothorax": ("There is a left pneumothorax.", "No pneumothorax."),
    "Pleural Effusion": ("There is a small pleural effusion.", "No pleural effusion."),
}


def bench(*words: object) -> Result:
    """What `unix-bench WORDS` does; an error that users should never see is raised."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(result: Result, *parts: str, code: int = 2) -> None:
    """One clear line that holds the parts, the exit code, and no traceback."""
    assert result.exit_code == code, result.output
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("unix-bench: "), result.stderr
    for part in parts:
        assert part in last
    assert "Traceback" not in result.output


def write_lines(file: Path, lines: Iterable[Mapping[str, object]]) -> Path:
    """JSON lines, as predictions and samples are."""
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def make_folder(place: Path, n: int, restricted: bool = False) -> list[str]:
    """A data set of n studies with four findings each; returns its reports."""
    rng = np.random.default_rng(0)
    place.mkdir()
    rows, reports = [f"id,image,prompt,report,patient_id,{','.join(SENTENCES)}"], []
    for index in range(n):
        Image.fromarray(rng.integers(0, 256, size=(24, 24), dtype=np.uint8)).save(place / f"{index}.png")
        there = rng.random(len(SENTENCES)) < 0.4
        text = " ".join(pair[0 if shown else 1] for pair, shown in zip(SENTENCES.values(), there, strict=True))
        text += f" Comparison {rng.integers(1000, 9999)}."
        reports.append(text)
        rows.append(
            f"study-{index},{index}.png,Prompt {index}.,{text},patient-{index // 2},{','.join(map(str, there + 0))}"
        )
    (place / "manifest.csv").write_text("\n".join(rows) + "\n")
    (place / "dataset.toml").write_text(
        f'name = "made"\nlicence = "none"\ncitation = "none"\nrestricted = {str(restricted).lower()}\n'
    )
    return reports


def recorded(folder: Path, name: str, reports: Sequence[str | None], *words: object) -> str:
    """The run of these reports on such a data set, None for one that failed."""
    lines = (
        {"id": f"study-{index}", **({"error": "it broke"} if text is None else {"report": text})}
        for index, text in enumerate(reports)
    )
    file = write_lines(folder.parent / f"{name}.jsonl", lines)
    said = bench("score", "--task", "report", "--predictions", file, "--data", folder, "--per-pathology", "--json",
                 "--quiet", "--max-failed", 1, *words)  # fmt: skip
    assert said.exit_code == 0, said.output
    return str(json.loads(said.stdout)["run"])


def shuffled(reports: Sequence[str], seed: int = 1) -> list[str]:
    """The same reports, of other studies."""
    return [reports[index] for index in np.random.default_rng(seed).permutation(len(reports))]


def mostly(reports: Sequence[str]) -> list[str]:
    """Nine in ten right; the others say nothing of what is there."""
    return [text if index % 10 else "Lungs are clear." for index, text in enumerate(reports)]
