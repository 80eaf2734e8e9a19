"""The OpenTelemetry SDK and the logs, set up once per worker at start-up and flushed at its end."""

from service.telemetry.logs import configure_logs
from service.telemetry.requests import Route, instrument
from service.telemetry.sdk import Telemetry, start_telemetry

__all__ = ["Route", "Telemetry", "configure_logs", "instrument", "start_telemetry"]
