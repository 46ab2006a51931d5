"""The pinned manifest of the data set, and the files of it that the run needs."""

from sealiency.esgf.manifest import name_manifest, read_manifest

ESGF = CONFIG.data.esgf
MANIFEST = str(name_manifest(ESGF))
# A manifest that is there is pinned: no rule makes it, so nothing asks the index again, whatever else changes.
PINNED = Path(MANIFEST).exists()


def pinned_manifest():
    """Return the manifest, after it is made."""
    if not PINNED:
        checkpoints.resolve_dataset.get()
    return checked(read_manifest, ESGF)


def select_files():
    """Return the files of the manifest that hold the months of the run."""
    return checked(pinned_manifest().select, CONFIG.data.first_month, CONFIG.data.last_month)


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
    manifest = pinned_manifest()
    return f"{manifest.dataset}.{manifest.version}"
