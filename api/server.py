"""Serving the API with uvicorn."""

import uvicorn

from api.app import create_app
from memory.logs import configure_logging
from memory.settings import Settings


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then let the requests at hand finish.

    Ends the process with code 3, and a line in the log that says why, when the port is taken or
    the store must not be served as it is.
    """
    configure_logging(settings.log_level, "api")
    uvicorn.run(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
