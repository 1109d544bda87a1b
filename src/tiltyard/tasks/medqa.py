"""MedQA: questions of medical licensing exams with four or five options, from the published files.

>>> task = MedQA(path="questions/US", program=dspy.Predict)
>>> task.metric(task.splits(seed=0, limit=None).test[0], dspy.Prediction(answer="The answer is (C)."))
Score(score=1.0, feedback='Correct.')

A record has the fields ``question``, ``options`` (letter to text), ``answer`` (an option's text) and
``answer_idx`` (its letter); in a single file, also its ``split``. The score is the accuracy of the chosen
option (Jin et al., *What Disease does this Patient Have?*, arXiv 2009.13081), read in the forms in which
models write it (:func:`tiltyard.tasks.metrics.read_option`). The order of the options is drawn by the seed,
as in every task of :mod:`tiltyard.tasks.qa`.
"""

from functools import cached_property
from typing import Annotated

from pydantic import AfterValidator, Field

from tiltyard.signatures import Content
from tiltyard.tasks.qa import QuestionAnswering
from tiltyard.tasks.question_record import Options, QuestionRecord
from tiltyard.tasks.records import FilledText, Record
from tiltyard.tasks.split_files import divide, existing_files, files_digest, read_splits
from tiltyard.tasks.splits import FRACTIONS, Fractions
from tiltyard.tasks.task import ProgramFactory, Splits

NAMES = ("medqa", "phrases_no_exclude")
"""What the names of the files begin with; the second one is that of the published files with four options."""

MedQAFiles = Annotated[str, AfterValidator(existing_files(*NAMES)), Content(files_digest(*NAMES))]
"""The published files: their folder, or one file of such records."""


class MedQARecord(QuestionRecord):
    """A record of the published files. A description is what an error recommends."""

    options: Options = Field(description='write {"A": "first", "B": "second"}')
    answer_idx: FilledText = Field(description="it should be a letter of the options")


class MedQA(QuestionAnswering):
    """MedQA, scored by the chosen option.

    Args:
        path: The folder with the published files (``train.jsonl``, ``dev.jsonl`` and ``test.jsonl``, or
            ``phrases_no_exclude_train.jsonl`` and so on), one file of such records, or
            ``hf://datasets/GBaker/MedQA-USMLE-4-options``.
        program: Builds the program from the signature: ``dspy.Predict``, ``dspy.ChainOfThought``, ….
        domain: The field that the questions are from; a label in rows and reports.
        fractions: The share of records in train, validation and test, which add up to 1. Unused where
            the files or the records say it; without a file for validation, train is divided.
    """

    def __init__(
        self,
        *,
        path: MedQAFiles,
        program: ProgramFactory,
        domain: str = "medical",
        fractions: Fractions = FRACTIONS,
    ) -> None:
        super().__init__(path=path, domain=domain, program=program, fractions=fractions)

    def splits(self, seed: int, limit: int | None) -> Splits:
        """Read the records into the splits of their files; see :func:`tiltyard.tasks.split_files.divide`."""
        return divide(self._entries(seed), fractions=self.fractions, seed=seed, limit=limit, source=self.path)

    @cached_property
    def _records(self) -> list[tuple[Record, QuestionRecord]]:
        records: list[tuple[Record, QuestionRecord]] = []
        for split, record in read_splits(self.path, *NAMES):
            question: QuestionRecord = record.parse(MedQARecord)
            if split is not None:
                # Numbers repeat over the files.
                known = {"id": f"{split}-{record.number}", "split": split}
                question = question.model_copy(update=known)
            records.append((record, question))
        return records
