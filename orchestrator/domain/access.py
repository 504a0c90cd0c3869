"""Who may do what: roles, and the name that a token has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: The token of before there were several: that of `[server] token_file`, or the daemon's own.
DEFAULT_NAME: Final = "default"
#: No spaces, no control characters, and no letters that look like others: it stands in logs, pages and events.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}", re.ASCII)
NAME_RULE: Final = "up to 64 letters, digits and . _ @ + - (ASCII), beginning with a letter or digit"


class AccessRole(StrEnum):
    """What the bearer of a token may do; each role may do what those before it may."""

    READ = "read"  #: see everything, change nothing
    SUBMIT = "submit"  #: hand jobs in, and steer those
    ADMIN = "admin"  #: everything

    def covers(self, needed: AccessRole) -> bool:
        """Whether this role is enough where *needed* is asked for."""
        order = list(AccessRole)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Somebody who showed a token; name: that of the token."""

    name: str
    role: AccessRole

    def may_steer(self, submitted_by: str | None) -> bool:
        """Whether they may change the job that *submitted_by* handed in: their own, or as admin any."""
        return self.role is AccessRole.ADMIN or (self.role is AccessRole.SUBMIT and submitted_by == self.name)


def is_token_name(text: str) -> bool:
    """True if *text* may be the name of a token (`NAME_RULE`)."""
    return _NAME.fullmatch(text) is not None
