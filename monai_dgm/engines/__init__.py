"""Engines: training, evaluation and inference of each kind of model, and the weights they read and write.

May import data, losses, metrics, networks, readers, report and transforms.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
