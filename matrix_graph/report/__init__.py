"""A run as one page, and parts of it for notebooks: society, scenarios, rows, cost."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
