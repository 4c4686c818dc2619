"""Request bodies and query strings, with examples. Form only: what needs the model is checked in `mapping`."""
