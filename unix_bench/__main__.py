"""`python -m unix_bench`."""

from unix_bench.cli import main

main()
