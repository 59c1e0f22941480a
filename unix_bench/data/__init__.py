"""Test sets: studies with inputs and reference apart, their readers, and opening images."""

from collections.abc import Mapping
from pathlib import Path

from unix_bench.cards import SetCard
from unix_bench.data.audit import Audit, audit, describe
from unix_bench.data.check import ImageCheck, check_images
from unix_bench.data.folder import read_folder
from unix_bench.data.images import UnreadableImage, open_image
from unix_bench.data.iu_xray import read_iu_xray
from unix_bench.data.loading import load_images
from unix_bench.data.mimic import read_mimic
from unix_bench.data.study import FINDINGS, DataSet, Inputs, Reference, Study
from unix_bench.data.subsets import Subset, choose_subset, load_subset, subset_path
from unix_bench.errors import unknown_name
from unix_bench.settings import Settings, expand

__all__ = [
    "DEMO",
    "FINDINGS",
    "Audit",
    "DataSet",
    "ImageCheck",
    "Inputs",
    "Reference",
    "Study",
    "Subset",
    "UnreadableImage",
    "audit",
    "check_images",
    "choose_subset",
    "describe",
    "load_images",
    "load_subset",
    "open_data",
    "open_image",
    "read_folder",
    "subset_path",
]

DEMO = Path(__file__).parent.parent / "demo_cxr"
READERS = {"mimic_cxr": read_mimic, "iu_xray": read_iu_xray}


def open_data(reference: str, sets: Mapping[str, SetCard], settings: Settings) -> DataSet:
    """Open the demo, a named test set of a task, or a folder that holds a `manifest.csv`.

    Args:
        reference: Name or path.
        sets: The task's named sets.
        settings: Where their files are.

    Raises:
        UserError: There is no such name or folder, or it cannot be read.
    """
    if reference == "demo":
        return read_folder(DEMO, "demo")
    if reference in sets:
        card = sets[reference]
        return READERS[card.reader](reference, card, settings)
    looks_like_path = "/" in reference or expand(Path(reference)).exists()
    if not looks_like_path:
        raise unknown_name("data", reference, ["demo", *sets, "or the path of a folder with a manifest.csv"])
    return read_folder(Path(reference))
