"""The few shared pieces that all docks are made of."""
