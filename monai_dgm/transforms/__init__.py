"""Transforms: pixels to model input and back, augmentation, superimposed opacities, saliency, lungs, boxes.

May import readers; nothing here knows of data or engines.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
