"""Draw the MSI of a mouse bladder over its stain, registered without landmarks.

Usage: python scripts/bladder_overlay.py docs/images

Needs the folder `mouse_bladder_msi` in NAPARI_ST2MSI_DATA or ../shared/data; without it the picture stays as
it is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from napari_st2msi import open_section
from napari_st2msi.io.opening import Opening
from napari_st2msi.registration.automatic import propose
from napari_st2msi.registration.views import msi_view
from napari_st2msi.report.registration import write_overlay

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Register, say how far that can be trusted, and write `bladder_overlay.png`."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "images")
    data = Path(os.environ.get("NAPARI_ST2MSI_DATA", ROOT.parent / "shared" / "data")) / "mouse_bladder_msi"
    if not data.is_dir():
        print(f"No real data at {data}: bladder_overlay.png stays as it is.")
        return
    opening = Opening(name="mouse bladder", histology=data / "mouse_urinary_bladder_HE.tif", pixel_size_um=10)
    section = open_section(data / "bladder_msi.h5ad", opening=opening)
    registration = propose(section)
    assert registration.trust is not None
    print(*registration.trust.reasons, sep="\n")
    print(f"Dice of the tissue on both sides: {registration.trust.measures['dice']:.3f}")
    folder.mkdir(parents=True, exist_ok=True)
    write_overlay(folder / "bladder_overlay.png", section, registration, moving=msi_view(section, "components"))


if __name__ == "__main__":
    main()
