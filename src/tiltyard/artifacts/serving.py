"""Answers with a saved program, as an MLflow model.

    >>> model = mlflow.pyfunc.load_model("models:/tatqa_tiny.lexical.bootstrap/1")
    >>> model.predict(pd.DataFrame({"question": ["What is the limit?"], "context": ["The limit is 80 °C."]}))
      answer
    0  80 °C

The language model is the one that the program was compiled for, rebuilt from its config; ``params`` may name
another one. Keys come from the environment, as they do in a run.
"""

import threading
from pathlib import Path
from typing import Any

import dspy
import pandas as pd
from mlflow.pyfunc.model import PythonModel

from tiltyard.artifacts.metadata import ProgramMetadata, read_metadata
from tiltyard.artifacts.packaging import PROGRAM
from tiltyard.artifacts.program import load_program
from tiltyard.config import instantiate


class ServedProgram(PythonModel):
    """A saved program behind MLflow's ``predict``. Any thread may call it."""

    def load_context(self, context: Any) -> None:
        """Load the program. Its language model is loaded with the first prediction."""
        folder = Path(context.artifacts[PROGRAM]).parent
        self._metadata: ProgramMetadata = read_metadata(folder)
        # MLflow has just run this folder's code, so its config is trusted as much.
        self._program = load_program(folder, trusted=True)
        self._models: dict[tuple[str, str], dspy.LM] = {}
        self._lock = threading.Lock()

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answer every row.

        Args:
            context: MLflow's; unused.
            model_input: A column for each input field.
            params: ``model`` and ``api_base``: a DSPy model name and its server, instead of the model that
                the program was compiled for.

        Returns:
            A column for each output field.
        """
        fields = self._metadata.signature.fields
        inputs = [field.name for field in fields if field.kind == "input"]
        outputs = [field.name for field in fields if field.kind == "output"]
        chosen = params or {}
        lm = self._model(chosen.get("model") or "", chosen.get("api_base") or "")
        with dspy.context(lm=lm):
            predictions = [
                self._program(**dict(zip(inputs, row, strict=True)))
                for row in model_input[inputs].itertuples(index=False)
            ]
        return pd.DataFrame(
            [{name: getattr(prediction, name) for name in outputs} for prediction in predictions],
            columns=outputs,
        )

    def _model(self, name: str, api_base: str) -> dspy.LM:
        with self._lock:
            if (name, api_base) not in self._models:
                self._models[name, api_base] = self._build_model(name, api_base)
            return self._models[name, api_base]

    def _build_model(self, name: str, api_base: str) -> dspy.LM:
        if name:
            return dspy.LM(name, api_base=api_base) if api_base else dspy.LM(name)
        metadata = self._metadata
        hardware = instantiate(metadata.hardware) if metadata.hardware else None
        return instantiate(metadata.language_model, hardware=hardware)
