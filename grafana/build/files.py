"""What is in the files of the dashboards."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.build.memory import memory
from grafana.build.pipeline import pipeline
from grafana.build.search import search
from grafana.build.traffic import service

FOLDER = Path(__file__).parents[1] / "dashboards"
DASHBOARDS = {"service": service, "pipeline": pipeline, "memory": memory, "search": search}


def written() -> dict[str, str]:
    """The text of each file by its name."""
    return {
        f"{name}.json": json.dumps(build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for name, build in DASHBOARDS.items()
    }
