"""UniX's speed: images and reports a second, by batch size, against the published procedure on the same weights.

    python benchmarks/unix_speed.py --json                       two cores: under nine minutes, one object
    python benchmarks/unix_speed.py --switches                   each thing done to be fast, switched off in turn
    python benchmarks/unix_speed.py --size real --device cuda    the released sizes, in bfloat16, with random weights

The middle size, meant for CPUs: hidden 512, 8 layers, 256 pixels, float32; the vocabulary, the patches of a read image
and everything else that does not follow from these as released. Every number comes of this run: the peak of matrix
products is measured between the others, half a second each on squares and on the shapes of the model into memory that
is there. The published procedure (`naive_unix.py`) runs alternately with ours, and its answers and images are held
against ours. Floating-point operations are those that must be done (`models/unix/cost.py`), the VAE's and the vision
tower's as torch counts them, so that a share of the peak says how much of the machine went into the model. Medians of
the repeats count, of the peak as of the rest.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from naive_unix import NaiveUniX
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from unix_bench.models.unix import UniX, UniXConfig
from unix_bench.models.unix.config import AutoencoderConfig, LanguageConfig, VAEConfig, VisionConfig
from unix_bench.models.unix.cost import image_flops, report_flops
from unix_bench.models.unix.flow import SamplerSettings, time_grid
from unix_bench.models.unix.speed import Speed

MIDDLE = UniXConfig(
    language=LanguageConfig(
        hidden_size=512, intermediate_size=1408, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8
    ),
    vision=VisionConfig(hidden_size=256, num_hidden_layers=6, num_attention_heads=4, intermediate_size=1024),
    vae=VAEConfig(ddconfig=AutoencoderConfig(ch=32)),
)
PROMPT, QUESTION = 32, 25  # tokens, start and end among them
NO_TOKEN = -1  # ends no answer, so that all have their full length


@dataclass
class Case:
    """What is measured, and how long it took.

    Attributes:
        run: Does it once.
        count: Images or reports of a run.
        flops: Of a run.
        times: Of its runs, in seconds.
    """

    name: str
    run: Callable[[], Any]
    count: int
    flops: int = 0
    times: list[float] = field(default_factory=list)

    def measure(self, device: torch.device) -> None:
        wait_for(device)
        start = time.perf_counter()
        self.run()
        wait_for(device)
        self.times.append(time.perf_counter() - start)

    @property
    def seconds(self) -> float:
        """The median of its runs."""
        return statistics.median(self.times)

    @property
    def rate(self) -> float:
        return self.count / self.seconds


class Peak:
    """How fast products of matrices are, in operations a second: of each shape the median of looks, the best counts."""

    def __init__(self, config: UniXConfig, dtype: torch.dtype, device: torch.device) -> None:
        width, wide = config.language.hidden_size, config.language.intermediate_size
        side = 8192 if device.type == "cuda" else 2048
        shapes = [(side, side, side), (side, width, 3 * width), (side, wide, width), (side, width, 2 * wide)]
        kind: dict[str, Any] = {"dtype": dtype, "device": device}
        self._products = [
            (torch.randn(rows, inner, **kind), torch.randn(inner, columns, **kind), torch.empty(rows, columns, **kind))
            for rows, inner, columns in shapes
        ]
        self._device = device
        self._found: list[list[float]] = [[] for _ in shapes]

    @property
    def flops(self) -> float:
        return max(map(statistics.median, self._found))

    def look(self, seconds: float = 0.5) -> None:
        """Multiply for so long, each shape in turn."""
        for (a, b, out), found in zip(self._products, self._found, strict=True):
            once = 2 * len(a) * a.shape[1] * b.shape[1]
            wait_for(self._device)
            start, done = time.perf_counter(), 0
            while time.perf_counter() - start < seconds:
                for _ in range(4):
                    torch.mm(a, b, out=out)
                    done += once
                wait_for(self._device)
            found.append(done / (time.perf_counter() - start))


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def random_model(config: UniXConfig, dtype: torch.dtype, device: torch.device) -> UniX:
    """Weights at random, made where they are used."""
    with torch.device("meta"):
        model = UniX(config)
    model.allocate(dtype, device)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.02 if parameter.dim() == 1 else 0.03)
    return model.eval()


def counted(function: Callable[[], Any]) -> int:
    """What torch counts as operations, attention on a CPU too, which it leaves out."""

    def attention(q: Any, k: Any, v: Any, *others: Any, out_shape: Any = None, **more: Any) -> int:
        return int(sdpa_flop_count(q, k, v))

    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={on_cpu: attention}) as counter:
        function()
    return counter.get_total_flops()


@dataclass
class Bench:
    """A model, and what is asked of it."""

    model: UniX
    side: int  # of an image in pixels
    settings: SamplerSettings
    words: int  # of a report

    def __post_init__(self) -> None:
        model, config = self.model, self.model.config
        rows = self.side // config.vae.ddconfig.stride
        self.grid, self.tokens = (rows, rows), rows * rows
        times = time_grid(self.settings.num_timesteps, self.settings.timestep_shift)[0].tolist()
        self.steps, self.guided = len(times), sum(map(self.settings.guided, times))
        latent = torch.zeros(1, config.vae.ddconfig.z_channels, *self.grid, device=model.device, dtype=model.dtype)
        size = config.vision.image_size
        with torch.inference_mode():
            of_vae = counted(lambda: model.vae.decode(latent))
            of_vision = counted(lambda: model.see(torch.zeros(1, 3, size, size)))
        self.flops_of_image = of_vae + image_flops(config, self.tokens, PROMPT, self.steps, self.guided)
        self.flops_of_report = of_vision + report_flops(config, QUESTION, self.words)
        self.naive = NaiveUniX(model)

    def text(self, number: int, length: int) -> list[int]:
        special = self.model.config.special_tokens
        words = torch.randint(5, 50_000, (length - 2,), generator=torch.Generator().manual_seed(number)).tolist()
        return [special.bos_token_id, *words, special.eos_token_id]

    def noise(self, number: int) -> torch.Tensor:
        shape = (self.tokens, self.model.config.vae.ddconfig.z_channels)
        return torch.randn(shape, generator=torch.Generator().manual_seed(number)).to(self.model.device)

    def pixels(self, number: int) -> torch.Tensor:
        size = self.model.config.vision.image_size
        return torch.randn(3, size, size, generator=torch.Generator().manual_seed(number)).to(self.model.device)

    def draw(self, batch: int) -> torch.Tensor:
        settings = {name: getattr(self.settings, name) for name in self.settings.__dataclass_fields__}
        noise = torch.stack([self.noise(number) for number in range(batch)])
        texts = [self.text(number, PROMPT) for number in range(batch)]
        drawn = self.model.draw(prompt_ids=texts, noise=noise, size=(self.side,) * 2, output="tensor", **settings)
        assert isinstance(drawn, torch.Tensor)
        return drawn

    def draw_naively(self) -> torch.Tensor:
        return self.naive.draw(self.text(0, PROMPT), self.noise(0), self.grid, self.settings)

    def write(self, batch: int, end: int = NO_TOKEN) -> list[list[int]]:
        pixels = torch.stack([self.pixels(number) for number in range(batch)])
        texts = [self.text(number, QUESTION) for number in range(batch)]
        return self.model.generate_ids(pixels, texts, self.words, eos_token_id=end)

    def write_naively(self) -> list[int]:
        return self.naive.write(self.pixels(0), self.text(0, QUESTION), self.words)

    def images(self, batch: int) -> Case:
        return Case(f"images, batch {batch}", lambda: self.draw(batch), batch, batch * self.flops_of_image)

    def reports(self, batch: int) -> Case:
        return Case(f"reports, batch {batch}", lambda: self.write(batch), batch, batch * self.flops_of_report)

    def held_against_naive(self) -> tuple[float, int]:
        """Greatest difference of an image, in grey levels, and how many first words of a report are the same."""
        image = (self.draw(1) - self.draw_naively()).abs().max() * 127.5
        ours, naive = self.write(1)[0][1:], self.write_naively()
        same = next(
            (place for place, pair in enumerate(zip(ours, naive, strict=True)) if len(set(pair)) > 1), len(ours)
        )
        return float(image), same


def measured(
    bench: Bench, batches: Sequence[int], reports: Sequence[int], repeats: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """All of it, ours and the published procedure in turn."""
    device = bench.model.device
    peak = Peak(bench.model.config, bench.model.dtype, device)
    peak.look()
    difference, same_words = bench.held_against_naive()  # the warm-up, too
    say(f"images differ from the naive procedure's by at most {difference:.2g} grey levels")
    say(f"the first {same_words} of {bench.words} words of a report are the same")
    naive_image = Case("images, naive", bench.draw_naively, 1, bench.flops_of_image)
    naive_report = Case("reports, naive", bench.write_naively, 1, bench.flops_of_report)
    images, written = [bench.images(batch) for batch in batches], [bench.reports(batch) for batch in reports]
    for _ in range(repeats):
        for naive, ours in ((naive_image, images), (naive_report, written)):
            naive.measure(device)
            for case in ours:
                peak.look()
                case.measure(device)
            naive.measure(device)
    for case in (naive_image, *images, naive_report, *written):
        rate = case.flops / case.seconds
        say(
            f"{case.name:20s} {case.rate:8.3f} a second {rate / 1e9:10.1f} GFLOP/s {rate / peak.flops:6.1%} of the peak"
        )
    best_image, best_report = (max(cases, key=lambda case: case.rate) for cases in (images, written))
    passes = bench.steps + bench.guided
    return {
        "images_ratio": round(best_image.rate / naive_image.rate, 3),
        "reports_ratio": round(best_report.rate / naive_report.rate, 3),
        "images_peak_share": round(best_image.flops / best_image.seconds / peak.flops, 3),
        "device": name_of(device),
        "reports_peak_share": round(best_report.flops / best_report.seconds / peak.flops, 3),
        "naive_images_peak_share": round(naive_image.flops / naive_image.seconds / peak.flops, 3),
        "peak_gflops": round(peak.flops / 1e9, 1),
        "images_a_second": {case.count: round(case.rate, 4) for case in images},
        "reports_a_second": {case.count: round(case.rate, 4) for case in written},
        "passes_a_second": round(best_image.rate * passes, 2),
        "naive_images_a_second": round(naive_image.rate, 4),
        "naive_reports_a_second": round(naive_report.rate, 4),
        "steps": bench.steps,
        "guided_steps": bench.guided,
        "grey_levels_from_naive": round(difference, 4),
        "equal_first_words": same_words,
        "words": bench.words,
        "peak_memory_mb": memory(device),
    }


def switched(bench: Bench, batch: int, repeats: int, say: Callable[[str], None]) -> dict[str, float]:
    """Time with each switch off, against the time with all as the device has them; above 1: it is slower without."""
    device, all_on = bench.model.device, bench.model.speed
    off: list[tuple[str, Speed, Case]] = [
        ("images: both velocities together", replace(all_on, together=False), bench.images(batch))
    ]
    if all_on.blocks:
        off.append(("images: products into kept memory", replace(all_on, blocks=False), bench.images(batch)))
    end = _end_of_uneven_answers(bench, batch)
    uneven = Case("reports of many lengths", lambda: bench.write(batch, end), batch)
    off.append(("reports: finished ones leave", replace(all_on, retire=False), uneven))
    for name, on, without in (
        ("compiled", all_on.compiled, replace(all_on, compiled=False)),
        ("recorded as graphs", all_on.graphs, replace(all_on, graphs=False)),
    ):
        if on:
            off.append((f"images: {name}", without, bench.images(batch)))
            off.append((f"reports: {name}", without, bench.reports(batch)))
    found = {}
    for name, speed, case in off:
        slower = replace(case, times=[])
        for _ in range(repeats + 1):
            for chosen, one in ((all_on, case), (speed, slower)):
                bench.model.be_fast(chosen)
                one.measure(device)
        found[name] = round(slower.seconds / case.seconds, 3)
        say(f"{name:40s} without: {found[name]:.2f} x the time")
    bench.model.be_fast(all_on)
    return found


def _end_of_uneven_answers(bench: Bench, batch: int) -> int:
    """The token with which answers would end at the most different lengths."""
    answers = [answer[1:] for answer in bench.write(batch)]
    lengths = {
        token: {answer.index(token) if token in answer else len(answer) for answer in answers}
        for token in {token for answer in answers for token in answer}
    }
    return max(lengths, key=lambda token: (len(lengths[token]), token))


def name_of(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def memory(device: torch.device) -> int:
    """The most that was in use, in megabytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--size", choices=("middle", "real"), default="middle")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--timesteps", type=int, default=26, help="points of the time grid of an image")
    parser.add_argument("--words", type=int, default=120, help="tokens of a report")
    parser.add_argument("--images", type=int, nargs="+", default=[8], help="batches of images")
    parser.add_argument("--reports", type=int, nargs="+", default=[8, 32], help="batches of reports")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--compiled", action="store_true", help="compile on a CPU too, which takes half a minute")
    parser.add_argument("--switches", action="store_true", help="also switch each thing off in turn")
    chosen = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr if chosen.json else sys.stdout, flush=True)

    device = torch.device(chosen.device)
    real = chosen.size == "real"
    config, dtype = (UniXConfig(), torch.bfloat16) if real else (MIDDLE, torch.float32)
    model = random_model(config, dtype, device)
    if chosen.compiled:
        model.be_fast(replace(model.speed, compiled=True))
    bench = Bench(model, 512 if real else 256, SamplerSettings(chosen.timesteps), chosen.words)
    found = measured(bench, chosen.images, chosen.reports, chosen.repeats, say)
    if chosen.switches:
        found["switches"] = switched(bench, max(chosen.images), chosen.repeats, say)
    if chosen.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
