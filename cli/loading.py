"""Loading the code of a part."""

import gc
from importlib import import_module
from types import ModuleType


def loaded(*names: str) -> ModuleType:
    """The last of the modules `names`, all imported.

    Nothing of code is ever garbage: to look for it takes a seventh of the time to load it, and as
    much again whenever the collector looks at all there is.
    """
    gc.disable()
    try:
        modules = [import_module(name) for name in names]
    finally:
        gc.freeze()
        gc.enable()
    return modules[-1]
