"""The Celery application of workers, beat and Flower: `celery -A tasks.celery ...` or `aiml`."""

from celery import Celery

from memory.settings import load_settings
from tasks.configuration import celery_configuration
from tasks.resources import Resources
from tasks.tracing import trace_tasks

settings = load_settings()
app = Celery("memory", task_cls="tasks.base:Task")
app.conf.update(celery_configuration(settings))
app.resources = Resources(settings)
if settings.otel_exporter_otlp_endpoint:
    trace_tasks()
