"""Results to pictures and drawable payloads. Pure functions of arrays."""
