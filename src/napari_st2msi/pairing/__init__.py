"""Pairing: which MSI pixels lie over which ST spot, and what a spot's ions are then."""
