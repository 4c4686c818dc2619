"""The only code that touches torch."""
