"""What the facts of a PostgreSQL server mean for a store in it: findings, each with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from orchestrator.domain import humanize
from orchestrator.ports.server_facts import OLDEST_SERVER, ServerFacts, StorePlace
from orchestrator.views.health_checks import FAIL, OK, WARN, Finding

_SKEW: Final = timedelta(seconds=5)
#: What one daemon opens: five of the store, three of the queue.
CONNECTIONS: Final = 8
#: Dead rows that slow down what reads the table many times a second.
_MANY_DEAD: Final = 20_000
_DEAD_PER_LIVE: Final = 5


def server_findings(facts: ServerFacts) -> Iterator[Finding]:
    """Everything that was looked at, in the order in which it matters."""
    yield _server(facts)
    yield from _fitness(facts)
    yield from _schema(facts)
    yield from _standing(facts)
    yield _durability(facts)
    yield from _standbys(facts)
    yield _clock(facts)
    yield _connections(facts)
    yield _notices(facts)
    yield from _queue(facts)
    yield from _dead(facts)


def _server(facts: ServerFacts) -> Finding:
    fact = f"PostgreSQL {_shown(facts.version)}, answers within {facts.answer.total_seconds() * 1000:.0f} ms"
    if facts.version // 10_000 >= OLDEST_SERVER:
        return Finding(check="server", verdict=OK, fact=fact)
    remedy = f"upgrade the server to PostgreSQL {OLDEST_SERVER} or newer"
    return Finding(check="server", verdict=FAIL, fact=fact, remedy=remedy, exit_code=8)


def _shown(version: int) -> str:
    """15.18 of 150_018."""
    return str(version // 10_000) + (f".{version % 10_000}" if version % 10_000 else "")


def _fitness(facts: ServerFacts) -> Iterator[Finding]:
    """Whether the database can hold a store of this program."""
    if facts.encoding != "UTF8":
        remedy = "make another: CREATE DATABASE NAME ENCODING 'UTF8' TEMPLATE template0, and name it in [database] url"
        fact = f"the database holds {facts.encoding}, which cannot say everything that a prompt may"
        yield Finding(check="encoding", verdict=FAIL, fact=fact, remedy=remedy, exit_code=8)
    if not facts.may_create:
        remedy = "as the database's owner: GRANT CREATE ON DATABASE NAME TO USER, or make USER its owner"
        fact = "this user may not make the store's tables, nor bring them forward"
        yield Finding(check="rights", verdict=FAIL, fact=fact, remedy=remedy, exit_code=8)


def _schema(facts: ServerFacts) -> Iterator[Finding]:
    if facts.schema is not None and facts.schema > facts.known:
        fact = f"the store has schema {facts.schema}, this program knows {facts.known}"
        yield Finding(check="schema", verdict=FAIL, fact=fact, remedy="upgrade the program", exit_code=8)
    elif facts.schema is not None and facts.schema < facts.known:
        remedy = "the next engine, or `orchestrator db migrate`, brings it forward"
        fact = f"the store has schema {facts.schema}, this program wants {facts.known}"
        yield Finding(check="schema", verdict=WARN, fact=fact, remedy=remedy)


def _standing(facts: ServerFacts) -> Iterator[Finding]:
    """Whether the store is what it was."""
    if facts.place is StorePlace.FOREIGN:
        fact, remedy = "the schema 'orchestrator' there is not a store of this program", "choose another database"
        yield Finding(check="place", verdict=FAIL, fact=fact, remedy=remedy, exit_code=8)
    elif facts.place is StorePlace.COPIED:
        fact = "the store there is a copy, or was moved there"
        yield Finding(check="place", verdict=FAIL, fact=fact, remedy="`orchestrator db adopt-store`", exit_code=8)
    elif facts.place is StorePlace.OLDER:
        fact = "the store may lack what was sent from it: a standby was promoted, or a backup was restored"
        remedy = "let an engine run: it takes in what was sent since, before it sends anything; `orchestrator serve`"
        yield Finding(check="place", verdict=WARN, fact=fact, remedy=remedy)


def _durability(facts: ServerFacts) -> Finding:
    if not facts.unsafe:
        return Finding(check="durability", verdict=OK, fact="what is committed is on the server's disk")
    fact = f"{', '.join(facts.unsafe)}: a power cut can lose, or damage, what was committed, and it would be paid again"
    remedy = "set it to on in postgresql.conf, and restart the server"
    return Finding(check="durability", verdict=FAIL, fact=fact, remedy=remedy, exit_code=8)


def _standbys(facts: ServerFacts) -> Iterator[Finding]:
    """A standby that commits do not wait for may lack intents when it is promoted: promise 2 would break."""
    are_sync = [standby.is_sync for standby in facts.standbys]
    names = ", ".join(standby.name for standby in facts.standbys)
    if facts.sync_names and True not in are_sync and None not in are_sync:
        fact = "commits wait for a standby (synchronous_standby_names), and none that is named is connected"
        remedy = "start the standby, or clear synchronous_standby_names: until then nothing can be stored"
        yield Finding(check="standbys", verdict=FAIL, fact=fact, remedy=remedy, exit_code=8)
    elif True in are_sync or (facts.sync_names and are_sync):
        yield Finding(
            check="standbys", verdict=OK, fact=f"{names}; commits wait for them as synchronous_standby_names says"
        )
    elif facts.standbys:
        fact = f"commits do not wait for {names}: promoted, it may lack what was sent, which would be paid for again"
        remedy = f"synchronous_standby_names = 'ANY 1 ({names})' on the server; or never promote it"
        yield Finding(check="standbys", verdict=FAIL, fact=fact, remedy=remedy, exit_code=8)


def _clock(facts: ServerFacts) -> Finding:
    if abs(facts.offset) <= _SKEW:
        return Finding(check="clock", verdict=OK, fact=f"{abs(facts.offset).total_seconds():.1f} s from the server's")
    side = "behind" if facts.offset > timedelta(0) else "ahead of"
    fact = f"this machine's is {humanize.span(abs(facts.offset))} {side} the server's; times that are shown suffer"
    return Finding(check="clock", verdict=WARN, fact=fact, remedy="set both clocks (timedatectl set-ntp true)")


def _connections(facts: ServerFacts) -> Finding:
    fact = f"{humanize.count(max(facts.free_connections, 0), 'connection')} free; a daemon opens {CONNECTIONS}"
    if facts.free_connections >= CONNECTIONS:
        return Finding(check="connections", verdict=OK, fact=fact)
    remedy = "raise max_connections (or the limit of the role or the database), or close what holds connections"
    return Finding(check="connections", verdict=FAIL, fact=fact, remedy=remedy, exit_code=8)


def _notices(facts: ServerFacts) -> Finding:
    if facts.is_notified:
        return Finding(check="notify", verdict=OK, fact="what one connection tells (NOTIFY) reaches another")
    remedy = "name the server itself in [database] url"
    fact = "what one connection tells (NOTIFY) does not reach another: a pooler is in between, such as PgBouncer"
    return Finding(check="notify", verdict=FAIL, fact=fact, remedy=remedy, exit_code=8)


def _queue(facts: ServerFacts) -> Iterator[Finding]:
    if facts.queue is None:
        return
    if not facts.queue:
        yield Finding(check="queue", verdict=OK, fact="PgQueuer's tables are as this program wants them")
        return
    fact = f"PgQueuer's tables lack {humanize.count(len(facts.queue), 'change')}"
    remedy = "the next engine makes them"
    yield Finding(check="queue", verdict=WARN, fact=fact, remedy=remedy)


def _dead(facts: ServerFacts) -> Iterator[Finding]:
    for table in facts.dead:
        if table.dead > max(_MANY_DEAD, _DEAD_PER_LIVE * table.live):
            fact = f"{table.table} has {table.dead:,} dead rows beside {table.live:,}: every look at it is slow"
            remedy = f"VACUUM orchestrator.{table.table}; see that autovacuum is on, and that no transaction is old"
            yield Finding(check="vacuum", verdict=WARN, fact=fact, remedy=remedy)
