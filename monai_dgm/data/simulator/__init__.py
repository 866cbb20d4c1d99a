"""Simulated frontal chest radiographs whose true normal image, residue, boxes and lung mask are known.

``simulate`` makes one radiograph from ``patient``, ``anatomy``, ``bones``, ``vessels``, ``opacity`` and
``detector_noise``; ``sample`` writes the embedded sample. Needs NumPy, SciPy and Pillow.
"""

from monai_dgm.data.simulator.sample import write_sample
from monai_dgm.data.simulator.simulate import SimulatedRadiograph, simulate_radiograph

__all__ = ["SimulatedRadiograph", "simulate_radiograph", "write_sample"]
