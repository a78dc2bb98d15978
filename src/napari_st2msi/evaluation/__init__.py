"""Splits, baselines, metrics: skill on spots that the model did not see."""
