"""PromQL in the few forms that the panels need."""

# What is chosen above a dashboard: which processes are meant.
CHOSEN = 'job=~"$job", instance=~"$instance"'
INTERVAL = "[$__rate_interval]"


def series(metric: str, where: str = "") -> str:
    """The series of the chosen processes, those that `where` matches."""
    return f"{metric}{{{', '.join(filter(None, (where, CHOSEN)))}}}"


def rate(counter: str, by: str = "", where: str = "") -> str:
    """How much `counter` grows a second, summed over processes; one series for each `by`."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({series(counter, where)}{INTERVAL}))"


def percentile(share: float, histogram: str, by: str = "", where: str = "") -> str:
    """The value that `share` of what `histogram` has seen lately do not exceed."""
    grouped = ", ".join(filter(None, ("le", by)))
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', grouped, where)})"


def shared(gauge: str, by: str = "", where: str = "") -> str:
    """A figure that all processes show alike: no choice of processes changes it."""
    grouped = f" by ({by})" if by else ""
    return f"max{grouped} ({gauge}{{{where}}})" if where else f"max{grouped} ({gauge})"
