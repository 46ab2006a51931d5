"""CF attributes that several files share."""

from typing import Any

import numpy as np

CONVENTIONS = "CF-1.11"

LATITUDE = {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"}
LONGITUDE = {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"}
# An axis of the grid, what its index is called, and what a pixel's place along it is.
AXES = (("lat", "row", LATITUDE), ("lon", "column", LONGITUDE))
LAG = {"long_name": "month of input relative to the first month after it", "units": "month"}

# A temperature is converted from degC with an offset, a difference of temperatures without: only this attribute tells.
TEMPERATURE = {"units": "degC", "units_metadata": "temperature: on_scale"}
TEMPERATURE_DIFFERENCE = {"units": "degC", "units_metadata": "temperature: difference"}

# Of these CF asks whether time counts leap seconds; no source says, and no month is changed by it.
LEAP_SECOND_CALENDARS = ("standard", "proleptic_gregorian", "julian")

PARTS = {"positive": "positive part", "negative": "absolute value of the negative part"}
RADIAL = {
    sign: {
        "long_name": f"sum over distance bin and mean over bootstrap block of the {part} of the attribution",
        "units": "1",
        "cell_methods": "distance: sum bootstrap_block: mean (over the samples of the block)",
    }
    for sign, part in PARTS.items()
}
MONTHLY = {
    name: {"long_name": long_name, "units": "1", "cell_methods": "area: sum"}
    for name, long_name in {
        **{
            sign: f"sum over space and mean over samples of the {part} of the attribution"
            for sign, part in PARTS.items()
        },
        "all": "sum of monthly_positive and monthly_negative",
    }.items()
}


def describe_flags(long_name: str, *meanings: str) -> dict[str, Any]:
    """Return the attributes of an int8 variable whose values 0, 1, ... have these meanings, a word each."""
    return {
        "long_name": long_name,
        "flag_values": np.arange(len(meanings), dtype=np.int8),
        "flag_meanings": " ".join(meanings),
        "units": "1",
    }
