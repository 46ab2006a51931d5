"""The data set of the CMIP6 archive: resolved once into a pinned manifest, each file fetched and verified."""

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
        # A site may add its own copies of the archive.
        mirrors="",
    params:
        sha256=lambda wildcards: pinned_checksums(wildcards)[wildcards.file],
    message:
        "fetching and verifying {wildcards.file}"
    script:
        "../scripts/fetch_file.py"


rule fetch_dataset:
    input:
        fetched_files,
    log:
        f"{RUN}/logs/fetch_dataset.log",
    # No benchmark: with one it would run only once, and fail at looking up the sizes of the links that it removes.
    # Last and alone: it takes away what the preparation, if that is asked for as well, reads.
    priority: -100
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    threads: workflow.cores or 1
    message:
        "every file of {ESGF.facets.dataset} that the run needs is there and verified"
    # Snakemake keeps temporary files that a target asks for; without them the next run verifies anew.
    shell:
        "rm -f {input:q} 2> {log:q}"
