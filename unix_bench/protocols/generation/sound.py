"""The generation task under protocol `sound`: pairs by id, whole sets, every number beside what sampling amounts to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unix_bench.data import Study
from unix_bench.errors import UserError
from unix_bench.features import Encoder
from unix_bench.features.geometry import PAD_SQUARE, SQUASH_299
from unix_bench.protocols.base import Pair, Samples, without_failures
from unix_bench.protocols.generation.alignment import ALIGNMENTS, AlignmentMeter
from unix_bench.protocols.generation.base import ImageMeter
from unix_bench.protocols.generation.encoders import Training, biovil_t, judge, medsiglip, rad_dino
from unix_bench.protocols.generation.judges import NO_TRAINING, AbsentMeter, JudgeMeter, judge_names, training_names
from unix_bench.protocols.generation.scoring import GenerationScoring
from unix_bench.protocols.metered import Absent
from unix_bench.settings import Settings
from unix_bench.spec import OnError


class SoundGeneration(GenerationScoring):
    """Failures left out, one geometry for both sides, intervals, floors, a common n, and the alignment's context."""

    def __init__(self, settings: Settings, on_error: OnError | None, training: Training | None) -> None:
        if on_error == "score-zero":
            raise UserError("--on-error score-zero has no meaning for FD, KD and PRDC, which only a set of images has")
        self.on_error: OnError = on_error or "drop-pair"
        self.training = training.tag if training else None
        self.restricted = training is not None and training.restricted
        main = judge(settings, PAD_SQUARE)
        meters: list[ImageMeter] = [
            *_missing_judge(settings),
            JudgeMeter(main, training),
            *_missing_training(main, training),
            JudgeMeter(judge(settings, SQUASH_299), None, whole=False),
            _side_judge(medsiglip(settings)),
            _alignment(settings),
        ]
        super().__init__(meters, main.stand_in, settings)
        self.judges = [meter.encoder for meter in meters if isinstance(meter, JudgeMeter)]

    def pairs(self, studies: Mapping[str, Study], eligible: Sequence[Study], samples: Samples) -> list[Pair]:
        return without_failures(eligible, samples)


def _missing_judge(settings: Settings) -> list[ImageMeter]:
    """Where RAD-DINO is not here, its columns, so that a table shows what it lacks."""
    found = rad_dino(settings)
    if not isinstance(found, Absent):
        return []
    names = [*judge_names("raddino"), *judge_names("raddino_squash", whole=False)]
    return [AbsentMeter(names, found, "raddino")]


def _missing_training(main: Encoder, training: Training | None) -> list[ImageMeter]:
    if training is not None:
        return []
    overall, by_row = (training_names(main.column, rows) for rows in (False, True))
    absent = Absent(NO_TRAINING)
    return [AbsentMeter(by_row, absent, main.name), AbsentMeter(overall, absent, main.name, once=overall)]


def _side_judge(found: Encoder | Absent) -> ImageMeter:
    if isinstance(found, Absent):
        return AbsentMeter(judge_names("medsiglip", whole=False), found, "medsiglip")
    return JudgeMeter(found, None, whole=False)


def _alignment(settings: Settings) -> ImageMeter:
    found = biovil_t(settings)
    return AbsentMeter(ALIGNMENTS, found, "biovilt") if isinstance(found, Absent) else AlignmentMeter(found)
