"""Rows of CSV files, plain or gzipped, strictly: every error names the file and the row."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from unix_bench.errors import UserError

csv.field_size_limit(2**31 - 1)  # a report is one cell


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows below the header, numbered as the lines of a spreadsheet are: the header is row 1.

    Args:
        path: UTF-8; `.gz` is unpacked.
        columns: Must be in the header; further ones are kept too.

    Raises:
        UserError: The file is missing, cut short, not UTF-8, or a row does not fit the header.
    """
    content = io.StringIO(read_text(path), newline="")
    reader = csv.reader(content, strict=True)
    try:
        header = next(reader, [])
        missing = [name for name in columns if name not in header]
        if missing:
            raise UserError(f"{path} has no column {' and no column '.join(missing)}: add it to the first line")
        twice = sorted({name for name in header if name and header.count(name) > 1})
        if twice:
            raise UserError(f"{path}: column {twice[0]} stands there twice: keep one")
        for number, cells in enumerate(reader, start=2):
            if not cells:
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{path}, row {number}: {len(cells)} cells under {len(header)} columns: "
                    "quote texts that hold commas, and check that the file is whole"
                )
            yield number, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}, row {reader.line_num}: {error}: check the quotes around it") from error


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, a byte-order mark left out; `.gz` is unpacked.

    Raises:
        UserError: It is missing, cut short or not UTF-8.
    """
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is cut short or damaged ({error}): copy or download it again") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
