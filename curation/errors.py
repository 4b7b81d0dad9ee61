"""Small named exceptions. Their text is shown to analysts as it is: value, rule, remedy."""

LONGEST = 2000  # characters of a message: a name in a file can be a megabyte long


class CurationError(Exception):
    """Base of every error whose message is meant for the person at the screen; a long one is cut in its middle."""

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= LONGEST else f"{text[: LONGEST * 2 // 3]} [...] {text[-LONGEST // 3 :]}"


class PoolError(CurationError):
    """A candidate pool cannot be read or used."""


class FeaturesError(CurationError):
    """A features file is missing, malformed, or belongs to another pool."""


class RepresentationError(CurationError):
    """A model cannot be loaded or run, or a space cannot be fitted."""


class DesignError(CurationError):
    """A design problem is infeasible or a setting is out of range."""


class BatchError(CurationError):
    """A batch folder cannot be written or read."""


class OutputError(CurationError):
    """A file or folder may not be written where it was asked for."""


class StoreError(CurationError):
    """The review store cannot be opened, or refuses a change."""


class ExportError(CurationError):
    """A batch cannot be exported as asked."""


class ImportLabelsError(CurationError):
    """Labels cannot be read, or belong to another batch."""


class SignatureError(CurationError):
    """A batch may not be signed, or what is signed has changed."""
