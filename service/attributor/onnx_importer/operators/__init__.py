"""The operators, by family. Importing a module declares its operators in `node.OPERATORS`."""

import importlib
import pkgutil


def load() -> None:
    """Declares all of them."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
