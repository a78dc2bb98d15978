"""The parts of a simulated section: tissue, fields, expression, ions, pose, histology."""
