"""Explain: what drives a prediction, how far to believe that, and what changed genes would change."""
