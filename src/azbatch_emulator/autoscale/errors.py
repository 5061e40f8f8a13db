"""What is wrong with a formula, and where."""

from __future__ import annotations

SYNTAX = "AutoScalingFormulaSyntaxError"
TOO_LONG = "AutoScalingFormulaTooLong"
EVALUATION = "AutoScalingFormulaEvaluationError"
NO_SAMPLES = "InsufficientSampleData"


class FormulaError(Exception):
    """A fault of a formula: `message` in the service's words, `line` and `column` from 1, `code` of the service."""

    def __init__(self, message: str, line: int, column: int, code: str = EVALUATION) -> None:
        super().__init__(f"Line {line}, Col {column}: {message}")
        self.message = message
        self.line = line
        self.column = column
        self.code = code


class Unfit(Exception):
    """An operation that its operands do not allow, told without the place, which the evaluator adds."""
