"""`qc adopt`: what the scores are, and that nothing wrong is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="tensorflow is not installed")
pytest.importorskip("ai_edge_litert.interpreter")

from adopting import adopt
from foreign_models import changed, model

from qc.errors import RecipeError


def test_a_model_whose_classes_are_no_softmax_is_told(tmp_path: Path) -> None:
    """Three sigmoids said to be a softmax do not add up to 1."""

    def logistic(graph: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        code = next(
            c for c in graph.operatorCodes if c.builtinCode == schema.BuiltinOperator.SOFTMAX
        )
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.LOGISTIC
        op = graph.subgraphs[0].operators[-1]
        op.builtinOptionsType, op.builtinOptions = 0, None
        passed = schema.OperatorCodeT()  # hides what the scores are made by
        passed.builtinCode = passed.deprecatedBuiltinCode = schema.BuiltinOperator.ABS
        passed.version = 1
        graph.operatorCodes.append(passed)
        last = schema.OperatorT()
        tensors = graph.subgraphs[0].tensors
        tensors.append(tensors[op.outputs[0]])
        last.opcodeIndex, last.inputs = len(graph.operatorCodes) - 1, [op.outputs[0]]
        last.outputs = [len(tensors) - 1]
        graph.subgraphs[0].operators.append(last)
        graph.subgraphs[0].outputs = last.outputs

    data = changed(model("float_softmax"), logistic)
    with pytest.raises(RecipeError, match=r"are no softmax: they do not add up to 1.*a sum of"):
        adopt(tmp_path, data, 'input_range = [0, 1]\nscores = "softmax"')
    found = adopt(tmp_path, data, 'input_range = [0, 1]\nscores = "sigmoid"')
    assert (found["task"], found["scores"]) == ("multilabel", "sigmoid")
