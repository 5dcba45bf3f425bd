"""Typed errors: what is wrong, in which field, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorAnswer:
    """What a server said whose answer is an error.

    Attributes:
        status: of HTTP.
        kind: of the problem, such as "invalid-input"; empty where the answer does not say.
        retry_after_s: seconds after which the request may be repeated; None where the answer does not say.
    """

    status: int
    kind: str = ""
    retry_after_s: float | None = None


class ChoreoError(Exception):
    """Base of every error this program raises on purpose.

    Attributes:
        answer: the server's, for errors that a server answered with; None for all others.
    """

    answer: ErrorAnswer | None = None


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


class ConnectionLost(BackendUnavailable):
    """The connection to a server ended before the answer; the request may or may not have been carried out."""


class Overloaded(ChoreoError, RuntimeError):
    """The server has as much work as it takes; nothing was started.

    Args:
        retry_after_s: seconds after which it may take more.
        message: what else there is to say; omitted: what is above.
        limit: name of the limit that was reached, where it has one.
    """

    def __init__(
        self, retry_after_s: int = 1, message: str = "the server has as much work as it takes", limit: str = ""
    ) -> None:
        super().__init__(retry_after_s, message, limit)
        self.retry_after_s = retry_after_s
        self.message = message
        self.limit = limit

    def __str__(self) -> str:
        return self.message


class DeadlineExceeded(ChoreoError, TimeoutError):
    """The request's deadline passed before its result was ready."""


class NonFiniteOutput(ChoreoError, ArithmeticError):
    """A model produced NaN or infinity; the result was withheld."""


class NotSaved(ChoreoError, OSError):
    """What was made could not be written, as on a full disk; files that were there before are as they were."""


class AccessDenied(ChoreoError, PermissionError):
    """The server wants an API key, or the one that it got does not allow this."""


class NotFound(ChoreoError, LookupError):
    """The server has nothing of that name, or no longer."""


class Conflict(ChoreoError, RuntimeError):
    """The request contradicts an earlier one, as a job whose idempotency key belongs to other requests."""


class ServerFailed(ChoreoError, RuntimeError):
    """The server failed in a way that trying again need not mend; its log has the details."""


class UnexpectedAnswer(ChoreoError, RuntimeError):
    """Whatever answers at the address does not answer as a choreo server of a known version does."""
