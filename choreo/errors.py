"""Typed errors: what is wrong, in which field, and what to do about it."""


class ChoreoError(Exception):
    """Base of every error this program raises on purpose."""


class InvalidInput(ChoreoError, ValueError):
    """Input from outside that cannot be used.

    Args:
        field: name of the request field, flag or file part at fault.
        message: one sentence that says what is wrong and what would be accepted.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class MissingDependency(ChoreoError, RuntimeError):
    """Weights, a program or a package are not on this machine; the message says how to get them."""


class InvalidArtifact(ChoreoError, RuntimeError):
    """A checkpoint, repository or library is broken, incomplete or of another version."""


class BackendUnavailable(ChoreoError, RuntimeError):
    """An inference server cannot answer now; the request may be retried later."""


class DeadlineExceeded(ChoreoError, TimeoutError):
    """The request's deadline passed before its result was ready."""


class NonFiniteOutput(ChoreoError, ArithmeticError):
    """A model produced NaN or infinity; the result was withheld."""


class NotSaved(ChoreoError, OSError):
    """What was made could not be written, as on a full disk; files that were there before are as they were."""
