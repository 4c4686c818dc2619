"""HTTP: validate, map, call a port, map back. No torch, no Redis, no computation."""
