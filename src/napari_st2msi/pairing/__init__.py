"""Overlap weights between pixels and spots, and what they aggregate."""
