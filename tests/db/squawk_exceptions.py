"""What squawk finds in migrations and we keep, each with its reason."""

# About the form of columns, not about stores in use: never wanted.
RULES = {
    "prefer-bigint-over-int": "lengths, versions and term numbers are bounded by what they count",
    "prefer-bigint-over-smallint": "parts, attempts and models are few; vectors' rows are many",
    "prefer-text-field": "the version table is alembic's own",
}

FIRST_RELEASE = "a part of the first release: no store was in use before it"

# By revision and rule.
EXCEPTIONS = {
    ("0002", "require-concurrent-index-creation"): FIRST_RELEASE,
    ("0003", "require-concurrent-index-creation"): FIRST_RELEASE,
    ("0003", "constraint-missing-not-valid"): FIRST_RELEASE,
    ("0003", "ban-drop-constraint"): FIRST_RELEASE,
    ("0003", "ban-drop-function"): FIRST_RELEASE,
}
