from .budget import Price as Price
from .caller import Caller as Caller
from .embedder import Embedder as Embedder
from .journal import Entry as Entry
from .journal import Journal as Journal
from .prompts import Prompts as Prompts
from .slot import Slot as Slot
from .usage import Usage as Usage
