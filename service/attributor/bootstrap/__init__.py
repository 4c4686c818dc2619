"""Wiring: settings to adapters to processes. The only code that names concrete classes."""
