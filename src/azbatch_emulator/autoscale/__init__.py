"""The autoscale formula language of Azure Batch: parse, and evaluate against a pool's samples. Pure."""

from azbatch_emulator.autoscale.errors import FormulaError
from azbatch_emulator.autoscale.evaluator import Evaluation, evaluate
from azbatch_emulator.autoscale.metrics import VARIABLES, MetricHistory
from azbatch_emulator.autoscale.parser import Formula, parse

__all__ = ["VARIABLES", "Evaluation", "Formula", "FormulaError", "MetricHistory", "evaluate", "parse"]
