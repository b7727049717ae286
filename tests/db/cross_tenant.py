"""What is about all tenants, or about none, and so names none: each with its reason."""

# Statements, by their fixed names. docs/deployment.md says what each would be on Citus.
STATEMENTS = {
    "all_messages": "a move of models: how much there is to walk through",
    "count_failed": "a retry for all: how many there are",
    "count_rows": "a backup: how many rows each tenant has in what was restored",
    "fail_exhausted": "the sweep: what killed its workers",
    "fail_exhausted_jobs": "the restart of stalled jobs",
    "jobs_by_id": "an operator's look-up of a job by its id",
    "jobs_page": "jobs for an operator",
    "last_completed": "health: when retention ran last",
    "last_scheduled": "the schedule of a service without beat",
    "live_and_counted_of_many": "the refresh of all statistics: whose are old",
    "live_messages": "a move of models: how much there is to do",
    "measure_store": "the gauges",
    "messages_page": "it names the tenant, but as a range, as its index wants it",
    "next_tenant": "re-indexing: whose turn it is",
    "next_tenant_of_run": "a run for all: whose turn it is",
    "overdue": "the sweep: what was committed and never embedded",
    "purge_idempotency_keys": "the purge",
    "purge_jobs": "the purge",
    "purge_transfers": "the purge",
    "records_page": "the audit log for an operator",
    "reindex_all": "re-indexing for all",
    "retry_slice": "a retry for all",
    "stalled_jobs": "the restart of stalled jobs",
    "tenant_of_message": "an operator's look-up of a message by its id",
}

# Functions of the database.
FUNCTIONS = {"tenant_of_message": "an operator's look-up, which checks that it is one"}

# Tables without `tenant_id`.
TABLES = {
    "alembic_version": "the schema's revision",
    "api_keys": "a key may be for several tenants, or for all",
    "embedding_models": "all tenants' vectors are of the same models",
    "store_gauges": "figures of the whole store",
}

# Keys of tenants' tables that do not begin with the tenant.
KEYS = {
    "message_embeddings_model_id_fkey": "to a table without tenants, which all nodes have",
}
