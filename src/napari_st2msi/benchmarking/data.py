"""The data of a benchmark, opened as a config says, and a mark of what they hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_st2msi.benchmarking.combinations import Combination
from napari_st2msi.benchmarking.config import Config, Data
from napari_st2msi.benchmarking.files import located
from napari_st2msi.benchmarking.threads import capped
from napari_st2msi.errors import St2msiError
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress, check, never

if TYPE_CHECKING:
    import pandas as pd

    from napari_st2msi.section import Section


class Shelf:
    """Opens data when they are first needed, and holds those that were needed last.

    Parameters
    ----------
    config
        Says where they are.
    paired
        Data that are open already, by name; they are looked for here first.
    """

    def __init__(self, config: Config, paired: Mapping[str, PairedDataset] | None = None) -> None:
        self._config = config
        self._paired = dict(paired or {})
        self._sections: tuple[str, list[Section]] = ("", [])
        self._last: tuple[str, PairedDataset, str] | None = None

    @property
    def names(self) -> list[str]:
        """Of all data sets."""
        return list(self._paired) or [each.name for each in self._config.data]

    def get(
        self, wanted: Combination, *, progress: Progress = Progress(), cancelled: Callable[[], bool] = never
    ) -> tuple[PairedDataset, str]:
        """Return the spots of a combination, with their histology where it asks for it, and their `content`.

        Raises
        ------
        St2msiError
            They cannot be opened, or are not paired; the message names the data.
        """
        genes = wanted.recipe.genes.model_dump(mode="json")
        mark = json.dumps([wanted.data, {k: v for k, v in genes.items() if k.startswith("histology")}])
        if self._last is None or self._last[0] != mark:
            check(cancelled)
            try:
                with capped(self._config.threads, wanted.recipe):
                    paired = self._open(wanted, progress, cancelled)
            except St2msiError as error:
                raise type(error)(f"Data '{wanted.data}': {error}") from error
            self._last = mark, paired, content(paired)
        return self._last[1], self._last[2]

    def sections(
        self, name: str, *, progress: Progress = Progress(), cancelled: Callable[[], bool] = never
    ) -> list[Section]:
        """Return the opened sections of a data set; none where it was simulated or given as paired spots."""
        data = next((each for each in self._config.data if each.name == name), None)
        if name in self._paired or data is None or data.simulate is not None:
            return []
        if self._sections[0] != name:
            self._sections = name, _open_sections(located(data, self._config.folder), progress, cancelled)
        return self._sections[1]

    def _open(self, wanted: Combination, progress: Progress, cancelled: Callable[[], bool]) -> PairedDataset:
        from napari_st2msi.features.histology import described
        from napari_st2msi.pairing.histology import describe_spots
        from napari_st2msi.pipeline import paired_dataset

        genes = wanted.recipe.genes
        if wanted.data in self._paired:
            if genes.histology != "none":
                described(self._paired[wanted.data].genes, genes)
            return self._paired[wanted.data]
        data = located(next(each for each in self._config.data if each.name == wanted.data), self._config.folder)
        if data.simulate is not None:
            from napari_st2msi.io.sample import simulate

            sample = simulate(data.simulate, progress=progress, cancelled=cancelled)
            for section in sample.sections:
                describe_spots(section, genes, cancelled=cancelled)
            return sample.paired()
        sections = self.sections(wanted.data, progress=progress.part(0.0, 0.7), cancelled=cancelled)
        return paired_dataset(sections, wanted.recipe, progress=progress.part(0.7, 1.0), cancelled=cancelled)


def content(paired: PairedDataset) -> str:
    """Return 32 hexadecimal digits that change with any name, place, value, group or pixel of a data set."""
    from napari_st2msi.features.histology import HISTOLOGY
    from napari_st2msi.training.fingerprint import fingerprint

    digest = blake2b(fingerprint(paired).encode(), digest_size=16)
    for table in (paired.genes.obs, paired.ions.obs, paired.ions.var):
        _add_frame(digest, table)
    # What else lies there no model reads, and sparse or mixed tables have no bytes that stay the same.
    for name in (HISTOLOGY, "spatial"):
        if name in paired.genes.obsm:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(np.asarray(paired.genes.obsm[name])).tobytes())
    weights = paired.pixel_weights
    if weights is not None:
        for part in (weights.indptr, weights.indices, weights.data):
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _add_frame(digest: Any, frame: pd.DataFrame) -> None:
    for name in sorted(map(str, frame.columns)):
        digest.update(f"{name}\x01".encode())
        digest.update("\x00".join(map(str, frame[name])).encode())


def _open_sections(data: Data, progress: Progress, cancelled: Callable[[], bool]) -> list[Section]:
    from napari_st2msi.pipeline import open_section

    sections = []
    for number, path in enumerate(data.paths):
        part = progress.part(number / len(data.paths), (number + 1) / len(data.paths))
        sections.append(open_section(path, data.msi, opening=data.opening, progress=part, cancelled=cancelled))
    return sections
