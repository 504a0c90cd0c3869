"""Observability: logs, counters, traces. Must not hold state that anything else depends on."""

from orchestrator.observability.logs import Logger, configure_logging, get_logger

__all__ = ["Logger", "configure_logging", "get_logger"]
