"""Training from corrections: data, process, gate and versions of the detector."""
