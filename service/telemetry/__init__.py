"""The OpenTelemetry SDK and the logs, set up once per worker at start-up and flushed at its end.

Nothing is imported here: a command needs the logs alone, and the SDK would be a third of its start.
"""
