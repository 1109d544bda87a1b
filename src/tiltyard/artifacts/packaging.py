"""Makes a program's folder an MLflow model as well: models-from-code, so it holds no pickle.

    >>> package_as_model(folder, AnswerQuestion)
    >>> mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame({"question": ["…"], "context": ["…"]}))

The files are described where they stand; ``mlflow.pyfunc.save_model`` would copy them and record the paths of
the machine that saved them.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import dspy

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

PROGRAM = "program"
"""The artifact's name in MLflow's context."""
CODE_FILE = "serving.py"
REQUIREMENTS_FILE = "requirements.txt"
ENVIRONMENT_FILE = "python_env.yaml"
REQUIREMENTS = ("tiltyard", "dspy", "mlflow", "pandas")

CODE = '''\
"""Serves the program in this folder: MLflow runs this file when it loads the model."""

from mlflow.models import set_model
from tiltyard.artifacts.serving import ServedProgram

set_model(ServedProgram())
'''


def package_as_model(folder: Path, signature: type[dspy.Signature]) -> None:
    """Add what makes a folder a loadable MLflow model.

    Args:
        folder: The folder with ``metadata.json`` and ``program.json``.
        signature: Its inputs and outputs become the model's columns.
    """
    import mlflow.pyfunc
    from mlflow.models import Model
    from mlflow.models.model import MLMODEL_FILE_NAME

    (folder / CODE_FILE).write_text(CODE, encoding="utf-8")
    requirements = "".join(f"{package}=={version(package)}\n" for package in REQUIREMENTS)
    (folder / REQUIREMENTS_FILE).write_text(requirements, encoding="utf-8")
    (folder / ENVIRONMENT_FILE).write_text(
        f"python: {platform.python_version()}\n"
        f"build_dependencies: {json.dumps(['pip'])}\n"
        f"dependencies: {json.dumps([f'-r {REQUIREMENTS_FILE}'])}\n",
        encoding="utf-8",
    )
    model = Model(signature=_model_signature(signature))
    mlflow.pyfunc.add_to_model(
        model,
        loader_module="mlflow.pyfunc.loaders.code_model",
        python_env=ENVIRONMENT_FILE,
        model_code_path=CODE_FILE,
        artifacts={PROGRAM: {"path": "metadata.json", "uri": "metadata.json"}},
        streamable=False,
    )
    model.save(str(folder / MLMODEL_FILE_NAME))


def _model_signature(signature: type[dspy.Signature]) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    def columns(fields: dict[str, Any]) -> Schema:
        return Schema([ColSpec(_column_type(field.annotation), name) for name, field in fields.items()])

    return ModelSignature(
        inputs=columns(signature.input_fields),
        outputs=columns(signature.output_fields),
        params=ParamSchema([ParamSpec("model", "string", ""), ParamSpec("api_base", "string", "")]),
    )


def _column_type(annotation: Any) -> Any:
    from mlflow.types import DataType
    from mlflow.types.schema import AnyType

    if get_origin(annotation) is Literal and all(isinstance(choice, str) for choice in get_args(annotation)):
        return DataType.string
    scalars = {str: DataType.string, int: DataType.long, float: DataType.double, bool: DataType.boolean}
    return scalars.get(annotation, AnyType())  # type: ignore[no-untyped-call]
