"""What a notebook needs, without Snakemake: files and arrays in, xarray out."""
