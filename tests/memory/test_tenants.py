"""What holds for a tenant: its own settings, and the deployment's for the rest."""

from typing import Any

import msgspec
import pytest

from memory.errors import InvalidFieldError
from memory.lexical.languages import LANGUAGES
from memory.settings import IMPORTANCE_WEIGHTS, Settings
from memory.tenants import Effective, TenantSettings, check_importance_weights, effective

DEPLOYMENT = Settings(
    language="german", w_relevance=0.5, w_importance=0.25, w_recency=0.125, half_life_days=7.0
)
FIELDS = Effective.__struct_fields__


def test_the_deployment_holds_where_nothing_is_set() -> None:
    assert msgspec.structs.asdict(effective(DEPLOYMENT, TenantSettings())) == {
        name: getattr(DEPLOYMENT, name) for name in FIELDS
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("language", "french"),
        ("language", "none"),
        ("w_relevance", 0.75),
        ("w_relevance", 0.0),
        ("w_importance", 0.0),
        ("w_recency", 0.0),
        ("half_life_days", 0.5),
        ("importance_w_role", 0.0),
        ("importance_w_content", 3.0),
        ("importance_w_recency", 0.0),
        ("importance_w_use", 1000.0),
        ("importance_half_life_days", 7.5),
    ],
)
def test_its_own_holds_zero_and_none_included(field: str, value: Any) -> None:
    found = effective(DEPLOYMENT, TenantSettings(**{field: value}))
    assert getattr(found, field) == value
    for other in set(FIELDS) - {field}:
        assert getattr(found, other) == getattr(DEPLOYMENT, other)


def test_a_tenant_may_set_all_that_holds_for_it() -> None:
    assert TenantSettings.__struct_fields__ == FIELDS


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_may_be_set(language: str) -> None:
    assert msgspec.convert({"language": language}, TenantSettings).language == language


@pytest.mark.parametrize(
    "settings",
    [
        {"language": "klingon"},
        {"language": "English"},
        {"w_relevance": -0.1},
        {"w_recency": 1000.5},
        {"half_life_days": 0},
        {"half_life_days": -1},
        {"half_life_days": 100_001},
        {"half_life": 3},
        {"importance_w_role": -0.1},
        {"importance_w_use": 1000.5},
        {"importance_half_life_days": 0},
    ],
)
def test_what_can_mean_nothing_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(settings, TenantSettings)


def test_importance_needs_a_weight_that_is_not_0() -> None:
    zeros = dict.fromkeys(IMPORTANCE_WEIGHTS, 0.0)
    for name in IMPORTANCE_WEIGHTS:
        check_importance_weights(effective(Settings(), TenantSettings(**zeros | {name: 1e-9})))
    with pytest.raises(InvalidFieldError, match="importance_w_role"):
        check_importance_weights(effective(Settings(), TenantSettings(**zeros)))
