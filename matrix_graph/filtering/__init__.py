"""Keep the rows that training learns from; every dropped row says by which rule."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
