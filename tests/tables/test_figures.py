"""Figures: the same bytes each time, values where they belong, and nothing that breaks them."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from unix_bench.data import FINDINGS
from unix_bench.records import Counts, Metric, Results
from unix_bench.tables.figures import Grid, Shown, choose_shown, picture_grids, row_plots
from unix_bench.tables.figures.panels import HEIGHTS, ROWS
from unix_bench.tables.figures.rows import row_figures
from unix_bench.tables.figures.sheet import figure_style, text_width

SHARES = ("precision", "recall", "density", "coverage")


def metric(name: str, value: float | None, pathology: str | None = None, n: int = 100, **more: object) -> Metric:
    return Metric.model_validate(
        {"name": name, "value": value, "pathology": pathology, "n": n, "protocol": "sound", "signature": "", **more}
    )


def results(metrics: list[Metric], restricted: bool = False, demo: bool = False, model: str = "unix") -> Results:
    return Results(
        run="r",
        predict_spec={"model": model, "data": "mimic_cxr"},
        score_spec={"protocol": "sound"},
        demo=demo,
        restricted=restricted,
        counts=Counts(total=1, ok=1, failed=0, skipped=0),
        metrics=metrics,
    )


def full(encoder: str = "raddino") -> list[Metric]:
    """Every metric the figures know, in every row but that of fractures, which has one study."""
    found = []
    for row, pathology in enumerate(ROWS):
        if pathology == "Fracture":
            few = "needs 2 images, there is 1"
            found += [metric(f"{name}_{encoder}", None, pathology, 1, reason=few) for name in ("kd", "fd", "kd_floor")]
            continue
        kd, fd = 0.02 + row / 1000, 30.0 + row
        flags = ["bias-dominated"] if row % 2 else []
        found += [
            metric(f"kd_{encoder}", kd, pathology, ci=(kd - 0.01, kd + 0.02)),
            metric(f"kd_floor_{encoder}", -0.004, pathology),
            metric(f"fd_{encoder}", fd, pathology, ci=(fd - 2, fd + 3), flags=flags),
            metric(f"fd_half_{encoder}", fd + 20, pathology, flags=flags),
            metric(f"fd_floor_{encoder}", fd + 10, pathology),
            *(metric(f"{share}_common_{encoder}", 0.5 + row / 100, pathology, sd=0.05) for share in SHARES),
            metric("alignment_biovilt", 0.3 + row / 100, pathology, ci=(0.2, 0.5)),
            metric("alignment_real_biovilt", 0.4, pathology),
            metric("alignment_shuffled_biovilt", 0.1, pathology),
        ]
    return found


def figure_of(metrics: list[Metric], stem: str = "kd_raddino") -> Figure:
    with figure_style():
        return row_figures(results(metrics))[stem]


def panel(figure: Figure, title: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_label() == title)


def dots(axes: Axes, label: str) -> dict[float, float]:
    """Value by height of a mark's dots."""
    lines = [line for line in axes.lines if line.get_label() == label]
    return {float(y): float(x) for line in lines for x, y in zip(*line.get_data(), strict=True)}


def words(figure: Figure) -> list[str]:
    return [text.get_text() for owner in (figure, *figure.axes) for text in owner.texts]


def check_png(content: bytes) -> None:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert "Software" not in image.info


def check_svg(content: bytes) -> str:
    root = ElementTree.fromstring(content)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert b"<dc:date>" not in content
    return content.decode()


def test_the_files_of_all_values() -> None:
    plots = row_plots(results([*full(), *full("demodino_squash")], restricted=True, demo=True))
    stems = ("kd_raddino", "kd_demodino_squash", "alignment_biovilt")
    assert sorted(plots) == sorted(f"{stem}.{kind}" for stem in stems for kind in ("png", "svg"))
    for name, content in plots.items():
        if name.endswith("png"):
            check_png(content)
        else:
            text = check_svg(content)
            assert "RESTRICTED" in text
            assert "DEMO: a stand-in's numbers" in text


def test_equal_results_give_equal_bytes_whatever_the_user_configured(tmp_path: Path) -> None:
    plots = row_plots(results(full()))
    before = dict(matplotlib.rcParams)
    assert row_plots(results(full())) == plots
    assert dict(matplotlib.rcParams) == before
    (tmp_path / "matplotlibrc").write_text(
        "font.size: 30\naxes.facecolor: red\nlines.linewidth: 9\nsvg.fonttype: none\n"
    )
    code = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1]); import test_figures as t\n"
        "plots = t.row_plots(t.results(t.full()))\n"
        "print(hashlib.sha256(b''.join(plots.values())).hexdigest(), 'matplotlib.pyplot' in sys.modules)"
    )
    environment = {**os.environ, "MATPLOTLIBRC": str(tmp_path), "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
    assert told == [hashlib.sha256(b"".join(plots.values())).hexdigest(), "False"]


def test_values_intervals_and_floors_lie_where_they_should() -> None:
    figure = figure_of(full())
    kd = panel(figure, "KD ↓")
    expected = {h: 0.02 + row / 1000 for row, h in enumerate(HEIGHTS) if ROWS[row] != "Fracture"}
    assert dots(kd, "kd_raddino") == pytest.approx(expected)
    assert (0.01, 0.04) in [tuple(np.round(line.get_xdata(), 9)) for line in kd.lines]
    bands = [bar for group in kd.containers for bar in group.patches]
    assert len(bands) == 14
    assert {(round(bar.get_x(), 9), round(bar.get_x() + bar.get_width(), 9)) for bar in bands} == {(-0.004, 0.004)}
    assert all(kd.get_xlim()[0] <= value <= kd.get_xlim()[1] for value in expected.values())
    recall = panel(figure, "Recall ↑")
    assert dots(recall, "recall_common_raddino")[HEIGHTS[0]] == 0.5
    assert (0.45, 0.55) in [tuple(np.round(line.get_xdata(), 9)) for line in recall.lines]
    assert kd.get_ylim()[0] > HEIGHTS[-1] > HEIGHTS[0] > kd.get_ylim()[1], "all studies are on top"


def test_hollow_where_flagged() -> None:
    fd = panel(figure_of(full()), "FD ↓")
    for name in ("fd_raddino", "fd_half_raddino"):
        solid, hollow = dots(fd, name), dots(fd, f"{name}, bias-dominated")
        assert [int(height) % 2 for height in hollow] == [1] * 7
        assert len(solid) == 14 - len(hollow) == 7
        lines = {str(line.get_label()): line.get_markerfacecolor() for line in fd.lines}
        assert lines[f"{name}, bias-dominated"] == "white" != lines[name]
    assert len(dots(fd, "fd_floor_raddino")) == 14


def test_what_was_not_computed_is_named_and_told() -> None:
    said = words(figure_of(full()))
    assert all(said.count(name) == 2 for name in FINDINGS), "once a tier"
    assert "n = 1, needs 2" in said
    assert "not scored" in words(figure_of([metric("kd_raddino", 0.1), metric("kd_floor_raddino", None)]))
    long = metric(
        "kd_raddino", None, "Edema", reason="the images of this row are not the same on both sides: see there"
    )
    cut = [text for text in words(figure_of([*full(), long])) if text.startswith("the images")]
    assert len(cut) == 1
    assert cut[0].endswith("…"), "FD has a value, so that there is only the room of one panel"


def test_only_what_is_there() -> None:
    assert row_plots(results([])) == {}
    assert row_plots(results([metric("rouge_l", 0.3)])) == {}
    assert row_plots(results([metric("kd_raddino", 0.1), metric("fd_raddino", 3.0)])) == {}, "no floor was taken"
    nulls = [metric(f"{name}_raddino", None, reason="no encoder") for name in ("kd", "kd_floor", "fd", "fd_floor")]
    assert row_plots(results([*nulls, metric("alignment_biovilt", None)])) == {}
    figure = figure_of([metric("kd_raddino", 0.1), metric("kd_floor_raddino", None), metric("fd_raddino", None)])
    assert {axes.get_label() for axes in figure.axes} == {"KD ↓", "names", "key"}
    assert list(row_plots(results([metric("alignment_real_biovilt", 0.3)]))) == [
        "alignment_biovilt.png",
        "alignment_biovilt.svg",
    ]


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [-1.0, 1e-9], [1e-9, 1e9], [5.0, 5.0], [-1e6, 2.0]])
def test_values_of_any_size(values: list[float]) -> None:
    names = ("kd", "kd_floor", "fd", "fd_floor", "fd_half", *(f"{share}_common" for share in SHARES))
    rows = list(zip(values, ROWS, strict=False))
    metrics = [
        metric(f"{name}_raddino", value, row, ci=(value - 1e3, value + 1e3)) for name in names for value, row in rows
    ]
    for name, content in row_plots(results(metrics)).items():
        check_png(content) if name.endswith("png") else check_svg(content)


def test_a_row_of_few_images_does_not_flatten_the_others() -> None:
    few = [metric("kd_raddino", 0.03, "Fracture", ci=(-9.0, 9.0)), metric("kd_floor_raddino", 5.0, "Fracture")]
    kd = panel(figure_of([metric("kd_raddino", 0.02), *few]), "KD ↓")
    assert kd.get_xlim()[1] - kd.get_xlim()[0] < 0.2
    assert {line.get_marker() for line in kd.lines} >= {"<", ">"}, "arrows say that the interval goes on"


def test_no_word_overlaps_another() -> None:
    for stem in ("kd_raddino", "alignment_biovilt"):
        with figure_style():
            figure = row_figures(results(full(), restricted=True, demo=True, model="m" * 200))[stem]
            figure.draw_without_rendering()
            texts = [text for owner in (figure, *figure.axes) for text in owner.texts if text.get_text()]
            ticks = [label for axes in figure.axes for label in axes.get_xticklabels() if axes.axison]
            boxes = [(text.get_text(), text.get_window_extent()) for text in [*texts, *ticks]]
        for index, (one, box) in enumerate(boxes):
            assert 0 <= box.x0 < box.x1 <= figure.bbox.x1, one
            for other, second in boxes[index + 1 :]:
                assert not box.overlaps(second), (one, other)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = []
    for number, shape in enumerate([(60, 40), (40, 60, 3), (300, 300), (1, 500)]):
        paths.append(tmp_path / f"secret-id-{number}.png")
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(paths[-1])
    return paths


def grid_of(images: list[Path], pathology: str | None = "Pleural Effusion") -> Grid:
    shown = [Shown(images[n % 4], images[(n + 1) % 4], 0.9 - n / 10) for n in range(9)]
    return Grid(pathology, 42, "alignment", tuple(shown[:3]), tuple(shown[3:6]), tuple(shown[6:]))


def test_grids_are_files_and_equal_each_time(images: list[Path]) -> None:
    grids = [grid_of(images, None), grid_of(images)]
    files = dict(picture_grids(grids, restricted=False, demo=False, title="UniX"))
    stems = ("grid_overall", "grid_pleural_effusion")
    assert list(files) == [f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")]
    assert dict(picture_grids(grids, restricted=False, demo=False, title="UniX")) == files
    for stem in stems:
        check_png(files[f"{stem}.png"])
        text = check_svg(files[f"{stem}.svg"])
        assert "data:image/png;base64" in text
        assert "RESTRICTED" not in text
        assert "DEMO" not in text
        assert "secret-id" not in text
        assert all(
            word in text for word in ("Best", "Median", "Worst", "generated", "real", "0.900", "0.100", "n = 42")
        )


def test_stamps(images: list[Path]) -> None:
    for restricted, demo in ((True, False), (False, True), (True, True)):
        files = dict(picture_grids([grid_of(images)], restricted, demo, "UniX"))
        text = check_svg(files["grid_pleural_effusion.svg"])
        assert ("RESTRICTED" in text, "DEMO: a stand-in's images" in text) == (restricted, demo)
        with Image.open(io.BytesIO(files["grid_pleural_effusion.png"])) as image:
            colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
        assert (colours == (0xD5, 0x5E, 0x00)).all(axis=1).sum() > 5000, "the stamp is seen"


def test_a_thumbnail_is_the_image(images: list[Path]) -> None:
    """The third image, larger than a thumbnail, against Pillow's own reduction at its place."""
    shown = Shown(None, images[2], 0.5)
    files = dict(picture_grids([Grid(None, 1, "x", (shown,), (), ())], False, False, "UniX"))
    with Image.open(io.BytesIO(files["grid_overall.png"])) as image:
        page = np.asarray(image.convert("L")).astype(float)
    with Image.open(images[2]) as image:
        reduced = np.asarray(image.resize((224, 224), Image.Resampling.LANCZOS)).astype(float)
    places = [(y, 30) for y in range(page.shape[0] - 224)]
    error = min(np.abs(page[y : y + 224, x : x + 224] - reduced).mean() for y, x in places)
    assert error < 1.0


def test_images_that_cannot_be_shown(images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes(images[2].read_bytes()[:200])
    broken = [
        tmp_path / "absent.png",
        tmp_path / "text.png",
        tmp_path / "cut.png",
        tmp_path,
        Path("x\0y"),
        Path("x" * 999),
    ]
    for path in broken:
        grid = Grid(None, 1, "x", (Shown(None, path, None), Shown(path, images[0], float("nan"))), (), ())
        text = check_svg(dict(picture_grids([grid], False, False, "UniX"))["grid_overall.svg"])
        assert all(words in text for words in ("cannot be read", "no real image", "no score"))
    nothing = dict(picture_grids([Grid("Edema", 0, "x", (), (), ())], True, True, "UniX"))
    check_png(nothing["grid_edema.png"])
    assert "no image to show" in check_svg(nothing["grid_edema.svg"])


@pytest.mark.parametrize(
    "odd", ["<&>\"'--> ]]>", "\x00\x07\ud800\ufffe", "漢字 🫁 \u202e", "$x^2$ \\frac", "a\nb" * 300, ""]
)
def test_odd_names_break_nothing(odd: str, images: list[Path]) -> None:
    grid = Grid(odd, 1, odd, grid_of(images).best, (), ())
    for name, content in picture_grids([grid], True, False, odd):
        check_png(content) if name.endswith("png") else check_svg(content)
    for name, content in row_plots(results([metric("alignment_biovilt", 0.2)], model=odd)).items():
        check_png(content) if name.endswith("png") else check_svg(content)
    with_reason = [metric("alignment_biovilt", 0.2), metric("alignment_biovilt", None, "Edema", reason=odd)]
    check_svg(row_plots(results(with_reason))["alignment_biovilt.svg"])


def test_widths_are_those_of_the_drawn_text() -> None:
    figure = Figure(dpi=300)
    for text, weight in (("Enlarged Cardiomediastinum", "normal"), ("RESTRICTED", "bold")):
        with figure_style():
            drawn = figure.text(0, 0, text, size=9, weight=weight).get_window_extent().width / 300
        assert text_width(text, 9, weight) == pytest.approx(drawn, rel=0.03)


@given(st.lists(st.floats(-1, 1) | st.sampled_from([0.25, float("nan")]), max_size=40), st.data())
def test_chosen_images(scores: list[float], data: st.DataObject) -> None:
    array = np.array(scores)
    members = data.draw(st.lists(st.sampled_from(range(len(scores))), unique=True)) if scores else []
    chosen = choose_shown(array, members)
    everyone = [index for group in chosen for index in group]
    scored = [index for index in members if not np.isnan(array[index])]
    assert len(everyone) == len(set(everyone)) == min(9, len(scored))
    assert set(everyone) <= set(scored)
    sizes = [len(group) for group in (chosen.best, chosen.worst, chosen.median)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[2] <= 1 or len(scored) > 9
    rest = set(scored) - set(chosen.best)
    assert all(array[index] >= array[other] for index in chosen.best for other in rest)
    rest -= set(chosen.worst)
    assert all(array[index] <= array[other] for index in chosen.worst for other in rest)
    middle = np.median(array[scored]) if scored else 0.0
    others = rest - set(chosen.median)
    assert all(abs(array[i] - middle) <= abs(array[j] - middle) for i in chosen.median for j in others)
    assert choose_shown(array, members[::-1]) == chosen, "the order of the members does not matter"


def test_tables_and_help_import_no_matplotlib() -> None:
    code = "import sys, unix_bench.cli, unix_bench.tables; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "import sys; from unix_bench.tables import row_plots; sys.exit('matplotlib' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
