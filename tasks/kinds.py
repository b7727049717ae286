"""What each kind of job does, and which jobs the schedule begins."""

from collections.abc import Callable
from datetime import datetime

from memory.jobs import JobKind
from memory.settings import Settings
from tasks.backups import backup_step, scheduled_backup
from tasks.dropping import drop_step
from tasks.jobs import NewJob, Step
from tasks.moving import migrate_step
from tasks.rescoring import rescore_step, scheduled_rescoring
from tasks.retention import expire_step, scheduled_run
from tasks.retrying import retry_step
from tasks.transfers import export_step, import_step

STEPS: dict[JobKind, Step] = {
    "retention": expire_step,
    "rescore": rescore_step,
    "embeddings_retry": retry_step,
    "embeddings_migrate": migrate_step,
    "embeddings_drop": drop_step,
    "export": export_step,
    "import": import_step,
    "backup": backup_step,
}

# The others are one piece of work, which a thread does beside the rest.
IN_SLICES = STEPS.keys() - {"backup"}

# A job of these is begun when its entry of the schedule is due, if there is one.
SCHEDULED: dict[JobKind, Callable[[Settings, datetime], NewJob]] = {
    "retention": scheduled_run,
    "rescore": scheduled_rescoring,
    "backup": scheduled_backup,
}
