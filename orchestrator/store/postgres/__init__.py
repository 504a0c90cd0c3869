"""A store in a PostgreSQL database, which several daemons share. Loaded only where a database has a URL."""
