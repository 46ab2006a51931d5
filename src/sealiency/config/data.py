"""Which sea surface temperature is read, and how it becomes standardised anomalies."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from sealiency.config.base import Section
from sealiency.config.esgf import Esgf


def _check_month(month: str) -> str:
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise ValueError("write a month as YYYY-MM, for example 0401-01")
    return month


Month = Annotated[str, AfterValidator(_check_month)]


class Region(Section):
    """A box of cell centres, which may cross the Greenwich meridian."""

    south: float = Field(default=0.0, ge=-90, le=90)
    """Southern edge, degrees north."""
    north: float = Field(default=70.0, ge=-90, le=90)
    """Northern edge, degrees north."""
    west: float = Field(default=-100.0, ge=-360, le=360)
    """Western edge, degrees east."""
    east: float = Field(default=25.0, ge=-360, le=360)
    """Eastern edge, degrees east."""

    @model_validator(mode="after")
    def _check_edges(self) -> Self:
        if self.south >= self.north:
            raise ValueError(f"south ({self.south:g}) must lie south of north ({self.north:g})")
        if not 0 < self.east - self.west <= 360:
            raise ValueError(
                f"east ({self.east:g}) must lie 0 to 360 degrees east of west ({self.west:g}); "
                "write a box across Greenwich as west: -100, east: 25"
            )
        return self

    def holds(self, lat: float, lon: float) -> bool:
        """Tell whether a point (degrees north, degrees east) lies in the box."""
        return self.south <= lat <= self.north and (lon - self.west) % 360 <= self.east - self.west


class SyntheticWorld(Section):
    """The embedded world: stochastic SST anomalies carried by currents, mixed and damped over the real coastline."""

    resolution: Literal[1, 2, 5] = 2
    """Side of a grid cell, degrees."""
    years: int = Field(default=400, ge=5, le=9999)
    """Length of the record, years."""
    years_per_file: int = Field(default=20, ge=1)
    """Length of one file, years."""
    seed: int = Field(default=0, ge=0)
    """Seed of the stochastic forcing."""


class Files(Section):
    """CF files of monthly sea surface temperature that the user has."""

    paths: list[str] = Field(min_length=1)
    """Paths or glob patterns, relative to the working directory; ~ and environment variables are expanded."""
    variable: str | None = None
    """Name of the variable; null finds the one variable whose standard name is a sea surface temperature."""
    missing: list[float] = []
    """Values, in the files' own units, that mark missing data and are not declared in the files, such as [-1000] where ice
    is."""
    stamp: Literal["start", "middle", "end"] | None = None
    """Which part of a month its time stamp marks, whatever bounds the files have; null asks the bounds, and without usable
    ones takes the month that the stamp lies in."""
    anomalies: bool = False
    """Whether the files hold anomalies rather than temperatures."""
    title: str = "the user's files"
    """Name of the data set in captions."""


class Basins(Section):
    """Basins to leave out of the ocean mask."""

    path: str
    """NetCDF file with integer basin labels on latitude and longitude (its first level is used)."""
    variable: str = "basin"
    """Name of the labels."""
    exclude: list[int] = Field(min_length=1)
    """Labels of the basins whose cells are treated as land."""


class Data(Section):
    """The record and its preparation."""

    source: Literal["synthetic", "files", "esgf"] = "synthetic"
    """Where the record comes from: the embedded world, files that the user has, or the CMIP6 archive."""
    synthetic: SyntheticWorld = SyntheticWorld()
    """Settings of the embedded world (source: synthetic)."""
    files: Files | None = None
    """Settings of the user's files (source: files)."""
    esgf: Esgf | None = None
    """The data set of the CMIP6 archive (source: esgf)."""
    region: Region = Region()
    """The box that is kept."""
    first_month: Month | None = None
    """First month read, YYYY-MM; null is the first of the record."""
    last_month: Month | None = None
    """Last month read, YYYY-MM; null is the last of the record."""
    largest_loss: float = Field(default=0.3, ge=0, le=1)
    """Largest share of the cells with data in any month that may lack data in another, and so count as land; a record that
    loses more is refused."""
    coastline: Literal["present", "any"] = "present"
    """Whether the record's coasts are those of today: then a record is refused that has sea in many cells which are land
    today; any is for other ages and made-up worlds."""
    filter: Literal["trailing_mean", "centred_mean", "none"] = "trailing_mean"
    """Moving average in time: a trailing mean covers a month and those before it; a centred one also months after it,
    so that short leads see part of what they forecast."""
    filter_months: int = Field(default=12, ge=2, le=120)
    """Width of the moving average, months."""
    climatology: Literal["mean", "monthly"] = "mean"
    """What anomalies are taken from: one mean a pixel, or one a pixel and calendar month."""
    trend: Literal["none", "linear"] = "none"
    """Trend removed from each pixel, fitted on the training months."""
    basins: Basins | None = None
    """Basins left out of the ocean mask; null keeps every cell with data."""

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if self.source == "files" and self.files is None:
            raise ValueError("source: files needs files.paths; name your NetCDF files there")
        if self.source == "esgf" and self.esgf is None:
            raise ValueError("source: esgf needs esgf.facets; name the data set there")
        if self.first_month and self.last_month and self.first_month > self.last_month:
            raise ValueError(f"first_month ({self.first_month}) must not be after last_month ({self.last_month})")
        return self

    def describe(self) -> str:
        """Return the data set in words, for captions."""
        if self.source == "files" and self.files is not None:
            return self.files.title
        if self.source == "esgf" and self.esgf is not None:
            return self.esgf.describe()
        world = self.synthetic
        return f"the embedded synthetic world ({world.years} years at {world.resolution} degrees, seed {world.seed})"

    def describe_filter(self) -> str:
        """Return the filter in words, for captions."""
        return (
            "no filter"
            if self.filter == "none"
            else f"{self.filter.replace('_', ' ')} over {self.filter_months} months"
        )

    def without_filter(self) -> "Data":
        """Return the settings without a filter, where the seasonal cycle is taken out month by month."""
        return self.model_copy(
            update={
                "filter": "none",
                "filter_months": Data.model_fields["filter_months"].default,
                "climatology": "monthly",
            }
        )

    def describe_preparation(self) -> dict[str, Any]:
        """Return the settings that the prepared record depends on: not what made the files, or brought them here."""
        elsewhere: Any = {"synthetic": True, "files": {"title"}, "esgf": set(Esgf.model_fields) - {"facets"}}
        return self.model_dump(mode="json", exclude=elsewhere)

    @property
    def variable(self) -> str | None:
        """Name of the variable in the files, or None to find it by its standard name."""
        if self.source == "esgf" and self.esgf is not None:
            return self.esgf.facets.variable_id
        return self.files.variable if self.source == "files" and self.files is not None else None

    @property
    def filter_width(self) -> int:
        """Raw months that one filtered month is made of."""
        return 1 if self.filter == "none" else self.filter_months


class Samples(Section):
    """How the record is cut into samples: training first in time, then validation, then test, with gaps between."""

    history: int = Field(default=36, ge=1)
    """Months of input of one sample."""
    training: int = Field(default=1280, ge=1)
    """Number of training samples."""
    validation: int = Field(default=2048, ge=1)
    """Number of validation samples."""
    test: int | Literal["rest"] = "rest"
    """Number of test samples, or `rest` for all that the record still holds; 0 for none."""

    @model_validator(mode="after")
    def _check_test(self) -> Self:
        if isinstance(self.test, int) and self.test < 0:
            raise ValueError(f"test ({self.test}) must not be negative")
        return self
