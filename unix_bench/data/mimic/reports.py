"""Raw reports: a folder `files/pXX/pXXXXXXXX/sXXXXXXXX.txt`, or the official zip of it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

from unix_bench.data.sections import Sections, parse_sections
from unix_bench.errors import UserError

ARCHIVE = "mimic-cxr-reports.zip"


def study_folder(subject_id: str) -> str:
    """Where a patient lies below the root.

    >>> study_folder("10000032")
    'files/p10/p10000032'
    """
    return f"files/p{subject_id[:2]}/p{subject_id}"


class UnreadableReport(ValueError):
    """One report that cannot be used; the message names it."""


class Reports:
    """Reports of studies, read when asked for.

    Args:
        place: The zip, or the folder that holds `files/` or the zip.
        exceptions: Study id -> how its sections begin, for reports that the rules get wrong.
    """

    def __init__(self, place: Path, exceptions: Mapping[str, Mapping[str, str]]) -> None:
        inner = place / ARCHIVE
        self.place = inner if place.is_dir() and inner.is_file() else place
        self.exceptions = exceptions

    def sections(self, subject_id: str, study_id: str) -> Sections | None:
        """The sections of a study's report; None where it has no report.

        Raises:
            UnreadableReport: This one report is not UTF-8.
            UserError: The archive is damaged.
        """
        name = f"{study_folder(subject_id)}/s{study_id}.txt"
        raw = self._read(name)
        if raw is None:
            return None
        try:
            return parse_sections(raw.decode("utf-8"), self.exceptions.get(study_id))
        except ValueError as error:
            where = self.place / name if self.place.is_dir() else f"{self.place}: {name}"
            what = f"is not UTF-8 (byte {error.start})" if isinstance(error, UnicodeDecodeError) else f": {error}"
            raise UnreadableReport(f"{where} {what}") from error

    def _read(self, name: str) -> bytes | None:
        if self.place.is_dir():
            path = self.place / name
            return path.read_bytes() if path.is_file() else None
        try:
            return self._archive.read(name)
        except KeyError:
            return None
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
            raise UserError(f"{self.place}: {name} is damaged ({error}): copy the archive again") from error

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            archive = zipfile.ZipFile(self.place)
        except FileNotFoundError as error:
            raise UserError(f"{self.place} does not exist: it should hold the reports") from error
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(f"{self.place} is not a whole zip archive ({error}): copy it again") from error
        for name in archive.namelist():
            parts = PurePosixPath(name.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts:
                raise UserError(f"{self.place}: member '{name}' leaves the archive: this is not the official file")
        return archive
