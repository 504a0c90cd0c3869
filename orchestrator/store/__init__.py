"""The store, in SQLite: all state of jobs and batches, and the only place that knows tables and columns.

`location` opens it; `sqlite_store` is the open store, with one facet for each port of `ports.store`.
"""
