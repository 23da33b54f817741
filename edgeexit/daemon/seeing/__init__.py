"""Metrics, logs and the dashboard: what the daemon shows of itself."""
