"""The versions of the API: what the header `anthropic-version` may say."""

from __future__ import annotations

from typing import Final

#: The version that still takes sampling parameters.
OLD_API_VERSION: Final = "2023-06-01"
#: The first version that refuses them. Source: migration guide of API version 2026-10-21. Versions are ISO dates.
STRICTER_API_VERSION: Final = "2026-10-21"
#: Every version that there is, the oldest first.
API_VERSIONS: Final = (OLD_API_VERSION, STRICTER_API_VERSION)
#: What jobs are sent with that need no other, and what the SDK (2.12, `anthropic/_constants.py`) sends.
NEWEST_API_VERSION: Final = API_VERSIONS[-1]
