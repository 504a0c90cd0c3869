"""Several daemons on one PostgreSQL: who works on what, who is alive, and what time it is.

PgQueuer hands the units of work out (`ports/dispatch`): it claims, beats hearts, hands out again, delays, keeps limits
over the fleet. Nothing of a store's safety rests here: rows and fences decide. pgqueuer and asyncpg are imported here
and nowhere else, and only where a URL of a database is given.
"""
