"""rule14 against the human MeSH tags of IU X-ray: precision, recall and F1 of each finding, study by study.

    python benchmarks/rule14.py FOLDER [--half held-out|development|both]

FOLDER holds a `manifest.csv` with reports and the 14 columns (1 tagged, 0 not, empty unknown). Several images of a
study count once; studies that nobody tagged are left out. The halves: sha256 of the study's id, first byte even =
development, odd = held-out. rule14 was written on the development half; quote the held-out half.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unix_bench.data import FINDINGS, Study, read_folder
from unix_bench.features.rule14 import Rule14

Flags = NDArray[np.bool_]
SICK = [column for column, finding in enumerate(FINDINGS) if finding not in ("Support Devices", "No Finding")]


def half_of(study_id: str) -> str:
    """Which half a study belongs to.

    >>> half_of("CXR3")
    'held-out'
    """
    return "held-out" if hashlib.sha256(study_id.encode()).digest()[0] % 2 else "development"


def tagged_studies(folder: Path, half: str) -> list[Study]:
    """One image for each study of a half that has a report and all 14 labels."""
    chosen: dict[str, Study] = {}
    for study in read_folder(folder).studies:
        identity = study.study_id or study.inputs.id
        complete = study.reference.report is not None and len(study.reference.labels) == len(FINDINGS)
        if complete and half in (half_of(identity), "both"):
            chosen.setdefault(identity, study)
    return list(chosen.values())


def scores(predicted: Flags, true: Flags) -> tuple[float, float, float]:
    """Precision, recall and F1 over whatever shape the two share; 0 where there is nothing to divide by."""
    both = float((predicted & true).sum())
    precision = both / max(1.0, float(predicted.sum()))
    recall = both / max(1.0, float(true.sum()))
    return precision, recall, 2 * both / max(1.0, float(predicted.sum() + true.sum()))


def line(name: str, predicted: Flags, true: Flags) -> str:
    precision, recall, f1 = scores(predicted, true)
    return f"{name:<42} {true.sum():>5} {predicted.sum():>5}  {precision:.3f}  {recall:.3f}  {f1:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half", choices=["held-out", "development", "both"], default="held-out")
    arguments = parser.parse_args()
    studies = tagged_studies(arguments.folder, arguments.half)
    if not studies:
        raise SystemExit(f"{arguments.folder}: no study of this half has a report and 14 labels")
    labels = Rule14().label([study.reference.report or "" for study in studies])
    true = np.array([[study.reference.labels[finding] == 1 for finding in FINDINGS] for study in studies])
    positive, lenient = labels == 1, (labels == 1) | (labels == 3)
    narrow = positive.copy()  # No Finding from the 12 findings' own columns, whatever else is abnormal
    narrow[:, -1] = ~lenient[:, SICK].any(axis=1)

    print(f"{len(studies)} studies, {arguments.half} half, rule14 {Rule14().digest[:8]}; positive = label 1\n")
    print(f"{'':<42} {'true':>5} {'ours':>5}  prec.  recall F1")
    for column, finding in enumerate(FINDINGS):
        print(line(finding, positive[:, column], true[:, column]))
    print(line("micro", positive, true))
    print(f"{'macro':<42} {'':>5} {'':>5}  {'':>5}  {'':>5}  {macro(positive, true):.3f}\n")
    print(line("micro, label 3 counted as positive", lenient, true))
    print(line("micro, without No Finding", positive[:, :-1], true[:, :-1]))
    print(line("micro, No Finding from the columns alone", narrow, true))


def macro(predicted: Flags, true: Flags) -> float:
    """Mean of the findings' F1."""
    return float(np.mean([scores(predicted[:, column], true[:, column])[2] for column in range(true.shape[1])]))


if __name__ == "__main__":
    main()
