"""unix-bench: a benchmark for chest-X-ray models that read and draw."""

__version__ = "0.1.0"
