"""Post-training data from a simulated society: MATRIX and MATRIX-Gen (arXiv 2410.14251) as
LangGraph graphs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
