"""Everything that imports napari or Qt, and nothing else does."""
