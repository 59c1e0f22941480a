"""The generation task under protocol `chexgenbench`: what the published evaluation computes, its quirks included.

Source: CheXGenBench and, after it, UniX's eval/gen_metrics. The real rows are those whose prompt was not met before;
every generated row counts. The overall numbers are means of four contiguous shards, those of a finding are of one set:
two estimators in one table. An unreadable image is a black one. Every number is rounded to three digits on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from unix_bench.data import Study, check_images
from unix_bench.errors import UserError
from unix_bench.features import BioViLT, Encoder, SpecialTokenInText, TextTooLong
from unix_bench.features.geometry import CENTRE_CROP, SQUASH_299
from unix_bench.protocols.base import Columns, Pair, Row, Samples, Value, labelled_rows
from unix_bench.protocols.generation.alignment import COSINE
from unix_bench.protocols.generation.base import Drawings, FeatureReader, Features, ImageMeter, Measured, OfSets
from unix_bench.protocols.generation.column import NEIGHBOURS, SHARES
from unix_bench.protocols.generation.encoders import biovil_t, judge, rad_dino, stamp
from unix_bench.protocols.generation.judges import AbsentMeter
from unix_bench.protocols.generation.scoring import GenerationScoring
from unix_bench.protocols.metered import Absent, mean_of_column
from unix_bench.records import RunFolder
from unix_bench.scoring.image import cosine_similarity, frechet_distance, kernel_distance_subsets, prdc
from unix_bench.scoring.statistics import Measure
from unix_bench.settings import Settings
from unix_bench.spec import OnError, Uncertain

SHARDS = 4
SUBSETS, SEED = 100, 42  # of torchmetrics' kernel distance; the published seed is set where the program starts
DIGITS = 3
KINDS = ("fd", "kd", *SHARES)
Numbers = Mapping[str, float]
Indices = NDArray[np.intp]


class PublishedGeneration(GenerationScoring):
    """FD, KD and PRDC in RAD-DINO's features of images squashed to 299 pixels, alignment by BioViL-T."""

    def __init__(self, settings: Settings, on_error: OnError | None) -> None:
        if on_error not in (None, "fail"):
            raise UserError(
                f"--on-error {on_error} is not what the published evaluation does, which takes a failed image for a "
                "black one: leave it out under --protocol chexgenbench"
            )
        self.on_error: OnError = on_error or "score-as-black"
        encoder = judge(settings, SQUASH_299)
        absent, aligner = rad_dino(settings), biovil_t(settings, CENTRE_CROP)
        missing = [AbsentMeter(_names("raddino"), absent, "raddino")] if isinstance(absent, Absent) else []
        alignment: ImageMeter = (
            AbsentMeter(["alignment_biovilt"], aligner, "biovilt")
            if isinstance(aligner, Absent)
            else PublishedAlignment(aligner)
        )
        super().__init__([*missing, PublishedJudge(encoder), alignment], encoder.stand_in, settings)

    def pairs(self, studies: Mapping[str, Study], eligible: Sequence[Study], samples: Samples) -> list[Pair]:
        return [Pair(study, samples[study.id]) for study in eligible]

    def rows(self, pairs: Sequence[Pair], per_pathology: bool, uncertain: Uncertain) -> list[Row]:
        """Every image of a prompt whose first row is labelled 1."""
        if uncertain != "negative":
            raise UserError("--uncertain positive is not what the published evaluation does: leave it out")
        prompts = [pair.study.inputs.prompt or "" for pair in pairs]
        first = set(first_rows(prompts).tolist())
        chosen = []
        for row in labelled_rows(pairs, per_pathology, uncertain):
            texts = {prompts[index] for index in row.members if index in first}
            members = [index for index, text in enumerate(prompts) if text in texts]
            rule = f"every image of a prompt whose first row is labelled {row.pathology}" if row.pathology else ""
            chosen.append(replace(row, members=members, rule=rule))
        return chosen

    def drawings(self, run: RunFolder, pairs: Sequence[Pair]) -> Drawings:
        bad = check_images([pair.study for pair in pairs], self._settings.cache).unreadable
        drawn = super().drawings(run, pairs)
        return replace(
            drawn,
            generated=[
                None if pair.sample.error is not None else path
                for pair, path in zip(pairs, drawn.generated, strict=True)
            ],
            real=[None if pair.study.id in bad else path for pair, path in zip(pairs, drawn.real, strict=True)],
        )


class PublishedJudge(OfSets):
    """FD, KD and PRDC as the published scripts compute them."""

    absent = None
    once: Sequence[str] = ()

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.names = _names(encoder.name)

    @property
    def instruments(self) -> Mapping[str, str]:
        return {self._encoder.name: stamp(self._encoder)}

    def definition(self, metric: str) -> dict[str, str]:
        kind = metric.removesuffix(f"_{self._encoder.name}")
        own = {
            "fd": {"covariance": "over n - 1"},
            "kd": {"kernel": f"(x.y / d + 1)^3, mean of {SUBSETS} subsets of min(n, m), seed {SEED}"},
        }
        return {
            "reference": "real images, one a prompt",
            "encoder": f"{self._encoder.name}@{self._encoder.digest[:8]}",
            "geometry": self._encoder.geometry,
            "dtype": self._encoder.dtype,
            "aggregate": f"overall: mean of {SHARDS} contiguous shards; a finding: one set; rounded to {DIGITS} digits",
            **own.get(kind, {"k": str(NEIGHBOURS)}),
        }

    def measure(self, drawn: Drawings, rows: Sequence[Row], reader: FeatureReader) -> Measured:
        both = reader.images([*drawn.real, *drawn.generated], self._encoder)
        real, generated = both[: len(drawn)], both[len(drawn) :]
        cells = []
        for row in rows:
            shown = {drawn.prompts[index] for index in row.members} if row.pathology else None
            values = published_row(real, generated, (drawn.prompts, drawn.prompts), shown)
            distinct = len({drawn.prompts[index] for index in row.members})
            named = ((f"{kind}_{self._encoder.name}", *found) for kind, found in values.items())
            cells.append({name: Value(name, value, reason, support=distinct) for name, value, reason in named})
        return Measured(cells)


def first_rows(prompts: Sequence[str]) -> Indices:
    """The rows whose prompt no row before them has, ascending (pandas' drop_duplicates)."""
    return np.sort(np.unique(np.asarray(prompts, dtype=object).astype(str), return_index=True)[1])


def published_row(
    real: Features,
    generated: Features,
    prompts: tuple[Sequence[str], Sequence[str]],
    shown: Collection[str] | None,
    subsets: int = SUBSETS,
) -> dict[str, tuple[float | None, str | None]]:
    """FD, KD and the four shares of one row of the published table, each with a reason where it has no value.

    Args:
        real: [n, d] features of real images.
        generated: [m, d] features of generated ones.
        prompts: [n] and [m] texts.
        shown: Prompts that count; None: all, as the mean of four shards.
        subsets: Of the kernel distance.
    """
    first = first_rows(prompts[0])
    if shown is None:
        rows, columns, shards = first, np.arange(len(generated)), SHARDS
    else:
        rows = np.array([index for index in first if prompts[0][index] in shown], dtype=np.intp)
        columns = np.array([index for index, text in enumerate(prompts[1]) if text in shown], dtype=np.intp)
        shards = 1
    pieces = list(zip(np.array_split(real[rows], shards), np.array_split(generated[columns], shards), strict=True))
    measures: dict[str, tuple[int, Callable[[Features, Features], Numbers]]] = {
        "fd": (2, _frechet),
        "kd": (2, partial(_kernel, subsets=subsets)),
        "prdc": (NEIGHBOURS + 2, _shares),  # the package asks for one row more than its k-th neighbour needs
    }
    found: dict[str, tuple[float | None, str | None]] = {}
    least = min(min(len(x), len(y)) for x, y in pieces)
    for name, (needed, measure) in measures.items():
        kinds = SHARES if name == "prdc" else (name,)
        if least < needed:
            where = "a side and shard" if shown is None else "a side"
            reason = f"the published scripts need {needed} images {where}, and have {least}"
            found |= dict.fromkeys(kinds, (None, reason))
            continue
        each = [measure(x, y) for x, y in pieces]
        found |= {kind: (_rounded(np.mean([_rounded(one[kind]) for one in each])), None) for kind in kinds}
    return found


def _frechet(x: Features, y: Features) -> Numbers:
    return {"fd": float(np.float32(frechet_distance(x, y)))}


def _kernel(x: Features, y: Features, subsets: int) -> Numbers:
    size = min(len(x), len(y))
    # Where both sides are equally large, every subset is the whole, in another order.
    return {"kd": kernel_distance_subsets(x, y, 1 if len(x) == len(y) else subsets, size, SEED).mean}


def _shares(x: Features, y: Features) -> Numbers:
    shares = prdc(x, y, NEIGHBOURS)
    return {share: getattr(shares, share) for share in SHARES}


def _rounded(value: float | np.floating) -> float:
    return round(float(value), DIGITS)


class PublishedAlignment:
    """Cosines rounded to three digits, and their mean; a prompt that cannot be read ends the published script."""

    names = ("alignment_biovilt",)
    absent = None
    once: Sequence[str] = ()

    def __init__(self, encoder: BioViLT) -> None:
        self._encoder = encoder

    @property
    def instruments(self) -> Mapping[str, str]:
        return {self._encoder.name: stamp(self._encoder)}

    def definition(self, metric: str) -> dict[str, str]:
        return {
            "pairs": "drawn image with its prompt",
            "encoder": f"{self._encoder.name}@{self._encoder.digest[:8]}",
            "geometry": self._encoder.geometry,
            "dtype": self._encoder.dtype,
            "aggregate": f"mean over images, rounded to {DIGITS} digits before and after",
        }

    def measure(self, drawn: Drawings, rows: Sequence[Row], reader: FeatureReader) -> Measured:
        reason = self._stopped(drawn)
        if reason is not None:
            return Measured([{self.names[0]: Value(self.names[0], None, reason)} for _ in rows])
        texts, _ = reader.texts(drawn.prompts, self._encoder)
        scores = np.round(cosine_similarity(reader.images(drawn.generated, self._encoder), texts), DIGITS)
        columns = {self.names[0]: scores.tolist()}
        measures = self.measures(columns).items()
        found = [
            {name: Value(name, measure.of_members(row.members).shown()) for name, measure in measures}
            if row.members
            else {}
            for row in rows
        ]
        return Measured(found, columns)

    def measures(self, columns: Columns) -> dict[str, Measure]:
        name = self.names[0]
        if name not in columns:
            return {}
        return {name: replace(mean_of_column(columns[name], COSINE), published=_rounded_mean)}

    def _stopped(self, drawn: Drawings) -> str | None:
        """Why the published script ends without a value, if it does."""
        failed = sum(path is None for path in drawn.generated)
        if failed:
            return f"{failed} images are missing, and the published alignment script stops there"
        try:
            self._encoder.check_texts(drawn.prompts)
        except (TextTooLong, SpecialTokenInText) as error:
            return f"{error}: the published alignment script stops there"
        return None


def _rounded_mean(parts: NDArray[np.float64]) -> float:
    """Of cosines, which are the first column of a mean's parts."""
    return _rounded(parts[:, 0].mean())


def _names(column: str) -> list[str]:
    return [f"{kind}_{column}" for kind in KINDS]
