"""The only code that speaks Redis: queue, results, events, the embedded server."""
