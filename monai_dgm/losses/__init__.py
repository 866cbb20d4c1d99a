"""Losses: every term of the objective as a pure function, and the objective that weighs them.

Imports torch and MONAI; nothing here knows of networks or engines.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
