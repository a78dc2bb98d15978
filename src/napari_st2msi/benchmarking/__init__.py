"""Many models on the same spots: every combination of a config, in one leaderboard."""
