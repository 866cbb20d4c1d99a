"""Handlers of Ignite and MONAI engines: history, collapse monitor, moving average, model saver, panels, reports.

May import data, engines, losses, metrics, networks, report and transforms.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
