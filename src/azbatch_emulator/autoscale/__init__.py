"""The autoscale formula language of Azure Batch: parse, and evaluate against a pool's samples. Pure."""

from azbatch_emulator.autoscale.errors import EVALUATION, NO_SAMPLES, FormulaError
from azbatch_emulator.autoscale.evaluator import Evaluation, evaluate
from azbatch_emulator.autoscale.metrics import OF_NODES, VARIABLES, MetricHistory
from azbatch_emulator.autoscale.parser import Formula, parse

__all__ = [
    "EVALUATION",
    "NO_SAMPLES",
    "OF_NODES",
    "VARIABLES",
    "Evaluation",
    "Formula",
    "FormulaError",
    "MetricHistory",
    "evaluate",
    "parse",
]
