"""SQLite through aiosqlite: the only memory, and the only place that knows columns."""
