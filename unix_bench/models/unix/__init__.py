"""UniX, the full dual-branch model."""

from unix_bench.models.unix.config import UniXConfig
from unix_bench.models.unix.losses import Alignment, TrainBatch
from unix_bench.models.unix.model import UniX
from unix_bench.models.unix.preprocess import prepare_image

__all__ = ["Alignment", "TrainBatch", "UniX", "UniXConfig", "prepare_image"]
