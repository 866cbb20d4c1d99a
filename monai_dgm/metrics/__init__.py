"""Metrics with intervals over patients: decomposition, classification, detection, burden, paired comparisons.

NumPy and SciPy; may import transforms.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
