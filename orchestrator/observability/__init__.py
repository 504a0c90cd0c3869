"""Observability: logs, counters, traces. Must not hold state that anything else depends on."""
