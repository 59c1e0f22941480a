"""What a process of `killed` has loaded when it starts; nothing here computes, so that it can be forked."""

import unix_bench.benchmark
import unix_bench.cli
import unix_bench.merge
import unix_bench.models.unix.adapter
import unix_bench.tables.figures

__all__ = ["unix_bench"]
