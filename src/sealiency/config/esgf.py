"""A CMIP6 data set of the Earth System Grid Federation: which one, where its index is asked, where its files lie."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from sealiency.config.base import Section

# Index "ESGF2-US-1.5-Catalog" of Globus Search, which serves the archive's American side.
GLOBUS_INDEX = "https://search.api.globus.org/v1/index/a8ef4320-9e5a-4793-837b-c45161ca1845"
# The European and Australian side: CEDA, DKRZ, NCI, IPSL and LIU.
SOLR_INDICES = [
    "https://esgf.ceda.ac.uk/esg-search/search",
    "https://esgf-data.dkrz.de/esg-search/search",
    "https://esgf.nci.org.au/esg-search/search",
    "https://esgf-node.ipsl.upmc.fr/esg-search/search",
    "https://esg-dn1.nsc.liu.se/esg-search/search",
]


def _check_version(version: str) -> str:
    if version != "latest" and not re.fullmatch(r"v\d{1,8}", version):
        raise ValueError("write a version as the archive does, for example v20190320, or latest")
    return version


def _check_address(address: str) -> str:
    if not re.match(r"https?://[^/]+", address):
        raise ValueError("write a whole address, beginning with https://")
    return address


Version = Annotated[str, AfterValidator(_check_version)]
Address = Annotated[str, AfterValidator(_check_address)]
Facet = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Facets(Section):
    """The terms of the CMIP6 Data Reference Syntax that name one data set."""

    mip_era: Facet = "CMIP6"
    """Phase of the Coupled Model Intercomparison Project."""
    activity_id: Facet
    """Activity, such as CMIP or ScenarioMIP."""
    institution_id: Facet
    """Institution, such as NCAR."""
    source_id: Facet
    """Model, such as CESM2."""
    experiment_id: Facet
    """Experiment, such as piControl."""
    variant_label: Facet
    """Realisation, initialisation, physics and forcing, such as r1i1p1f1."""
    table_id: Facet = "Omon"
    """Table: monthly ocean."""
    variable_id: Facet = "tos"
    """Variable: sea surface temperature."""
    grid_label: Facet
    """Grid: gr is regridded to latitudes and longitudes, gn the model's own."""

    @property
    def dataset(self) -> str:
        """The data set's identifier, without version."""
        return ".".join(self.model_dump().values())


class Esgf(Section):
    """One CMIP6 data set, resolved once into a pinned manifest, then fetched and verified."""

    facets: Facets
    """The data set."""
    version: Version = "latest"
    """Version to resolve, such as v20190320; latest takes the newest that is not retracted."""
    manifest: str | None = None
    """The pinned manifest, relative to the working directory; null is config/manifests/<data set>.json. One that is
    there is never replaced by a run."""
    folder: str = "archive"
    """Folder of the downloaded files, laid out as the archive is; ~ and environment variables are expanded."""
    mirrors: list[str] = []
    """Roots of local copies of the archive, which hold CMIP6/CMIP/...: asked before any server, and read in place."""
    globus_indices: list[Address] = [GLOBUS_INDEX]
    """Indices of Globus Search that are asked for the data set."""
    solr_indices: list[Address] = SOLR_INDICES
    """Solr-style indices that are asked for the data set."""
    timeout: float = Field(default=60.0, gt=0)
    """Seconds without an answer after which a server counts as dead."""
    attempts: int = Field(default=5, ge=1)
    """Tries at one server that bring nothing new, after which the next is taken."""
    wait: float = Field(default=2.0, ge=0)
    """Seconds before the second try, doubled for every further one."""

    @model_validator(mode="after")
    def _check_indices(self) -> Self:
        if not self.globus_indices and not self.solr_indices:
            raise ValueError("globus_indices and solr_indices are both empty; leave them out to ask the known ones")
        return self

    def describe(self) -> str:
        """Return the data set in words, for captions."""
        facets = self.facets
        return (
            f"{facets.source_id} {facets.experiment_id} {facets.variant_label} "
            f"({facets.mip_era} {facets.variable_id}, {facets.grid_label} grid)"
        )
