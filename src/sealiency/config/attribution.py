"""What is explained, by which method, and what is ablated."""

import itertools
import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sealiency.config.base import LONGEST_NAME, Section
from sealiency.config.data import Region

# Half the circumference of the Earth.
FARTHEST_KM = 20015.0

REFUSED_METHODS = {
    "lrp": (
        "with an epsilon near 0 it equals input_x_gradient on a network of ReLUs, so it would add nothing, and Captum's is not "
        "exact where layers share their input, as in a dense block; compare input_x_gradient in instance.methods instead"
    ),
    "gradcam": (
        "it gives one map for all input months together, which cannot be laid on months; choose deeplift, or compare saliency "
        "in instance.methods instead"
    ),
}
"""Methods that are known and not exact here, with the reason and what to do."""

WITHOUT_COMPLETENESS = {
    "guided_backprop": "is a filtered gradient, which does not sum to the forecast",
    "input_x_gradient": "does not sum to the forecast, because the shifts of batch norm act as biases",
    "saliency": "is a gradient, which does not sum to the forecast",
    "occlusion": "takes windows away one at a time, and their drops do not sum to the forecast",
}
"""Methods that serve single forecasts only, with the reason."""

WITHOUT_BASELINE = ("guided_backprop", "input_x_gradient", "saliency")
"""Methods that hold the input against nothing."""


def _refuse_method(name: Any) -> Any:
    if isinstance(name, str) and name in REFUSED_METHODS:
        raise ValueError(REFUSED_METHODS[name])
    return name


Method = Annotated[
    Literal[
        "deeplift",
        "deeplift_shap",
        "integrated_gradients",
        "guided_backprop",
        "input_x_gradient",
        "saliency",
        "occlusion",
    ],
    BeforeValidator(_refuse_method),
]


Length = Annotated[int, Field(ge=1)]


def name_baseline(method: str, samples: int) -> str:
    """Return the baseline of a method in words.

    Parameters
    ----------
    method
        Name of the method.
    samples
        Training samples that form the baselines; 0 is the zero baseline.
    """
    if method in WITHOUT_BASELINE:
        return "none"
    return f"{samples} training samples" if samples else "zero"


class Pixel(Section):
    """One output pixel: by row and column of the region's grid (0 in the south-west), by latitude and longitude, or by a rule."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=LONGEST_NAME)
    """Name in files and figures: letters and digits."""
    row: int | None = Field(default=None, ge=0)
    """Row of the region's grid, counted from the south."""
    column: int | None = Field(default=None, ge=0)
    """Column of the region's grid, counted from the west."""
    lat: float | None = Field(default=None, ge=-90, le=90)
    """Latitude, degrees north; the nearest cell centre is taken."""
    lon: float | None = Field(default=None, ge=-360, le=360)
    """Longitude, degrees east; the nearest cell centre is taken."""
    place: Literal["open_sea", "coast"] | None = None
    """A rule in place of numbers: open_sea takes the ocean cell nearest to the middle of the region's sea among those far
    from land and from the region's edges; coast takes the ocean cell beside land that lies nearest to that one."""

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        given = [{name for name in names if getattr(self, name) is not None} for names in PLACED_BY]
        if sum(map(bool, given)) != 1 or not any(
            found == set(names) for found, names in zip(given, PLACED_BY, strict=True)
        ):
            raise ValueError(f"pixel {self.name} needs row and column, or lat and lon, or place: open_sea or coast")
        return self


# What can say where a pixel lies.
PLACED_BY = (("row", "column"), ("lat", "lon"), ("place",))
# The paper's own places in its region, for the settings that are left out.
PAPER_REGION = Region()
PAPER_GROUP = Pixel(name="group", lat=55.5, lon=-43.5)
PAPER_COAST = Pixel(name="coast", lat=59.5, lon=-42.5)
PAPER_BOX = Region(south=45, north=52, west=-45, east=-35)


class Attribution(Section):
    """The mean heatmaps over the training samples."""

    method: Method = "deeplift"
    """Attribution method of the mean heatmaps: one with completeness, so deeplift, deeplift_shap or integrated_gradients."""
    pixels: Literal["all"] | Annotated[list[Pixel], Field(min_length=1)] = [
        Pixel(name="group", place="open_sea"),
    ]
    """Output pixels: a list, or `all` for every ocean pixel. Left out in the paper's region, it is the paper's pixel at
    55.5 N, 43.5 W."""
    heatmaps: Literal["listed"] | bool = "listed"
    """Keep mean heatmaps beside the monthly and radial sums: for listed pixels only, or true or false; for every ocean
    pixel of the paper's region they are 14 GB a lead before compression."""
    distance_edges: list[Annotated[float, Field(ge=0)]] = [
        *range(0, 2000, 100),
        *range(2000, 6000, 500),
    ]
    """Lower edges of the great-circle distance bins of the radial sums, km, from 0; the last bin has no upper edge."""
    samples: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """Training samples explained: all, or so many spread evenly over the training period."""
    bootstrap_block: int = Field(default=32, ge=1)
    """Consecutive samples whose monthly and radial sums are kept together: what a block bootstrap draws."""
    pixel_blocks: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Blocks that `all` pixels are divided into, one job each (a listed pixel is a block of its own); auto sizes them by
    job_minutes and memory_gb, so that a change of these or of the calibration can change the blocks and make shards anew."""
    sample_chunks: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Chunks of whole bootstrap blocks that the samples are divided into, one job each; auto sizes them likewise."""
    job_minutes: float = Field(default=30, gt=0)
    """Duration that auto aims at for one job, minutes."""
    memory_gb: float = Field(default=4, gt=0, le=1e6)
    """Working memory of one job, GB, half for its sums and half for its passes: the largest block and the number of samples
    attributed at once follow from it."""
    calibration: str | None = None
    """File of `sealiency calibrate`, the measured speed on your machine, by which auto sizes jobs; null assumes one."""
    precision: Literal["float32", "float64", "bfloat16", "tf32"] = "float32"
    """Arithmetic of the attributions; sums are float64 in any case. bfloat16 and tf32 (GPU only) serve deeplift and
    deeplift_shap and trade accuracy for speed: docs/attribution.md has their measured errors; under them the other
    methods of instance.methods use float32."""
    integration_steps: int = Field(default=64, ge=2, le=100_000)
    """Steps of integrated gradients."""
    occlusion_window: tuple[Length, Length, Length] = (1, 7, 7)
    """Months, rows and columns that occlusion sets to zero together; windows lie side by side and are cut off at the edges.
    Each window that holds ocean is a forecast more."""
    baseline_samples: int = Field(default=0, ge=0)
    """Training samples that form the baselines of deeplift_shap; 0 is the zero baseline, which equals deeplift. It has no
    effect on other methods, deeplift among them."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where attribution runs; auto takes a GPU if there is one."""
    ranks: int = Field(default=2, ge=2, le=10_000)
    """MPI ranks of the reduction; Slurm's executor takes no MPI job of one."""

    def describe_baseline(self, method: str | None = None) -> str:
        """Return the baseline of a method, or of the mean heatmaps', in words."""
        method = method or self.method
        return name_baseline(method, self.baseline_samples if method == "deeplift_shap" else 0)

    def describe_samples(self, training: int) -> str:
        """Return which of so many training samples are explained, in words."""
        number = self.count_samples(training)
        return f"all {training} training samples" if number == training else f"{number} of {training} training samples"

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if self.pixels != "all":
            names = [pixel.name for pixel in self.pixels]
            if len(set(names)) < len(names):
                raise ValueError(f"pixel names {names} hold one name twice")
        return self

    @field_validator("distance_edges")
    @classmethod
    def _check_edges(cls, edges: list[float]) -> list[float]:
        if not edges or edges[0] != 0 or any(low >= high for low, high in itertools.pairwise(edges)):
            raise ValueError("needs ascending edges that begin with 0")
        if edges[-1] >= FARTHEST_KM:
            raise ValueError(f"no two places lie {edges[-1]:g} km apart; {FARTHEST_KM:g} km is halfway round the Earth")
        return edges

    @property
    def keeps_heatmaps(self) -> bool:
        """Whether mean heatmaps are kept."""
        return self.pixels != "all" if self.heatmaps == "listed" else self.heatmaps

    def count_samples(self, training: int) -> int:
        """Return how many of so many training samples are explained."""
        return training if self.samples == "all" else self.samples

    def count_bootstrap_blocks(self, training: int) -> int:
        """Return how many bootstrap blocks the explained samples make; the last may be shorter."""
        return math.ceil(self.count_samples(training) / self.bootstrap_block)


# How the work is scheduled, which changes no number beyond the last bits.
SCHEDULING = ("job_minutes", "memory_gb", "calibration", "ranks")


def select_block(attribution: Attribution, block: str) -> Attribution:
    """Return the settings that one block's shards depend on, so that nothing else makes them anew."""
    defaults = {name: field.default for name, field in Attribution.model_fields.items()}
    update: dict[str, Any] = {name: defaults[name] for name in SCHEDULING}
    # It serves single forecasts only.
    update["occlusion_window"] = defaults["occlusion_window"]
    update["heatmaps"] = attribution.keeps_heatmaps
    if attribution.pixels != "all":
        update["pixel_blocks"] = defaults["pixel_blocks"]
        update["pixels"] = [pixel for pixel in attribution.pixels if pixel.name == block]
    return attribution.model_copy(update=update)


def select_listed(attribution: Attribution, compared: Pixel) -> Attribution:
    """Return the settings with a list of pixels: that of the settings, or the compared pixel where `all` are explained."""
    return attribution if attribution.pixels != "all" else attribution.model_copy(update={"pixels": [compared]})


class Instance(Section):
    """The explanation of single forecasts (the paper's figures 1 to 3)."""

    sample: int = Field(default=0, ge=0)
    """Index of the sample in the validation period."""
    methods: list[Method] = Field(
        default=["integrated_gradients", "guided_backprop", "deeplift", "deeplift_shap"], min_length=1
    )
    """Methods compared on the first pixel."""
    compared: Pixel = Pixel(name="coast", place="coast")
    """Pixel on which the methods are compared. Left out in the paper's region, it is the paper's pixel off the coast of
    Greenland, at 59.5 N, 42.5 W."""
    land: Pixel | None = None
    """Pixel A, on land by the coast; null takes the coastal land cell nearest to the compared pixel."""
    warm: Pixel | None = None
    """Pixel B; null takes the ocean cell with the highest target anomaly, 5 or more cells inside the region."""
    cold: Pixel | None = None
    """Pixel C; null takes the ocean cell with the lowest target anomaly, 5 or more cells inside the region."""

    @field_validator("methods")
    @classmethod
    def _check_methods(cls, methods: list[str]) -> list[str]:
        if len(set(methods)) < len(methods):
            raise ValueError(f"{methods} holds one method twice; name each once")
        return methods


class SignCheck(Section):
    """The test of what the sign of an attribution means: inputs of one sign are set to zero, and the output must move."""

    samples: int = Field(default=60, ge=1)
    """Validation samples tested, spread evenly over the period; all of them where there are fewer."""


class Ablation(Section):
    """The ablation experiment: what a box of the input holds is replaced in some months."""

    region: Region | None = None
    """The box that is ablated; null takes a box of a tenth of the region's rows and 2 in 25 of its columns about the
    open_sea pixel, and in the paper's region the paper's box of 45..52 N, 45..35 W."""
    months: Literal["all"] | Annotated[list[Annotated[int, Field(le=-1)]], Field(min_length=1)] = "all"
    """Input months ablated, as negative lags (-36 is the earliest, -1 the latest), or all."""
    replacement: Literal["zero", "climatology", "noise"] = "zero"
    """What takes the box's place: zero, the climatology that anomalies are taken from; climatology, the mean anomaly of
    the same calendar month over the training months (about zero where data.climatology is monthly); noise, the box as
    a training sample drawn at random has it, a realistic pattern that has nothing to do with the rest of the input."""
    seed: int = Field(default=0, ge=0)
    """Seed by which noise draws the training samples; no effect on other replacements."""
    sample: int = Field(default=0, ge=0)
    """Index of the sample in the validation period that is shown; the mean is over all of it."""

    def describe_replacement(self) -> str:
        """Return what takes the box's place, in words."""
        return {
            "zero": "zero (the climatology)",
            "climatology": "the mean anomaly of the calendar month over the training months",
            "noise": f"the box of a training sample drawn at random (seed {self.seed})",
        }[self.replacement]

    def describe_months(self) -> str:
        """Return the ablated input months in words."""
        if self.months == "all":
            return "all input months"
        listed = ", ".join(f"\N{MINUS SIGN}{-month}" for month in self.months)
        return f"input month{'s' * (len(self.months) > 1)} {listed}"
