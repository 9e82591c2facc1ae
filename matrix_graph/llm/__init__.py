"""Everything between a stage and a model: prompts, schemas, journal, limits, retries."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
