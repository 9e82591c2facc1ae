from .graph import create_generator as create_generator
from .requirements import Requirement as Requirement
