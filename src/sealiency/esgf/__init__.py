"""A CMIP6 data set from the Earth System Grid Federation: asking its index, pinning the answer, fetching the files."""
