"""Reading the monthly records that people have.

| module | what it knows |
|---|---|
| `source` | what a path holds: NetCDF, Zarr, or something that must be turned into these first |
| `variable` | which variable is the sea surface temperature, how it is packed, what marks missing values, its units |
| `coordinates` | which variables are its time, latitude and longitude |
| `months` | which month each mean belongs to: time units, calendars, bounds, stamps |
| `grid` | the cells of a region, and columns that stand twice |
| `file` | one file as a part of the record: its lazy values, grid and months |
| `record` | all files as one lazy record: one grid, every month once |
"""
