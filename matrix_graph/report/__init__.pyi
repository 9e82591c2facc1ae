from .display import Display as Display
from .display import show_row as show_row
from .display import show_scenario as show_scenario
from .display import show_society as show_society
from .page import write_report as write_report
