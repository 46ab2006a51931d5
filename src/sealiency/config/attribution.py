"""What is explained, by which method, and what is ablated."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sealiency.config.base import Section
from sealiency.config.data import Region

Method = Literal["deeplift", "deeplift_shap", "integrated_gradients", "guided_backprop"]


class Pixel(Section):
    """One output pixel, by row and column of the region's grid (row 0 in the south, column 0 in the west) or by place."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$")
    """Name in files and figures: letters and digits."""
    row: int | None = Field(default=None, ge=0)
    """Row of the region's grid, counted from the south."""
    column: int | None = Field(default=None, ge=0)
    """Column of the region's grid, counted from the west."""
    lat: float | None = Field(default=None, ge=-90, le=90)
    """Latitude, degrees north; the nearest cell centre is taken."""
    lon: float | None = Field(default=None, ge=-360, le=360)
    """Longitude, degrees east; the nearest cell centre is taken."""

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        index, place = (self.row, self.column), (self.lat, self.lon)
        if not ((None not in index and place == (None, None)) or (None not in place and index == (None, None))):
            raise ValueError(f"pixel {self.name} needs either row and column, or lat and lon")
        return self


class Attribution(Section):
    """The mean heatmaps over the training samples."""

    method: Method = "deeplift"
    """Attribution method of the mean heatmaps."""
    pixels: Literal["all"] | Annotated[list[Pixel], Field(min_length=1)] = [
        Pixel(name="group", lat=55.5, lon=-43.5),
    ]
    """Output pixels: a list, or `all` for every ocean pixel."""
    pixel_blocks: int = Field(default=8, ge=1)
    """Blocks that `all` pixels are divided into, one job each (a listed pixel is a block of its own)."""
    samples: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """Training samples explained: all, or so many spread evenly over the training period."""
    sample_chunks: int = Field(default=1, ge=1)
    """Chunks that the samples are divided into, one job each."""
    batch_size: int = Field(default=8, ge=1)
    """Samples attributed at once."""
    precision: Literal["float32", "float64"] = "float32"
    """Arithmetic of the attributions; sums are float64 either way."""
    integration_steps: int = Field(default=64, ge=2)
    """Steps of integrated gradients."""
    baseline_samples: int = Field(default=0, ge=0)
    """Training samples that form the baselines of deeplift_shap; 0 is the zero baseline, which equals deeplift."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where attribution runs; auto takes a GPU if there is one."""
    ranks: int = Field(default=2, ge=1)
    """MPI ranks of the reduction."""

    def describe_baseline(self, method: str | None = None) -> str:
        """Return the baseline of a method, or of the mean heatmaps', in words."""
        method = method or self.method
        if method == "guided_backprop":
            return "none"
        from_samples = method == "deeplift_shap" and self.baseline_samples
        return f"{self.baseline_samples} training samples" if from_samples else "zero"

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if self.pixels != "all":
            names = [pixel.name for pixel in self.pixels]
            if len(set(names)) < len(names):
                raise ValueError(f"pixel names {names} hold one name twice")
        if self.samples != "all" and self.sample_chunks > self.samples:
            raise ValueError(f"sample_chunks ({self.sample_chunks}) must not exceed samples ({self.samples})")
        return self


def select_block(attribution: Attribution, block: str) -> Attribution:
    """Return the settings that one block's shards depend on, so that another pixel does not touch them."""
    unrelated = {"ranks": Attribution.model_fields["ranks"].default}
    if attribution.pixels != "all":
        unrelated["pixel_blocks"] = Attribution.model_fields["pixel_blocks"].default
        own = [pixel for pixel in attribution.pixels if pixel.name == block]
        return attribution.model_copy(update={**unrelated, "pixels": own})
    return attribution.model_copy(update=unrelated)


class Instance(Section):
    """The explanation of single forecasts (the paper's figures 1 to 3)."""

    sample: int = Field(default=0, ge=0)
    """Index of the sample in the validation period."""
    methods: list[Method] = Field(
        default=["integrated_gradients", "guided_backprop", "deeplift", "deeplift_shap"], min_length=1
    )
    """Methods compared on the first pixel."""
    compared: Pixel = Pixel(name="coast", lat=59.5, lon=-42.5)
    """Pixel on which the methods are compared; the paper's lies off the coast of Greenland."""
    land: Pixel | None = None
    """Pixel A, on land by the coast; null takes the coastal land cell nearest to the compared pixel."""
    warm: Pixel | None = None
    """Pixel B; null takes the ocean cell with the highest target anomaly, 5 or more cells inside the region."""
    cold: Pixel | None = None
    """Pixel C; null takes the ocean cell with the lowest target anomaly, 5 or more cells inside the region."""


class Ablation(Section):
    """The ablation experiment: a box of the input replaced by zero (the climatology) in some months."""

    region: Region = Region(south=45, north=52, west=-45, east=-35)
    """The box that is ablated."""
    months: Literal["all"] | Annotated[list[Annotated[int, Field(le=-1)]], Field(min_length=1)] = "all"
    """Input months ablated, as negative lags (-36 is the earliest, -1 the latest), or all."""
    sample: int = Field(default=0, ge=0)
    """Index of the sample in the validation period that is shown; the mean is over all of it."""
