"""Declares every operator, by importing all modules of `operators`."""

import importlib
import pkgutil

from attributor.onnx_importer import operators

for module in pkgutil.iter_modules(operators.__path__):
    importlib.import_module(f"{operators.__name__}.{module.name}")
