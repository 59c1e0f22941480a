"""Test sets: studies with inputs and reference apart, their readers, and opening images."""

from pathlib import Path

from unix_bench.data.check import ImageCheck, check_images
from unix_bench.data.folder import read_folder
from unix_bench.data.images import UnreadableImage, open_image
from unix_bench.data.study import FINDINGS, DataSet, Inputs, Reference, Study
from unix_bench.errors import unknown_name

__all__ = [
    "FINDINGS",
    "NAMED",
    "DataSet",
    "ImageCheck",
    "Inputs",
    "Reference",
    "Study",
    "UnreadableImage",
    "check_images",
    "data_reference",
    "open_data",
    "open_image",
    "read_folder",
]

# Name -> folder of the data sets that have a name of their own.
NAMED = {"demo": Path(__file__).parent.parent / "demo_cxr"}


def open_data(name_or_path: str) -> DataSet:
    """Open a named data set, or a folder that holds a `manifest.csv`.

    Raises:
        UserError: There is no such name or folder, or it cannot be read.
    """
    if name_or_path in NAMED:
        return read_folder(NAMED[name_or_path])
    looks_like_path = "/" in name_or_path or Path(name_or_path).expanduser().exists()
    if not looks_like_path:
        raise unknown_name("data", name_or_path, [*NAMED, "or the path of a folder with a manifest.csv"])
    return read_folder(Path(name_or_path))


def data_reference(data: DataSet) -> str:
    """What to give `open_data` to open this set again: its name, or its absolute path."""
    return data.name if NAMED.get(data.name) == data.root else str(data.root.resolve())
