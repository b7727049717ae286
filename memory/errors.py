"""The errors of the service.

MemoryLayerError
├── SettingsError               a setting is wrong; the start ends
├── EmbeddingError
│   ├── EmbeddingUnavailableError   the provider cannot answer now; try again later
│   ├── EmbeddingRejectedError      the provider will not take this text
│   ├── EmbeddingSetupError         a model, package or key is missing
│   └── NotEmbeddedError            a task ends with messages that it could not embed
├── ModelMismatchError          the store's active model is another one
├── SchemaOutdatedError         the database's schema is older than this version needs
├── VersionOutdatedError        the database's schema no longer serves a version as old as this
├── MigrationError              the schema cannot be brought up to date now
├── ReplicaUnfitError           a replica of the database must not be asked
├── InvalidFieldError           a field of a request has a value that it does not take
├── MessageNotFoundError
├── JobNotFoundError
├── KeyNotFoundError
├── ForeignTenantError          the caller's key is not for this tenant
├── StateConflictError          what is asked does not go with the state that a thing is in
├── ArchiveFileError            a file of messages cannot be written or read
│   └── FileContentError            what the file holds cannot be taken
├── BackupError                 a backup cannot be made, read or restored
│   └── UnverifiedBackupError       a backup was made, and could not be restored for a try
├── JobLostError                a job was cancelled, or taken over, under its runner
├── JobStepError                a step of a job failed; the job goes on later, or has failed
└── IdempotencyError
    ├── IdempotencyConflictError    the key was used with another body
    └── IdempotencyGoneError        what the key created has been deleted since
"""


class MemoryLayerError(Exception):
    """Any failure that the service names."""


class SettingsError(MemoryLayerError):
    """A setting is wrong; the message names the variable and what it takes."""


class EmbeddingError(MemoryLayerError):
    """A text could not be embedded. The message is our own words alone, fit for any log.

    `said` is what the provider said, which may quote the text in whatever form: it is only for
    those who may read the text.
    """

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said

    @property
    def in_full(self) -> str:
        """The message with what the provider said; never for a log."""
        return f"{self}: {self.said}" if self.said else str(self)


class EmbeddingUnavailableError(EmbeddingError):
    """The provider cannot answer now; the same call may succeed later."""


class EmbeddingRejectedError(EmbeddingError):
    """The provider refuses this input; the same call will fail again."""


class EmbeddingSetupError(EmbeddingError):
    """A model, package or key that the provider needs is missing; the message says which."""


class NotEmbeddedError(EmbeddingError):
    """Some messages of a task were not embedded; the message says whose, how many and why."""


class ModelMismatchError(MemoryLayerError):
    """The store's vectors are of another model than the one that is configured."""


class SchemaOutdatedError(MemoryLayerError):
    """The database's schema is older than this version needs."""


class VersionOutdatedError(MemoryLayerError):
    """The database's schema no longer serves a version as old as this one."""


class MigrationError(MemoryLayerError):
    """The schema cannot be brought up to date now; the message says why."""


class ReplicaUnfitError(MemoryLayerError):
    """A replica of the database must not be asked; the message says why."""


class InvalidFieldError(MemoryLayerError):
    """A field of a request has a value that it does not take."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class MessageNotFoundError(MemoryLayerError):
    """No such message."""


class JobNotFoundError(MemoryLayerError):
    """No such job."""


class KeyNotFoundError(MemoryLayerError):
    """No such key."""


class ForeignTenantError(MemoryLayerError):
    """The caller's key is not for this tenant, or not for all where all are meant."""


class StateConflictError(MemoryLayerError):
    """What is asked does not go with the state that a thing is in; the message says which."""


class JobLostError(MemoryLayerError):
    """A job was cancelled, or taken over by another, under its runner."""


class JobStepError(MemoryLayerError):
    """A step of a job failed; the message says why, and whether the job goes on later."""


class ArchiveFileError(MemoryLayerError):
    """A file of messages cannot be written or read; the message says which and why."""


class FileContentError(ArchiveFileError):
    """What a file of messages holds cannot be taken; the message says where and why."""


class BackupError(MemoryLayerError):
    """A backup cannot be made, read or restored; the message says why."""


class UnverifiedBackupError(BackupError):
    """A backup was made, and to restore it for a try failed; the message says which and why."""


class IdempotencyError(MemoryLayerError):
    """A repeated Idempotency-Key cannot be answered with the first answer."""


class IdempotencyConflictError(IdempotencyError):
    """The Idempotency-Key was used with another body."""


class IdempotencyGoneError(IdempotencyError):
    """The message that this Idempotency-Key created has been deleted since."""
