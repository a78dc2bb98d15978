"""Models: the `Predictor` contract, the registry, one file a family."""
