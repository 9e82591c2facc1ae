from .folder import Exported as Exported
from .folder import export as export
from .formats import VIEWS as VIEWS
