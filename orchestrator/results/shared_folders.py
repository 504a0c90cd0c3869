"""Protection in folders that everybody may write to (/tmp): links of other users are not followed, modes not copied.

The rule is the kernel's (fs.protected_symlinks, protected_regular and protected_fifos), which does not cover renames
and may be switched off. Source: Linux, Documentation/admin-guide/sysctl/fs.rst.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from orchestrator.config.safe_files import symlinks_on_the_way

_WHERE: Final = "in a folder that everybody may write to"


def is_foreign(path: Path, found: os.stat_result) -> bool:
    """True if another user may have put *path* there: its status *found* has neither us nor the folder's owner."""
    folder = path.parent.stat()
    return bool(folder.st_mode & stat.S_IWOTH) and found.st_uid not in (os.geteuid(), folder.st_uid)


def refuse_foreign_links(path: Path) -> None:
    """Raise PermissionError if a link of another user, in such a folder, is on the way to *path*."""
    for link in symlinks_on_the_way(path.absolute()):
        found = link.lstat()
        if is_foreign(link, found):
            raise PermissionError(13, f"{link} is a link of another user (uid {found.st_uid}) {_WHERE}")


def refuse_foreign(path: Path) -> None:
    """Raise PermissionError if *path* itself belongs to another user, in such a folder."""
    try:
        found = path.lstat()
    except OSError:  # nothing is there, or no file: told elsewhere
        return
    if is_foreign(path, found):
        raise PermissionError(13, f"it is there already, of another user (uid {found.st_uid}), {_WHERE}")
