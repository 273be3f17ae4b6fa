"""Every error that a person may see: what failed, and what to do about it."""

from __future__ import annotations


class PersonaError(Exception):
    """A failure told in one sentence, with a second sentence on what to do.

    Attributes:
        message: one sentence on what failed. Never holds a secret.
        title: two to four words for a dialog's or message line's head.
        hint: one sentence on what to do next.
        exit_code: what a command exits with: 1 a valid request failed, 2 the request was wrong.
    """

    title = "Something failed"
    hint = "Open Jobs & logs for the details."
    exit_code = 1

    def __init__(self, message: str, *, title: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if title is not None:
            self.title = title
        if hint is not None:
            self.hint = hint


# The request was wrong: exit 2.
class InvalidRequest(PersonaError):
    """A value, name, file or option that can't be used."""

    title = "That can't be used"
    hint = "See --help for what is allowed."
    exit_code = 2


class UnknownName(InvalidRequest):
    """No row goes by that name."""

    title = "Not found"


class DuplicateName(InvalidRequest):
    """The name is taken already."""

    title = "Name is taken"
    hint = "Choose another name."


class SettingsError(InvalidRequest):
    """A setting holds a value that it can't hold, or the file can't be read."""

    title = "Bad setting"


class NotATerminal(InvalidRequest):
    """The app needs a terminal and standard input or output is none."""

    title = "Not a terminal"


# A valid request failed: exit 1.
class NotAllowedNow(PersonaError):
    """The state of things forbids this act at the moment."""

    title = "Not possible now"


class GuardRefused(PersonaError):
    """The safety guard refused a text, a picture or a workflow."""

    title = "Refused by the guard"
    hint = "Change the text or the picture and try again."


class StorageError(PersonaError):
    """A file could not be read or written: disk full, read-only, no permission."""

    title = "Storage failed"
    hint = "Free some space or check the folder's permissions."


class DatabaseError(PersonaError):
    """The database could not do what was asked."""

    title = "Database failed"


class DatabaseUnavailable(DatabaseError):
    """The database does not answer."""

    title = "Database is away"
    hint = "It is tried again by itself; `persona-tui doctor` says what is wrong."


class SchemaMismatch(DatabaseError):
    """The database's schema belongs to another version of the program."""

    title = "Schema version differs"


# The outside world: what a client raises. `sent` tells whether the request may have had an effect.
class ClientError(PersonaError):
    """A call to an outside service failed.

    Attributes:
        sent: False when it is certain that no byte of the request left this machine.
        status: HTTP status, when one was received.
        code: the service's own error code, when it gave one.
        subcode: the service's own error subcode, when it gave one.
    """

    title = "Service call failed"
    hint = "Check the service and its address with `persona-tui doctor`."

    def __init__(
        self,
        message: str,
        *,
        sent: bool = True,
        status: int | None = None,
        code: int | None = None,
        subcode: int | None = None,
        title: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, title=title, hint=hint)
        self.sent = sent
        self.status = status
        self.code = code
        self.subcode = subcode


class ServiceUnreachable(ClientError):
    """Refused, no route, no name: nothing was sent."""

    title = "Service unreachable"


class ServiceTimeout(ClientError):
    """No answer in time; the request may have had its effect."""

    title = "No answer in time"


class ServiceRefused(ClientError):
    """The service understood the request and said no."""

    title = "Service said no"


class ServiceGarbled(ClientError):
    """The service answered with something that is not its protocol."""

    title = "Unreadable answer"


class KeyRejected(ServiceRefused):
    """The key or token is missing, wrong or expired."""

    title = "Key was rejected"
    hint = "Check the key in the settings, then `persona-tui doctor`."
