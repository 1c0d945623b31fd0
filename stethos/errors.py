"""What can be wrong with what came in.

Every error a user can cause is a `StethosError` whose message says what was needed, what came, and what to
do. The command line prints that one sentence and leaves with exit code 2. Each kind also inherits the builtin
that a caller would expect.
"""


class StethosError(Exception):
    """Root of every error that Stethos raises on purpose."""


class FormatError(StethosError, ValueError):
    """A file is not what its format promises."""


class UnitError(StethosError, ValueError):
    """A physical unit is missing, unknown or of the wrong dimension."""


class RateError(StethosError, ValueError):
    """A sampling rate is missing, not positive, or outside what a method accepts."""


class ChannelError(StethosError, LookupError):
    """A channel or lead that is needed is not in the recording."""


class QualityError(StethosError, ValueError):
    """A recording is too short or too poor for what was asked of it."""


class CohortError(StethosError, ValueError):
    """A cohort's table or folder cannot be used as it is."""


class SplitError(StethosError, ValueError):
    """A split would put one group on two sides, or cannot be made from these dates."""


class ScoreError(StethosError, ValueError):
    """A metric is not defined for these scores and truths."""


class WeightsError(StethosError, ValueError):
    """A checkpoint does not fit the network it is loaded into."""


class RecipeError(StethosError, ValueError):
    """A recipe, preset or flag asks for something that cannot be."""


class RunError(StethosError, RuntimeError):
    """A run's folder is missing something, or belongs to another recipe."""


class OriginError(StethosError, PermissionError):
    """A model trained on a simulated world was given a real person's recording, or the reverse."""


class LexiconError(StethosError, ValueError):
    """A table of findings has a broken entry, or lacks what is asked of it."""


class MissingExtraError(StethosError, ImportError):
    """A format or feature needs an optional dependency that is not installed."""


class EndpointError(StethosError, ConnectionError):
    """A language model's server may not be asked, cannot be reached, or gave no answer.

    Args:
        message: What was needed, what came, what to do.
        kind: The same in a word or two that hold nothing of what was sent, such as "timeout" or "HTTP 500".
        lasting: Whether the next question would fare no better.
    """

    def __init__(self, message: str, kind: str = "", lasting: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.lasting = lasting
