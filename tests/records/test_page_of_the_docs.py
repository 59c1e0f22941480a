"""The commands of docs/records.md, one after the other as a reader would give them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from unix_bench.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "records.md"


def test_the_commands_of_the_page_work() -> None:
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) == 4
    for line in lines:
        result = CliRunner().invoke(main, shlex.split(line)[1:])
        assert result.exit_code == 0, result.output
    assert Path("page.html").is_file()
