"""Step through a run that is over or under way, change its past, compare its branches."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
