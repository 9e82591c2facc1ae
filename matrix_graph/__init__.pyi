from .context import Context as Context
from .errors import CallFailed as CallFailed
from .errors import InputError as InputError
from .errors import MatrixError as MatrixError
from .errors import RunPaused as RunPaused
from .filtering.graph import create_filter as create_filter
from .generation.graph import create_generator as create_generator
from .memory.records import Records as Records
from .memory.store import ChromaStore as ChromaStore
from .pipeline import create_matrix as create_matrix
from .runs.config import RunConfig as RunConfig
from .runs.result import RunResult as RunResult
from .runs.runner import arun as arun
from .runs.runner import run as run
from .schema import Group as Group
from .schema import Persona as Persona
from .schema import Profile as Profile
from .society.building import abuild_groups as abuild_groups
from .society.building import build_groups as build_groups
from .society.graph import create_society as create_society
from .society.modulated import ModulatedState as ModulatedState
from .society.modulated import add_modulator as add_modulator
from .society.own_agents import human_agent as human_agent
from .society.profiles import load_profiles as load_profiles

__version__: str
