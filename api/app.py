"""The composition root of the API: settings in, an ASGI application out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.di import Provide

from api import (
    admin,
    audit,
    embeddings,
    exports,
    importance,
    imports,
    jobs,
    keys,
    listing,
    memory,
    messages,
    pinning,
    policies,
    problems,
    restoring,
    retention,
    retrying,
    tenant_settings,
)
from api.entrance import Entrance
from api.gate import Gate
from api.metrics import Metrics
from api.metrics_page import metrics_handler
from api.openapi import docs_asset, openapi_config
from api.parameters import Parameters
from api.plain import Plain
from api.runtime import Runtime
from api.tracing import traces
from memory.settings import Settings, load_settings

# With messages and imports, whose bodies have sizes of their own, and the metrics, these are all.
HANDLERS = [
    keys.make_key,
    keys.list_keys,
    keys.end_key,
    keys.replace_key,
    listing.list_messages,
    pinning.pin_message,
    pinning.unpin_message,
    memory.search,
    memory.search_by_body,
    tenant_settings.get_settings,
    tenant_settings.put_settings,
    tenant_settings.delete_settings,
    restoring.restore_message,
    policies.get_policy,
    policies.put_policy,
    policies.delete_policy,
    retention.run_retention,
    exports.export_tenant,
    exports.download_export,
    importance.rescore_importance,
    audit.list_audit,
    retrying.retry_embeddings,
    embeddings.list_models,
    embeddings.migrate_embeddings,
    embeddings.drop_embeddings,
    jobs.list_jobs,
    jobs.get_job,
    jobs.cancel_job,
    jobs.retry_job,
    jobs.job_events,
    admin.live,
    admin.health,
    admin.readiness,
    docs_asset,
]


def create_app(settings: Settings | None = None, *, patient: bool = False) -> Gate:
    """The whole API as one ASGI application, its lifespan included.

    One that is `patient` does not start before the store can be served.
    """
    settings = settings or load_settings()
    metrics = Metrics(settings)
    runtime = Runtime(settings, metrics)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with traces(settings), runtime.running():
            if patient:
                await runtime.until_ready()
            yield

    parameters = Parameters()
    app = Litestar(
        route_handlers=[
            messages.messages_router(settings.batch_max_bytes),
            imports.imports_router(settings.import_max_bytes),
            *HANDLERS,
            *([metrics_handler(settings.metrics_public)] if settings.metrics_enabled else []),
        ],
        dependencies={"runtime": Provide(lambda: runtime, sync_to_thread=False)},
        before_request=parameters.before,
        exception_handlers={Exception: problems.handle},
        lifespan=[lifespan],
        logging_config=None,
        openapi_config=openapi_config(),
        request_max_body_size=settings.request_max_bytes,
    )
    parameters.learn(app)
    entrance = Entrance(settings, runtime.door, runtime.limiter)
    plain = Plain(app, runtime)
    return Gate(
        plain, settings, metrics, entrance, runtime.failures, runtime.watch.end, runtime.turn_away
    )
