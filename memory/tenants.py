"""What a tenant may set for itself, and what holds where it has set nothing."""

import msgspec

from memory.errors import InvalidFieldError
from memory.lexical.languages import Language
from memory.settings import IMPORTANCE_WEIGHTS, Settings
from memory.values import Days, Weight


class TenantSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one tenant; null is the deployment's."""

    language: Language | None = None
    w_relevance: Weight | None = None
    w_importance: Weight | None = None
    w_recency: Weight | None = None
    half_life_days: Days | None = None
    importance_w_role: Weight | None = None
    importance_w_content: Weight | None = None
    importance_w_recency: Weight | None = None
    importance_w_use: Weight | None = None
    importance_half_life_days: Days | None = None


class Effective(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a tenant: its own settings over the deployment's."""

    language: Language
    w_relevance: float
    w_importance: float
    w_recency: float
    half_life_days: float
    importance_w_role: float
    importance_w_content: float
    importance_w_recency: float
    importance_w_use: float
    importance_half_life_days: float


def effective(settings: Settings, own: TenantSettings) -> Effective:
    """The settings of a tenant that has set `own`."""
    values = {name: getattr(own, name) for name in Effective.__struct_fields__}
    return Effective(
        **{
            name: getattr(settings, name) if value is None else value
            for name, value in values.items()
        }
    )


def check_weights(settings: Effective) -> None:
    """Raise `InvalidFieldError` when nothing is left to rank by."""
    if settings.w_relevance + settings.w_importance + settings.w_recency == 0:
        raise InvalidFieldError("w_relevance", "is 0, and so are the other weights")


def check_importance_weights(settings: Effective) -> None:
    """Raise `InvalidFieldError` when nothing is left that importance could follow from."""
    if all(getattr(settings, name) == 0 for name in IMPORTANCE_WEIGHTS):
        raise InvalidFieldError(IMPORTANCE_WEIGHTS[0], "is 0, and so are its other weights")
