"""Post-training data from a simulated society: MATRIX and MATRIX-Gen (arXiv 2410.14251) as LangGraph graphs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matrix_graph.amendments import Amendment as Amendment
    from matrix_graph.config import RunConfig as RunConfig
    from matrix_graph.context import Context as Context
    from matrix_graph.context import close as close
    from matrix_graph.context import opened as opened
    from matrix_graph.errors import CallFailed as CallFailed
    from matrix_graph.errors import CapReached as CapReached
    from matrix_graph.errors import InputError as InputError
    from matrix_graph.errors import MatrixError as MatrixError
    from matrix_graph.errors import ProviderDown as ProviderDown
    from matrix_graph.errors import RunPaused as RunPaused
    from matrix_graph.estimates import estimate as estimate
    from matrix_graph.filter_config import FilterConfig as FilterConfig
    from matrix_graph.filter_folder import FilterResult as FilterResult
    from matrix_graph.filter_runner import filter_rows as filter_rows
    from matrix_graph.filter_runner import refilter as refilter
    from matrix_graph.filtering.code import TestsPass as TestsPass
    from matrix_graph.filtering.contamination import Contamination as Contamination
    from matrix_graph.filtering.duplicates import ExactDuplicates as ExactDuplicates
    from matrix_graph.filtering.duplicates import NearDuplicates as NearDuplicates
    from matrix_graph.filtering.form import Form as Form
    from matrix_graph.filtering.graph import create_filter as create_filter
    from matrix_graph.filtering.judge import Judge as Judge
    from matrix_graph.filtering.judge import Judged as Judged
    from matrix_graph.filtering.language import Language as Language
    from matrix_graph.filtering.pairs import Compare as Compare
    from matrix_graph.filtering.pairs import Pairs as Pairs
    from matrix_graph.filtering.pairs import PairShape as PairShape
    from matrix_graph.filtering.pairs import Preferred as Preferred
    from matrix_graph.filtering.rewards import FunctionReward as FunctionReward
    from matrix_graph.filtering.rewards import HttpReward as HttpReward
    from matrix_graph.filtering.rewards import JudgeReward as JudgeReward
    from matrix_graph.filtering.rewards import LocalReward as LocalReward
    from matrix_graph.filtering.rewards import PairwiseReward as PairwiseReward
    from matrix_graph.filtering.rewards import Rewards as Rewards
    from matrix_graph.filtering.rewards import Verifier as Verifier
    from matrix_graph.filtering.rollouts import Guesses as Guesses
    from matrix_graph.filtering.rollouts import Rollouts as Rollouts
    from matrix_graph.filtering.rules import Means as Means
    from matrix_graph.filtering.rules import Rules as Rules
    from matrix_graph.filtering.selection import Select as Select
    from matrix_graph.filtering.semantic import SemanticDuplicates as SemanticDuplicates
    from matrix_graph.filtering.signal import Consistent as Consistent
    from matrix_graph.filtering.signal import Learnability as Learnability
    from matrix_graph.filtering.signal import MinReward as MinReward
    from matrix_graph.filtering.signal import NotGuessable as NotGuessable
    from matrix_graph.filtering.signal import PassRate as PassRate
    from matrix_graph.filtering.signal import Rip as Rip
    from matrix_graph.filtering.signal import ZeroAdvantage as ZeroAdvantage
    from matrix_graph.filtering.step import Drop as Drop
    from matrix_graph.filtering.step import Note as Note
    from matrix_graph.generation.graph import create_generator as create_generator
    from matrix_graph.generation.requirements import Requirement as Requirement
    from matrix_graph.memory.episodic import EpisodicMemory as EpisodicMemory
    from matrix_graph.memory.records import Records as Records
    from matrix_graph.memory.store import ChromaStore as ChromaStore
    from matrix_graph.pipeline import create_matrix as create_matrix
    from matrix_graph.process import tuned_process as tuned_process
    from matrix_graph.runner import RunResult as RunResult
    from matrix_graph.runner import arun as arun
    from matrix_graph.runner import run as run
    from matrix_graph.schema import Group as Group
    from matrix_graph.schema import Persona as Persona
    from matrix_graph.schema import Profile as Profile
    from matrix_graph.society.agent import human_agent as human_agent
    from matrix_graph.society.graph import create_society as create_society
    from matrix_graph.society.grouping import form_groups as form_groups
    from matrix_graph.society.modulated import ModulatedState as ModulatedState
    from matrix_graph.society.modulated import add_modulator as add_modulator
    from matrix_graph.society.personas import write_personas as write_personas
    from matrix_graph.society.profiles import load_profiles as load_profiles
    from matrix_graph.society.profiles import sample_profiles as sample_profiles
    from matrix_graph.workbench.branch import diff_runs as diff_runs
    from matrix_graph.workbench.branch import fork_run as fork_run
    from matrix_graph.workbench.branch import preference_pair as preference_pair
    from matrix_graph.workbench.branch import replay_run as replay_run
    from matrix_graph.workbench.changes import CallEdit as CallEdit
    from matrix_graph.workbench.debugger import Debugger as Debugger
    from matrix_graph.workbench.display import show_row as show_row
    from matrix_graph.workbench.display import show_scenario as show_scenario
    from matrix_graph.workbench.display import show_society as show_society
    from matrix_graph.workbench.record import RunRecord as RunRecord
    from matrix_graph.workbench.report.page import write_report as write_report
    from matrix_graph.workbench.runs import LiveRun as LiveRun
    from matrix_graph.workbench.snapshot import record_of as record_of

_HOMES = {
    "config": ("RunConfig",),
    "context": ("Context", "close", "opened"),
    "errors": ("CallFailed", "CapReached", "InputError", "MatrixError", "ProviderDown", "RunPaused"),
    "filtering.contamination": ("Contamination",),
    "filtering.duplicates": ("ExactDuplicates", "NearDuplicates"),
    "filtering.code": ("TestsPass",),
    "filtering.form": ("Form",),
    "filtering.graph": ("create_filter",),
    "filtering.judge": ("Judge", "Judged"),
    "filtering.rules": ("Means", "Rules"),
    "filtering.rollouts": ("Guesses", "Rollouts"),
    "filtering.rewards": (
        "FunctionReward",
        "HttpReward",
        "JudgeReward",
        "LocalReward",
        "PairwiseReward",
        "Rewards",
        "Verifier",
    ),
    "filtering.signal": ("Consistent", "Learnability", "MinReward", "NotGuessable", "PassRate", "Rip", "ZeroAdvantage"),
    "filtering.pairs": ("Compare", "Pairs", "PairShape", "Preferred"),
    "filtering.selection": ("Select",),
    "filtering.semantic": ("SemanticDuplicates",),
    "filtering.language": ("Language",),
    "filtering.step": ("Drop", "Note"),
    "filter_config": ("FilterConfig",),
    "filter_folder": ("FilterResult",),
    "filter_runner": ("filter_rows", "refilter"),
    "generation.graph": ("create_generator",),
    "generation.requirements": ("Requirement",),
    "memory.episodic": ("EpisodicMemory",),
    "memory.records": ("Records",),
    "memory.store": ("ChromaStore",),
    "pipeline": ("create_matrix",),
    "runner": ("RunResult", "arun", "run"),
    "schema": ("Group", "Persona", "Profile"),
    "estimates": ("estimate",),
    "process": ("tuned_process",),
    "society.agent": ("human_agent",),
    "society.graph": ("create_society",),
    "society.modulated": ("ModulatedState", "add_modulator"),
    "society.grouping": ("form_groups",),
    "society.personas": ("write_personas",),
    "amendments": ("Amendment",),
    "workbench.branch": ("diff_runs", "fork_run", "preference_pair", "replay_run"),
    "workbench.changes": ("CallEdit",),
    "workbench.runs": ("LiveRun",),
    "workbench.snapshot": ("record_of",),
    "workbench.debugger": ("Debugger",),
    "workbench.display": ("show_row", "show_scenario", "show_society"),
    "workbench.record": ("RunRecord",),
    "workbench.report.page": ("write_report",),
    "society.profiles": ("load_profiles", "sample_profiles"),
}
_WHERE = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_WHERE)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return __all__
