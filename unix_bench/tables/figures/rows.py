"""Plots with a row a pathology: the distances and shares of each encoder, and the alignment with the prompt."""

from __future__ import annotations

from matplotlib.figure import Figure

from unix_bench.records import Results
from unix_bench.tables.figures.panels import Heading, Mark, Panel, draw_tiers, has_values
from unix_bench.tables.figures.sheet import BLUE, GREEN, INK, VERMILION, as_png, as_svg, figure_style

Tiers = list[list[Panel]]
ENCODERS = {"raddino": "RadDino", "medsiglip": "MedSigLIP"}
SQUASH = "_squash"
SHARES = ("precision", "recall", "density", "coverage")
ALIGNMENT = "alignment_biovilt"


def row_plots(results: Results) -> dict[str, bytes]:
    """Draw every figure that the results have values for.

    Returns:
        Content by file name, such as `kd_raddino.svg`: PNG and SVG of each encoder whose floor was taken, and of
        `alignment_biovilt`; empty where there is nothing to draw.
    """
    plots = {}
    with figure_style():
        for stem, figure in row_figures(results).items():
            plots[f"{stem}.png"] = as_png(figure)
            plots[f"{stem}.svg"] = as_svg(figure, f"{results.predict_spec['model']}: {stem}")
    return plots


def row_figures(results: Results) -> dict[str, Figure]:
    """The figures themselves, by the stem of their files' names."""
    table = {(metric.name, metric.pathology): metric for metric in results.metrics}
    names = dict.fromkeys(metric.name for metric in results.metrics)
    layouts = {}
    for encoder in [name.removeprefix("kd_") for name in names if name.startswith("kd_")]:
        if f"kd_floor_{encoder}" in names:
            title = f"Generated against real images: {_encoder_title(encoder)}"
            layouts[f"kd_{encoder}"] = (title, _encoder_tiers(encoder))
    layouts[ALIGNMENT] = ("Alignment of image and prompt: BioViL-T", _alignment_tiers())
    figures = {}
    for stem, (title, tiers) in layouts.items():
        drawn = [kept for tier in tiers if (kept := [panel for panel in tier if has_values(panel, table)])]
        if drawn:
            figures[stem] = draw_tiers(drawn, table, _heading(results, title))
    return figures


def _heading(results: Results, title: str) -> Heading:
    spec = results.predict_spec
    stamps = ["RESTRICTED data"] * results.restricted + ["DEMO: a stand-in's numbers"] * results.demo
    origin = f"{spec['model']} | {spec['data']} | protocol {results.score_spec['protocol']}"
    return Heading(title, origin, stamps)


def _encoder_title(encoder: str) -> str:
    name = encoder.removesuffix(SQUASH)
    return ENCODERS.get(name, name) + (", squashed to a square" if encoder.endswith(SQUASH) else "")


def _encoder_tiers(encoder: str) -> Tiers:
    kd = Panel(
        "KD ↓",
        (Mark(f"kd_{encoder}", "all images, 95 % interval", "o", BLUE),),
        band=f"kd_floor_{encoder}",
        band_words="± floor: real halves, n/2",
    )
    distances = (
        Mark(f"fd_{encoder}", "all images, 95 % interval", "o", BLUE, shift=-0.16),
        Mark(f"fd_half_{encoder}", "at the floor's n/2", "D", VERMILION, shift=0.2, size=3.2),
        Mark(f"fd_floor_{encoder}", "floor: real halves, n/2", "|", INK, shift=0.2, size=5.5),
    )
    fd = Panel("FD ↓", distances, logarithmic=True, hollow="hollow: bias-dominated")
    shares = [Panel(f"{share.capitalize()} ↑", (_share_mark(share, encoder),), share=True) for share in SHARES]
    return [[kd, fd], shares]


def _share_mark(share: str, encoder: str) -> Mark:
    words = "subsamples of every row at the common n: mean ± sd" if share == SHARES[0] else None
    return Mark(f"{share}_common_{encoder}", words, "o", BLUE, size=3.0)


def _alignment_tiers() -> Tiers:
    marks = (
        Mark(ALIGNMENT, "drawn image, its prompt; 95 % interval", "o", BLUE),
        Mark("alignment_real_biovilt", "real image, the same prompt (no ceiling)", "s", GREEN, shift=0.24, size=3.6),
        Mark("alignment_shuffled_biovilt", "drawn image, other prompts", "^", VERMILION, shift=-0.24, size=4.2),
    )
    return [[Panel("Cosine ↑", marks)]]
