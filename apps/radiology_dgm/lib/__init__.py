"""Wiring between MONAI Label and monai_dgm.labelling; what can be tested without MONAI Label lives there."""
