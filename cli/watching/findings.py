"""What is wrong with the service, in words, without what follows from something else that is."""

import msgspec

from cli.watching.reading import Figures
from cli.watching.rules import RULES, Severity

# What follows from what, as Alertmanager has it.
FOLLOWS = {
    "APIDown": "ErrorRate SlowStorage SlowSearch PoolExhausted PublishDropped StoreNotMeasured",
    "DatabaseDown": "DatabaseUnreachable RestartLoop ErrorRate SlowStorage SlowSearch PoolExhausted"
    " ReplicaStale PendingLag StoreNotMeasured RetentionFailed RetentionOverdue BackupFailed"
    " BackupTooOld",
    "RedisDown": "RestartLoop PublishDropped BeatNotBeating PendingLag StoreNotMeasured"
    " RetentionOverdue BackupTooOld",
    "BrokerDown": "RestartLoop PublishDropped BeatNotBeating PendingLag StoreNotMeasured"
    " RetentionOverdue BackupTooOld",
    "WorkerDown": "PendingLag StoreNotMeasured RetentionOverdue BackupTooOld",
    "BeatNotBeating": "StoreNotMeasured RetentionOverdue BackupTooOld",
    "RetentionFailed": "RetentionOverdue",
    "BackupFailed": "BackupTooOld",
    "BreakerOpen": "PendingLag",
}


class Finding(msgspec.Struct, frozen=True):
    """Something that is wrong; `runbook` is where it stands what to do."""

    alert: str
    severity: Severity
    text: str
    runbook: str


def findings(figures: Figures) -> list[Finding]:
    """All that is wrong, the worst first, without what follows from something else that is."""
    found = [
        Finding(rule.alert, rule.severity, text, f"docs/runbook.md#{rule.alert.lower()}")
        for rule in sorted(RULES, key=lambda each: each.severity != "critical")
        for text in rule.find(figures)
    ]
    follows = {name for each in found for name in FOLLOWS.get(each.alert, "").split()}
    return [each for each in found if each.alert not in follows]
