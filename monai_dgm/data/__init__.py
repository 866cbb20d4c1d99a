"""Data: manifests and the RSNA challenge as MONAI datalists, splits, the decode-once cache, data sets, the simulator.

May import metrics, readers and transforms.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
