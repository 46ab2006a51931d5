"""From sea surface temperature to standardised anomalies, with all statistics from the training months."""

import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import dask
import numpy as np
import torch
import xarray as xr

from sealiency.config.data import Basins, Data, Samples
from sealiency.data.reading import MONTHS_PER_CHUNK, open_record
from sealiency.data.samples import Split, count_training_months, split_samples
from sealiency.errors import SealiencyError
from sealiency.files import read_netcdf, sha256, write_netcdf
from sealiency.provenance import describe_provenance

LOGGER = logging.getLogger(__name__)
# Beyond what any sea surface or sea ice shows: such a value marks land or another unit.
PLAUSIBLE_CELSIUS = (-60.0, 60.0)


def prepare_record(
    paths: Sequence[str], settings: Data, history: int, training: int, target: Path, threads: int = 1
) -> None:
    """Write the prepared record: filtered, standardised anomalies on the region's grid.

    The sources are read once, cut and filtered into a scratch file beside the target; the statistics and the anomalies
    come from that, so memory is bounded by a chunk of months whatever the length of the record.

    Parameters
    ----------
    paths
        CF NetCDF files of monthly SST.
    settings
        Preparation settings.
    history, training
        Months of input of a sample and number of training samples: they tell which months statistics come from.
    target
        File to write, with `anomaly(time, lat, lon)` float32 (1), `ocean(lat, lon)`, `climatology` (degC), `scale`
        (degC) and, where one is removed, `trend` (degC per month). `anomaly * scale + climatology + trend * (months
        since `trend_reference`)` gives back filtered SST in degC.
    threads
        Chunks worked on at once.

    Raises
    ------
    SealiencyError
        If the files are unusable (see `open_record`), the record is too short or the region holds no ocean.
    """
    variable = settings.files.variable if settings.source == "files" and settings.files else None
    record = open_record(paths, variable, settings.region, settings.first_month, settings.last_month)
    months = record.sizes["time"]
    training_months = count_training_months(history, training)
    needed = training_months + settings.filter_width - 1
    if needed > months:
        raise SealiencyError(
            f"samples.training = {training}: the inputs of the training samples alone need {needed} months, the record "
            f"has {months}; lower samples.training or add months"
        )
    names = [Path(path).name for path in paths]
    # A name alone leaves the record the same wherever its files lie; only namesakes need their folders.
    inputs = {path if names.count(name) > 1 else name: sha256(path) for path, name in zip(paths, names, strict=True)}
    target.parent.mkdir(parents=True, exist_ok=True)
    # As many chunks are in memory at once as there are threads.
    dask.config.set(scheduler="threads", num_workers=threads)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".filtered-") as folder:
        scratch = Path(folder) / "filtered.nc"
        ocean, partly = _write_filtered(record, settings, scratch, paths)
        filtered = xr.open_dataset(
            scratch,
            engine="netcdf4",
            chunks={"time": MONTHS_PER_CHUNK},
            decode_times=xr.coders.CFDatetimeCoder(use_cftime=True),
        )["sst"]
        ocean = _exclude_basins(ocean, settings.basins)
        if not ocean.any():
            raise SealiencyError(
                f"data.region {settings.region.south:g}..{settings.region.north:g} N, {settings.region.west:g}.."
                f"{settings.region.east:g} E of {paths[0]} and the other files holds no cell with data in every month; "
                "choose a region with ocean"
            )
        LOGGER.info(
            "%d months, %d x %d cells, %d ocean; %d cells with data in some months only count as land",
            months,
            *ocean.shape,
            int(ocean.sum()),
            partly,
        )
        prepared = _standardise(filtered, ocean, settings, training_months)
        prepared.attrs = _describe(settings, history, training, prepared, inputs)
        write_netcdf(prepared, target, encoding=_encode(prepared), unlimited_dims=["time"])


def _write_filtered(
    record: xr.DataArray, settings: Data, scratch: Path, paths: Sequence[str]
) -> tuple[xr.DataArray, int]:
    valid = record.notnull()
    extremes = record.min(), record.max()
    if settings.filter != "none":
        window = record.rolling(time=settings.filter_months, center=settings.filter == "centred_mean")
        first = settings.filter_months // 2 if settings.filter == "centred_mean" else settings.filter_months - 1
        kept = record.sizes["time"] - settings.filter_months + 1
        record = window.mean().isel(time=slice(first, first + kept))
    record = record.chunk(time=MONTHS_PER_CHUNK)
    for name in ("time", "lat", "lon"):
        record[name].encoding.clear()
    # One pass over the sources serves the filtered record and the mask.
    write = record.to_dataset(name="sst").to_netcdf(
        scratch,
        engine="netcdf4",
        encoding={"sst": {"_FillValue": np.nan}, "time": {"units": _time_units(record)}},
        compute=False,
    )
    try:
        _, ocean, somewhere, coldest, warmest = dask.compute(write, valid.all("time"), valid.any("time"), *extremes)
    except (OSError, RuntimeError) as error:
        raise SealiencyError(
            f"reading the files of data.files.paths failed ({error}); one of them is damaged"
        ) from None
    for value in (float(coldest), float(warmest)):
        if not (np.isnan(value) or PLAUSIBLE_CELSIUS[0] <= value <= PLAUSIBLE_CELSIUS[1]):
            raise SealiencyError(
                f"data.files.paths: {paths[0]} and the other files hold a sea surface temperature of {value:g} degC; declare "
                "the value that marks land as _FillValue, or correct the units"
            )
    return ocean, int((somewhere & ~ocean).sum())


def _time_units(record: xr.DataArray) -> str:
    first = record["time"].values[0]
    return f"days since {first.year:04d}-01-01"


def _exclude_basins(ocean: xr.DataArray, basins: Basins | None) -> xr.DataArray:
    if basins is None:
        return ocean
    try:
        dataset = xr.load_dataset(basins.path, engine="netcdf4", decode_times=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise SealiencyError(f"{basins.path}: data.basins.path cannot be read ({error}); name a NetCDF file") from None
    if basins.variable not in dataset:
        raise SealiencyError(
            f"{basins.path}: data.basins.variable = {basins.variable!r} is not in the file, which holds "
            f"{sorted(map(str, dataset.data_vars))}; name one of them"
        )
    labels = dataset[basins.variable]
    try:
        labels = labels.rename({labels.cf["latitude"].name: "lat", labels.cf["longitude"].name: "lon"})
    except KeyError:
        raise SealiencyError(
            f"{basins.path}: {basins.variable} has no latitude and longitude with CF attributes; add units to them"
        ) from None
    for dim in set(labels.dims) - {"lat", "lon"}:
        labels = labels.isel({dim: 0})
    # Turned about the region's middle, so that a cell at either edge finds its neighbour.
    middle = float(ocean["lon"].mean())
    lon = labels["lon"].values.astype(np.float64)
    labels = labels.assign_coords(lon=lon - 360 * np.round((lon - middle) / 360)).sortby(["lat", "lon"])
    nearest = labels.sel(lat=ocean["lat"], lon=ocean["lon"], method="nearest").transpose("lat", "lon")
    for axis in ("lat", "lon"):
        step = float(np.abs(np.diff(labels[axis].values)).max(initial=0))
        if float(np.abs(nearest[axis].values - ocean[axis].values).max()) > step:
            raise SealiencyError(f"{basins.path}: its labels do not cover the {axis} of data.region; name another file")
    # By position: the labels' own coordinates differ from the record's, and xarray would align them.
    return ocean & ~nearest.isin(basins.exclude).values


def _subtract(values: xr.DataArray, climatology: xr.DataArray) -> xr.DataArray:
    """Subtract a mean, or the mean of each calendar month."""
    if "month" in climatology.dims:
        return (values.groupby("time.month") - climatology).drop_vars("month")
    return values - climatology


def _standardise(filtered: xr.DataArray, ocean: xr.DataArray, settings: Data, training_months: int) -> xr.Dataset:
    filtered = filtered.where(ocean)
    training = filtered.isel(time=slice(0, training_months))
    if settings.climatology == "monthly":
        if training_months < 12:
            raise SealiencyError(
                f"data.climatology = monthly: the {training_months} training months do not hold every calendar month; "
                "raise samples.training"
            )
        climatology = training.groupby("time.month").mean("time").compute()
    else:
        climatology = training.mean("time").compute()
    # Months since the middle of the training period, where a fitted line passes through the mean.
    elapsed = xr.DataArray(
        np.arange(filtered.sizes["time"]) - (training_months - 1) / 2, dims="time", coords={"time": filtered["time"]}
    )
    prepared = xr.Dataset()
    anomaly = _subtract(filtered, climatology)
    if settings.trend == "linear":
        fitted = elapsed.isel(time=slice(0, training_months))
        # Monthly means take up part of a slope, so both are fitted together; the mean of all months takes up none.
        mean_elapsed = fitted.groupby("time.month").mean() if "month" in climatology.dims else xr.DataArray(0.0)
        deviation = _subtract(fitted, mean_elapsed)
        product = (anomaly.isel(time=slice(0, training_months)) * deviation).sum("time")
        trend = (product / (deviation**2).sum()).where(ocean).compute()
        climatology = climatology - trend * mean_elapsed
        anomaly = _subtract(filtered, climatology) - trend * elapsed
        trend.attrs = {"long_name": "linear trend of the training months", "units": "degC month-1"}
        prepared["trend"] = trend
        prepared["trend_reference"] = xr.DataArray(
            (training_months - 1) / 2,
            attrs={"long_name": "months from the first month to where the trend is zero", "units": "1"},
        )
    scale = float((anomaly.isel(time=slice(0, training_months)) ** 2).mean().compute()) ** 0.5
    if not scale > 0:
        raise SealiencyError(
            "the training months of data.region hold one constant value; choose another region or file"
        )
    prepared["anomaly"] = (anomaly / scale).astype(np.float32).transpose("time", "lat", "lon")
    prepared["anomaly"].attrs = {
        "long_name": "standardised anomaly of filtered sea surface temperature",
        "units": "1",
        "cell_methods": "area: mean where sea time: mean",
    }
    prepared["ocean"] = ocean.astype(np.int8)
    prepared["ocean"].attrs = {
        "long_name": "ocean mask: cells with data in every month",
        "standard_name": "sea_binary_mask",
        "units": "1",
    }
    years = "time: mean within years time: mean over years" if "month" in climatology.dims else "time: mean"
    prepared["climatology"] = climatology
    prepared["climatology"].attrs = {
        "cell_methods": years,
        "long_name": "mean filtered sea surface temperature of the training months",
        "standard_name": "sea_surface_temperature",
        "units": "degC",
    }
    prepared["scale"] = xr.DataArray(
        scale, attrs={"long_name": "standard deviation of the training anomalies over ocean cells", "units": "degC"}
    )
    prepared["lat"].attrs = {
        "standard_name": "latitude",
        "long_name": "latitude",
        "units": "degrees_north",
        "axis": "Y",
    }
    prepared["lon"].attrs = {
        "standard_name": "longitude",
        "long_name": "longitude",
        "units": "degrees_east",
        "axis": "X",
    }
    prepared["time"].attrs = {"standard_name": "time", "long_name": "time", "axis": "T"}
    return prepared


def _encode(prepared: xr.Dataset) -> dict[str, dict[str, object]]:
    rows, columns = prepared["ocean"].shape
    months = min(MONTHS_PER_CHUNK, prepared.sizes["time"])
    return {
        "anomaly": {"chunksizes": (months, rows, columns)},
        "time": {"units": _time_units(prepared["anomaly"]), "dtype": "float64"},
    }


def _describe(
    settings: Data, history: int, training: int, prepared: xr.Dataset, inputs: dict[str, str]
) -> dict[str, object]:
    time = prepared["time"].values
    training_months = count_training_months(history, training)
    first, last = time[0], time[training_months - 1]
    return {
        "Conventions": "CF-1.11",
        "title": "Standardised anomalies of filtered monthly sea surface temperature",
        "filter": settings.filter,
        "filter_width_months": settings.filter_width,
        "region": json.dumps(settings.region.model_dump()),
        "training_period": f"{first.year:04d}-{first.month:02d}..{last.year:04d}-{last.month:02d}",
        "training_months": training_months,
        **describe_provenance(
            {"data": settings.model_dump(mode="json", exclude={"synthetic"}), "history": history, "training": training},
            inputs,
        ),
    }


class PreparedRecord:
    """The prepared record in memory, as the emulator reads it.

    Attributes
    ----------
    anomaly : torch.Tensor
        Standardised anomalies, float32 of shape (time, lat, lon), 0 on land.
    ocean : torch.Tensor
        Bool of shape (lat, lon).
    lat, lon : numpy.ndarray
        Cell centres, degrees north and east, ascending.
    months : list of str
        Month of each time step, YYYY-MM.
    scale : float
        degC of one standardised unit.
    filter_width : int
        Raw months of one filtered month.
    training_samples : range
        Training samples, by number k: the same for every lead.
    attributes : dict of str
        Filter, region, training period, settings and hashes of the inputs, as the file states them.
    sha256 : str
        Hash of the file.
    """

    def __init__(self, path: str | Path) -> None:
        dataset = read_netcdf(path)
        self.statistics = dataset.drop_vars("anomaly").drop_dims("time", errors="ignore")
        self.ocean = torch.from_numpy(dataset["ocean"].values.astype(bool))
        self.anomaly = torch.from_numpy(dataset["anomaly"].values.astype(np.float32))
        self.anomaly[:, ~self.ocean] = 0
        self.lat = dataset["lat"].values.copy()
        self.lon = dataset["lon"].values.copy()
        time = xr.CFTimeIndex(dataset["time"].values) if dataset["time"].dtype == object else dataset["time"].to_index()
        self.months = [f"{date.year:04d}-{date.month:02d}" for date in time]
        self.scale = float(dataset["scale"])
        self.filter_width = int(dataset.attrs["filter_width_months"])
        described = ("filter", "filter_width_months", "region", "training_period", "settings", "inputs_sha256")
        self.attributes = {name: str(dataset.attrs[name]) for name in described}
        settings = json.loads(dataset.attrs["settings"])
        self.training_samples = range(settings["history"], settings["history"] + settings["training"])
        self.sha256 = sha256(path)

    def split(self, lead: int, samples: Samples) -> Split:
        """Return the samples of each period of a lead; see `split_samples` for the error."""
        return split_samples(len(self.months), lead, samples, self.filter_width)
