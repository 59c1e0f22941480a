"""What was found in a data set, for people."""

from __future__ import annotations

from collections import Counter

from unix_bench.data import Audit
from unix_bench.tables.console import wide_console

SHOWN = 20  # remarks of one kind that are printed one by one; --json has them all
MARKS = {"error": "ERROR", "warning": "warning", "note": "note"}


def print_audit(found: Audit) -> None:
    """Print the remarks, the worst first, and the two digests."""
    console = wide_console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    kinds = Counter((remark.level, remark.what) for remark in found.remarks)
    for level, what in sorted(kinds, key=lambda kind: list(MARKS).index(kind[0])):
        same = [remark for remark in found.remarks if (remark.level, remark.what) == (level, what)]
        for remark in same[:SHOWN]:
            say(f"{MARKS[level]}: {what}: {remark.where}: {remark.text}")
        if len(same) > SHOWN:
            say(f"{MARKS[level]}: {what}: and {len(same) - SHOWN} more (--json lists them all)")
    modes = ", ".join(f"{count} {mode}" for mode, count in sorted(found.modes.items()))
    say(f"{found.name}: {found.studies} studies, {found.sizes}, {modes or 'no image could be opened'}")
    say(f"content digest {found.content_digest}")
    say(f"pixel digest   {found.pixel_digest}")
    errors = sum(remark.level == "error" for remark in found.remarks)
    say(
        "the set is sound" if found.sound else f"{errors} error{'s' * (errors > 1)}: the set cannot be trusted as it is"
    )
