"""Fitting on all spots, and model folders."""
