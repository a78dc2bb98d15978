"""Public paired data: what there is, downloads that are checked, and which of the files are what."""
