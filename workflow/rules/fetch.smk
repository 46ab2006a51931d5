"""The data set of the CMIP6 archive: resolved once into a pinned manifest, each file fetched and verified."""

from sealiency.esgf.manifest import name_manifest, read_manifest

ESGF = CONFIG.data.esgf
MANIFEST = str(name_manifest(ESGF))
# A manifest that is there is pinned: no rule makes it, so nothing asks the index again, whatever else changes.
PINNED = Path(MANIFEST).exists()


def select_files():
    """Return the files of the manifest that hold the months of the run, after the manifest is made."""
    if not PINNED:
        checkpoints.resolve_dataset.get()
    return checked(checked(read_manifest, ESGF).select, CONFIG.data.first_month, CONFIG.data.last_month)


if PINNED:
    # What is wrong with it is told before anything runs.
    select_files()


def fetched_files(wildcards):
    """Return the links to the verified files."""
    return [f"{RUN}/fetch_file/{file.name}" for file in select_files()]


def pinned_checksums(wildcards):
    """Return the SHA-256 of each file by name."""
    return {file.name: file.checksum for file in select_files()}


def pinned_version(wildcards):
    """Return the identifier of the data set with its version."""
    select_files()
    manifest = read_manifest(ESGF)
    return f"{manifest.dataset}.{manifest.version}"


if not PINNED:

    checkpoint resolve_dataset:
        output:
            MANIFEST,
        log:
            f"{RUN}/logs/resolve_dataset.log",
        benchmark:
            f"{RUN}/benchmarks/resolve_dataset.tsv"
        localrule: True
        conda:
            "../../envs/cpu.yaml"
        params:
            esgf=settings(ESGF),
        message:
            "asking the index for {ESGF.facets.dataset}"
        script:
            "../scripts/resolve_dataset.py"


# The link is temporary, so whenever the record is prepared its files are verified anew; the files themselves stay.
rule fetch_file:
    output:
        temp(f"{RUN}/fetch_file/{{file}}"),
    log:
        f"{RUN}/logs/fetch_file/{{file}}.log",
    benchmark:
        f"{RUN}/benchmarks/fetch_file/{{file}}.tsv"
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    resources:
        downloads=1,
    params:
        sha256=lambda wildcards: pinned_checksums(wildcards)[wildcards.file],
    message:
        "fetching and verifying {wildcards.file}"
    script:
        "../scripts/fetch_file.py"


rule fetch_dataset:
    input:
        fetched_files,
    # Last and alone: it takes away what the preparation, if that is asked for as well, reads.
    priority: -100
    localrule: True
    threads: workflow.cores or 1
    message:
        "every file of {ESGF.facets.dataset} that the run needs is there and verified"
    # Snakemake keeps temporary files that a target asks for; without them the next run verifies anew.
    shell:
        "rm -f {input}"
