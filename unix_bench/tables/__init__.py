"""What people read."""

from unix_bench.tables.audit import print_audit
from unix_bench.tables.results import print_results
from unix_bench.tables.rows import print_rows
from unix_bench.tables.spread import print_spread

__all__ = ["print_audit", "print_results", "print_rows", "print_spread"]
