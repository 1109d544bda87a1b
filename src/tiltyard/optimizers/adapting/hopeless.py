"""Names the failures of a model that do not pass by going on to the next example.

>>> except HOPELESS as error:
...     raise unusable(error, "curates", "optimizer.curator") from error
"""

from collections import Counter
from collections.abc import Sequence

from dspy.utils.exceptions import LMAuthError, LMBillingError, LMConfigurationError

from tiltyard.errors import JobError
from tiltyard.redaction import one_line

HOPELESS = (LMAuthError, LMBillingError, LMConfigurationError)
"""The key, the account or the settings of a model are wrong: every further call would fail as well."""


def unusable(error: Exception, does: str, option: str) -> JobError:
    """The error that ends a job whose model cannot be used.

    Args:
        error: One of :data:`HOPELESS`.
        does: What the model is for, such as ``curates``.
        option: The config option that names the model.
    """
    return JobError(
        f"the model that {does} cannot be used ({one_line(error)})",
        f"check its key, or choose another as {option}",
    )


def nothing_answered(errors: Sequence[str]) -> JobError:
    """The error that ends a compilation which not one training example was answered for.

    Args:
        errors: Why each answer failed, a line each; not empty.
    """
    [(cause, times)] = Counter(errors).most_common(1)
    which = "each" if times == len(errors) else f"{times} of them"
    return JobError(
        f"all {len(errors)} answers to training examples failed, {which} with: {cause}",
        "see whether the model can be reached; optimizer=none shows each example's error",
    )
