"""Simulated frontal chest radiographs whose true normal image, residue, boxes and lung mask are known.

``radiograph`` puts one together from ``patient``, ``anatomy``, ``bones``, ``vessels``, ``opacity`` and
``acquisition``; ``sample`` writes the embedded sample. numpy, scipy and Pillow only; imports errors and utils alone.
"""

from monai_dgm.data.simulator.sample import write_sample
from monai_dgm.data.simulator.simulate import SimulatedRadiograph, simulate_radiograph

__all__ = ["SimulatedRadiograph", "simulate_radiograph", "write_sample"]
