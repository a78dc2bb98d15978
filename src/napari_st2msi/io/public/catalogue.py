"""The public paired data sets that can be downloaded by name, and where each of them lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from napari_st2msi.errors import FileProblem

Host = Literal["zenodo", "dataverse", "mendeley"]


@dataclass(frozen=True)
class PublicData:
    """One record of a public repository.

    Attributes
    ----------
    name
        What it is called here.
    title, about
        What it is, and what of it can be opened.
    doi
        Of the record, without ``https://doi.org/``.
    paper
        What to cite beside the record.
    host, site
        Which kind of repository, and its address.
    files
        Patterns (as in the shell) of the files that are needed; the record may hold others.
    checksums
        ``algorithm:digest`` of files, where they are known beforehand from elsewhere than the repository.
    """

    name: str
    title: str
    about: str
    doi: str
    paper: str
    host: Host
    site: str
    files: tuple[str, ...] = ("*",)
    checksums: Mapping[str, str] = field(default_factory=dict)


CATALOGUE = {
    data.name: data
    for data in (
        PublicData(
            name="sma",
            title="Spatial multimodal analysis of transcriptomes and metabolomes in tissues",
            about="Mouse and human brain: Visium and MALDI-MSI (9-AA, DHB, FMP-10) of the same sections, unregistered.",
            doi="10.17632/w7nw4km7xd.1",
            paper="Vicari et al. 2024, Nature Biotechnology 42, 1046–1050, doi:10.1038/s41587-023-01937-y",
            host="mendeley",
            site="https://data.mendeley.com",
            files=("sma.zip",),
        ),
        PublicData(
            name="spamtp",
            title="SpaMTP: multi-omics mouse brain",
            about="One SMA section: Visium and MALDI-MSI (FMP-10) laid over it; and a striatum paired by spots (DHB).",
            doi="10.5281/zenodo.17246900",
            paper="SpaMTP, https://github.com/GenomicsMachineLearning/SpaMTP; the measurements are those of SMA, "
            "doi:10.1038/s41587-023-01937-y",
            host="zenodo",
            site="https://zenodo.org",
            files=("visium.RDS", "SpaMTP_msi_transformed.RDS", "striatum.dhb.data.RDS"),
            # As the authors list them in the manifest of their package SpaMTPData (version 1.0.0).
            checksums={
                "visium.RDS": "md5:fe1beef8631cf16d320334ab3694f58f",
                "SpaMTP_msi_transformed.RDS": "md5:4c9e3db3412df2a255a58fc6939e37de",
                "striatum.dhb.data.RDS": "md5:8fca750fc14909e638450fb5c5a0512b",
            },
        ),
        PublicData(
            name="desium",
            title="DESIUM: DESI-MSI and Visium of the same cancer tissues",
            about="Human breast and lung cancer: seven sections, spots with genes and 2,086 ions, already paired.",
            doi="10.7910/DVN/GZFCWC",
            paper="Godfrey et al. 2025, Angewandte Chemie International Edition 64, e202502028, "
            "doi:10.1002/anie.202502028",
            host="dataverse",
            site="https://dataverse.harvard.edu",
        ),
    )
}


def public_data(name: str) -> PublicData:
    """Return a data set by its name, whatever its case.

    Raises
    ------
    FileProblem
        There is none of that name.
    """
    found = CATALOGUE.get(name.strip().lower())
    if found is None:
        raise FileProblem(f"There is no public data set '{name}'. Known are: {', '.join(CATALOGUE)}.")
    return found
