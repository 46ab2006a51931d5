"""How fast the attribution engine is, beside Captum and beside the machine's best matrix product.

    python benchmarks/attribution.py

attributes on the network of Table 1 at 70 x 125 with random weights: Captum's DeepLift and the engine take turns on the same
samples and pixels with the same number of threads; prints tables and writes `results/benchmarks/attribution.json`. A row is
the attribution of one pixel of one sample. The engine is counted whole: multipliers, rows and sums by distance and lag;
Captum's DeepLift gives the attributions alone. Agreement is the largest difference, over samples, pixels and input cells,
relative to the largest attribution of the same sample and pixel.
"""

import argparse
import json
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import torch
from torch import Tensor, nn

from sealiency.attribution.accumulation import Sums
from sealiency.attribution.attributor import FlatOutput
from sealiency.attribution.deeplift import DeepLift
from sealiency.config.attribution import Attribution
from sealiency.config.networks import DenseNetwork
from sealiency.emulators.devices import arithmetic, choose_device, set_up_process
from sealiency.emulators.networks.densenet import DenseNet
from sealiency.provenance import name_processor

GRID = (70, 125)
HISTORY = 36
GRIDS = ((35, 62), (70, 125), (105, 188))
SETTINGS = Attribution()
# All ocean pixels of the paper's region, its training samples and leads.
PAPER_ROWS = 5400 * 1280 * 3


class Bench:
    """A network with random weights and statistics, samples, and pixels spread over the grid."""

    def __init__(self, grid: tuple[int, int], samples: int, device: torch.device) -> None:
        torch.manual_seed(0)
        network = DenseNet(DenseNetwork(), HISTORY, grid)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                # Activations that cross zero, as those of a trained network do.
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2.0)
        self.network = network.eval().to(device)
        self.inputs = torch.randn(samples, HISTORY, *grid, device=device)
        self.baselines = torch.zeros(1, HISTORY, *grid, device=device)
        self.grid, self.device = grid, device

    def method(self, precision: str) -> DeepLift:
        """Return the engine as the workflow uses it."""
        # Half of what a job has, as in the workflow; on a GPU, half of what is free.
        memory = torch.cuda.mem_get_info()[0] if self.device.type == "cuda" else SETTINGS.memory_gb * 1e9
        return DeepLift(
            self.network, self.baselines, memory / 2, SETTINGS.integration_steps, precision, SETTINGS.occlusion_window
        )

    def choose_pixels(self, method: DeepLift, groups: int) -> list[int]:
        """Return the pixels of so many groups, spread evenly from the north-west corner to the south-east one."""
        every = method.engine.group(range(self.grid[0] * self.grid[1]))
        chosen = np.linspace(0, len(every) - 1, groups).round().astype(int)
        return [pixel for number in chosen for pixel in every[number]]

    def attribute(self, method: DeepLift, pixels: Sequence[int], samples: int | None = None) -> float:
        """Return the seconds that the engine takes for the sums of some pixels."""
        inputs = self.inputs[:samples]
        lat, lon = np.linspace(0.5, 69.5, self.grid[0]), np.linspace(-99.5, 24.5, self.grid[1])
        places = [(pixel // self.grid[1], pixel % self.grid[1]) for pixel in pixels]

        def work() -> None:
            sums = Sums(places, lat, lon, SETTINGS.distance_edges, HISTORY, [len(inputs)], False, self.device)
            for tile in method.tiles(inputs, pixels):
                sums.add(tile)

        return clock(work, self.device)


def clock(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds of one call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def explain_by_captum(network: nn.Module, inputs: Tensor, baselines: Tensor, pixel: int) -> Tensor:
    """Return Captum's attributions of one pixel."""
    with warnings.catch_warnings(), arithmetic("float32"):
        warnings.simplefilter("ignore")
        return captum.attr.DeepLift(FlatOutput(network)).attribute(inputs, baselines=baselines, target=pixel).detach()


def measure_matmul(dtype: torch.dtype, device: torch.device, precision: str) -> float:
    """Return the best rate of a square matrix product, FLOP/s."""
    best = 0.0
    for size in (1024, 2048, 4096) if device.type == "cpu" else (4096, 8192):
        a = torch.randn(size, size, device=device).to(dtype)
        with arithmetic(precision):
            torch.mm(a, a)
            for _ in range(3):
                seconds = clock(lambda a=a: torch.mm(a, a), device)
                best = max(best, 2 * size**3 / seconds)
    return best


def compare_with_captum(bench: Bench, precisions: Sequence[str], rounds: int, groups: int) -> dict[str, Any]:
    """Measure Captum and the engine in turns, and the matrix product between them."""
    methods = {precision: bench.method(precision) for precision in precisions}
    pixels = bench.choose_pixels(methods["float32"], groups)
    targets = pixels[:: len(pixels) // 4][:4]
    samples = len(bench.inputs)
    batch = min(samples, 8)
    rows = samples * len(pixels)
    explain_by_captum(bench.network, bench.inputs[:batch], bench.baselines, targets[0])
    for method in methods.values():
        bench.attribute(method, pixels)
    taken: list[dict[str, float]] = []
    rates: dict[str, float] = {}
    for number in range(rounds):
        one: dict[str, float] = {}
        one["captum_loop"] = statistics.median(
            clock(lambda t=t: explain_by_captum(bench.network, bench.inputs[:1], bench.baselines, t), bench.device)
            for t in targets
        )
        one["captum_batch"] = statistics.median(
            clock(lambda t=t: explain_by_captum(bench.network, bench.inputs[:batch], bench.baselines, t), bench.device)
            / batch
            for t in targets
        )
        for precision, method in methods.items():
            rate = measure_matmul(method.engine.precision, bench.device, precision)
            rates[precision] = max(rates.get(precision, 0.0), rate)
            one[precision] = bench.attribute(method, pixels) / rows
        taken.append(one)
        print(f"round {number + 1}: " + ", ".join(f"{name} {1e3 * s:.3g} ms" for name, s in one.items()), flush=True)
    middle = {name: statistics.median(one[name] for one in taken) for name in taken[0]}
    operations = 2 * statistics.mean(methods["float32"].engine.count_operations(pixel) for pixel in pixels)
    result: dict[str, Any] = {
        "rows": rows,
        "pixels": len(pixels),
        "samples": samples,
        "samples_at_once": {precision: method.at_once for precision, method in methods.items()},
        "flop_per_row": operations,
        "seconds_per_row": middle,
        "rounds": taken,
    }
    for precision in precisions:
        # Against the faster of Captum's two ways, round by round.
        result[f"speedup_captum_{precision}"] = statistics.median(
            min(one["captum_loop"], one["captum_batch"]) / one[precision] for one in taken
        )
        result[f"speedup_captum_loop_{precision}"] = statistics.median(
            one["captum_loop"] / one[precision] for one in taken
        )
        result[f"matmul_flops_{precision}"] = rates[precision]
        result[f"achieved_flops_{precision}"] = operations / middle[precision]
        result[f"share_of_matmul_rate_{precision}"] = operations / middle[precision] / rates[precision]
        result[f"projected_hours_paper_{precision}"] = PAPER_ROWS * middle[precision] / 3600
    return result


def compare_values(bench: Bench, precisions: Sequence[str]) -> dict[str, float]:
    """Return the largest differences from Captum, in the middle of the grid and at its corners and edges."""
    rows, columns = bench.grid
    pixels = [
        0,
        columns - 1,
        (rows // 2) * columns,
        (rows // 2) * columns + columns // 2,
        rows * columns - 1,
        5 * columns + 7,
    ]
    inputs = bench.inputs[:2]

    def captum_in(dtype: torch.dtype) -> list[Tensor]:
        bench.network.to(dtype)
        values = [explain_by_captum(bench.network, inputs.to(dtype), bench.baselines.to(dtype), p) for p in pixels]
        bench.network.float()
        return [value.double() for value in values]

    references = {"": captum_in(torch.float32), "_from_float64": captum_in(torch.float64)}
    worst: dict[str, float] = {}
    for precision in precisions:
        for tile in bench.method(precision).tiles(inputs, pixels):
            for number, pixel in enumerate(tile.pixels):
                for name, reference in references.items():
                    expected = reference[pixel][tile.samples]
                    given = torch.zeros_like(expected)
                    tile.window.cut(given).copy_(tile.attributions[:, number])
                    error = (given - expected).abs().amax((1, 2, 3)) / expected.abs().amax((1, 2, 3))
                    key = f"max_relative_difference{name}_{precision}"
                    worst[key] = max(worst.get(key, 0.0), error.max().item())
    return worst


def fit_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return e of the power law seconds ~ size^e that fits best in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def measure_growth(bench: Bench, device: torch.device) -> dict[str, Any]:
    """Measure how the cost grows with pixels, samples and the grid, in float32."""
    method = bench.method("float32")
    samples = len(bench.inputs)
    growth: dict[str, Any] = {}

    def record(name: str, sizes: Sequence[float], seconds: list[float]) -> None:
        growth[name] = {"size": list(sizes), "seconds": seconds, "exponent": fit_exponent(sizes, seconds)}
        print(f"cost ~ {name}^{growth[name]['exponent']:.2f}", flush=True)

    chosen = {groups: bench.choose_pixels(method, groups) for groups in (2, 6, 18)}
    record(
        "pixels", [len(pixels) for pixels in chosen.values()], [bench.attribute(method, p, 4) for p in chosen.values()]
    )
    counts = [count for count in (1, 2, 4, 8, 16, 32, 64) if count <= samples]
    record("samples", counts, [bench.attribute(method, chosen[6], count) for count in counts])
    per_row = []
    for grid in GRIDS:
        other = Bench(grid, min(samples, 4), device)
        engine = other.method("float32")
        # A box in the middle, which sees most.
        box = [(grid[0] // 2 + row) * grid[1] + grid[1] // 2 + column for row in range(8) for column in range(8)]
        other.attribute(engine, box)
        per_row.append(other.attribute(engine, box) / (len(box) * len(other.inputs)))
    record("cells", [rows * columns for rows, columns in GRIDS], per_row)
    return growth


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--samples", type=int, help="samples attributed; 8 on a processor, 128 on a GPU")
    parser.add_argument("--groups", type=int, help="groups of up to 16 pixels; 16 on a processor, 64 on a GPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--target", type=Path, default=Path("results/benchmarks/attribution.json"))
    options = parser.parse_args()
    set_up_process(options.threads)
    device = choose_device(options.device)
    on_gpu = device.type == "cuda"
    precisions = ["float32", "bfloat16", *(["tf32"] if on_gpu else [])]
    bench = Bench(GRID, options.samples or (128 if on_gpu else 8), device)
    result = {
        "device": torch.cuda.get_device_name() if on_gpu else name_processor(),
        "threads": options.threads,
        "torch": torch.__version__,
        **compare_values(bench, precisions),
        **compare_with_captum(bench, precisions, options.rounds, options.groups or (64 if on_gpu else 16)),
        "growth": measure_growth(bench, device),
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    print_table(result, precisions)
    options.target.parent.mkdir(parents=True, exist_ok=True)
    options.target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def print_table(result: dict[str, Any], precisions: Sequence[str]) -> None:
    """Print what was measured."""
    seconds = result["seconds_per_row"]
    print(
        f"\n{result['device']}, {result['threads']} thread(s), {result['samples']} samples x {result['pixels']} pixels"
    )
    print(
        f"Captum DeepLift: {1e3 * seconds['captum_loop']:.1f} ms a row in a loop, {1e3 * seconds['captum_batch']:.1f} in batches"
    )
    titles = ("engine", "ms a row", "x Captum", "from Captum", "from float64", "GFLOP/s", "of matmul", "paper, hours")
    print(" | ".join(titles))
    for name in precisions:
        cells = (
            f"{name}",
            f"{1e3 * seconds[name]:.3g}",
            f"{result[f'speedup_captum_{name}']:.1f}",
            f"{result[f'max_relative_difference_{name}']:.2g}",
            f"{result[f'max_relative_difference_from_float64_{name}']:.2g}",
            f"{result[f'achieved_flops_{name}'] / 1e9:.0f}",
            f"{100 * result[f'share_of_matmul_rate_{name}']:.0f} %",
            f"{result[f'projected_hours_paper_{name}']:.3g}",
        )
        print(" | ".join(cell.rjust(len(title)) for cell, title in zip(cells, titles, strict=True)))
    print(f"peak memory {result['peak_memory_gib']:.2f} GiB")


if __name__ == "__main__":
    main()
