from .episodic import EpisodicMemory as EpisodicMemory
from .episodic import Query as Query
from .lane import Memory as Memory
from .lane import Recalled as Recalled
from .lane import Weights as Weights
from .records import Records as Records
from .store import ChromaStore as ChromaStore
