"""Networks: the disentangled generative model, its inference network, discriminator, classifiers, detector, segmentors.

Imports torch, MONAI and torchvision; nothing here knows of losses, data or engines.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
