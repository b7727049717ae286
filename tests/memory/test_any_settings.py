"""Whatever the environment says: settings that serve, or a reason that names the variable."""

import math

from hypothesis import given
from hypothesis import strategies as st

from memory.errors import SettingsError
from memory.settings import (
    PREFIX,
    SECRETS,
    Settings,
    file_variable,
    load_settings,
    unknown_settings,
    variable,
)

# As an environment can have them: no NUL, and surrogates for bytes that are no UTF-8.
TEXT = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=[]), max_size=30)
NUMBERS = (
    st.integers().map(str) | st.floats().map(str) | st.sampled_from(["", "1e999", "0x10", "٣"])
)
LIKELY = st.sampled_from(
    ["true", "5/minute", "10.0.0.0/8", "redis://h", "user", "*", "a:b", "mock"]
)
VALUES = TEXT | NUMBERS | LIKELY
FIELDS = st.sampled_from(Settings.__struct_fields__)


def loaded(fields: dict[str, str]) -> Settings | str:
    """The settings of these fields, or what is said of them."""
    try:
        return load_settings({variable(field): value for field, value in fields.items()})
    except SettingsError as error:
        return str(error)


def said(found: Settings | str) -> str:
    """What is said of settings that cannot be."""
    return found if isinstance(found, str) else ""


@given(st.dictionaries(FIELDS, VALUES, max_size=3))
def test_any_value_is_taken_or_named(given_values: dict[str, str]) -> None:
    settings = loaded(given_values)
    if isinstance(settings, str):
        assert any(variable(field) in settings for field in given_values)
        assert "\n" not in settings
        return
    for field in Settings.__struct_fields__:
        value = getattr(settings, field)
        assert not isinstance(value, float) or math.isfinite(value)
        assert (
            given_values.get(field, "").strip() or value == getattr(Settings(), field) or not value
        )


@given(st.sampled_from(sorted(SECRETS)), st.text(alphabet="abcdefgh", min_size=12, max_size=20))
def test_no_secret_is_told(field: str, secret: str) -> None:
    for wrong in (secret, f"{secret}\x01@é:", f"{secret}:6379/{secret}"):
        assert secret not in said(loaded({field: wrong}))
        assert secret not in said(loaded({field: wrong, "w_relevance": "no weight"}))


@given(st.dictionaries(TEXT.map(lambda name: PREFIX + name), TEXT, max_size=3))
def test_any_other_name_is_only_told(names: dict[str, str]) -> None:
    unknown = unknown_settings(names)
    known = {variable(field) for field in Settings.__struct_fields__}
    known |= {file_variable(field) for field in SECRETS}
    assert not known & unknown.keys()
    assert all(nearest is None or nearest in known for nearest in unknown.values())


@given(FIELDS, VALUES)
def test_what_was_read_is_read_the_same_again(field: str, value: str) -> None:
    assert loaded({field: value}) == loaded({field: value})
