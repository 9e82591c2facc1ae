"""Stand-ins for models and an OpenAI server with faults, and tests for LangGraph stores
(`matrix_graph.testing.stores`), for your tests as for ours.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
