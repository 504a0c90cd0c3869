"""`service`: a unit file for the daemon, and a token for its HTTP API."""

from __future__ import annotations

import os
from pathlib import Path

import click

from orchestrator.cli.group import CommandEntry, HintedUsageError, command, group
from orchestrator.cli.options import GlobalOptions
from orchestrator.cli.output import say, show, show_json

EXAMPLES = """
Examples:
  orchestrator service print | sudo tee /etc/systemd/system/orchestrator.service
  mkdir -p ~/.config/systemd/user && orchestrator service print --user > ~/.config/systemd/user/orchestrator.service
  orchestrator service token ~/.config/orchestrator/token       then: [server] token_file = "…"

The unit says at its top how it is installed. Its log goes to the journal: journalctl -u orchestrator
"""


service = group(
    {
        "print": CommandEntry("Print a unit file for systemd or podman.", "service", "print_unit"),
        "token": CommandEntry("Write a new random token for the HTTP API into FILE.", "service"),
    },
    EXAMPLES,
)


@command(EXAMPLES)
@click.option("--user", "for_user", is_flag=True, help="A service of your own, for systemctl --user.")
@click.option("--container", "for_container", is_flag=True, help="A Quadlet file: podman runs the image.")
def print_unit(options: GlobalOptions, *, for_user: bool, for_container: bool) -> None:
    """It starts this very installation of the program, waits until it is ready, watches that it is alive, hands it the
    key as a credential, and takes away every right that it does not need.
    """
    from orchestrator.cli.systemd import quadlet, system_unit, this_installation, user_unit

    if options.db is not None:
        hint = (
            "leave it out: each kind of unit has a place for its store; [database] path in its settings names another"
        )
        raise HintedUsageError("a unit does not take --db from here", hint=hint)
    if for_user and for_container:
        raise HintedUsageError("--user and --container do not go together", hint="a Quadlet file is the same for both")
    if for_container:
        text = quadlet(this_installation(), sandbox=options.sandbox)
    elif for_user:
        text = user_unit(this_installation(), sandbox=options.sandbox)
    else:
        text = system_unit(this_installation(), sandbox=options.sandbox)
    if options.as_json:
        show_json({"unit": text})
        return
    show(text.removesuffix("\n"))


@command(EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path))
def token(options: GlobalOptions, file: Path) -> None:
    """256 bits, readable by you alone (mode 0600); a folder that is missing is made (0700). A file that is there is
    left alone: whoever uses it would be shut out.
    The token itself is not shown.
    """
    from orchestrator.domain.errors import GuardRefused, OutputError, StoreError, shortage
    from orchestrator.store.ownership import make_private_folder

    try:
        make_private_folder(file.absolute().parent)
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        _write_token(fd, file)
    except FileExistsError:
        hint = "remove it first to make a new token"
        raise GuardRefused(f"{file} is there already; nothing was changed", hint=hint) from None
    except (OSError, StoreError) as exc:
        cause = exc.strerror if isinstance(exc, OSError) else f"{exc.message}: {exc.cause}"
        hint = "make space, or choose another disk" if shortage(exc) is not None else "choose another path"
        raise OutputError(f"{file} cannot be written", cause=cause, hint=hint) from exc
    if options.as_json:
        show_json({"token_file": str(file.absolute())})
        return
    say(options, f"wrote {file}; the daemon reads it with [server] token_file, a client shows it as a bearer token")


def _write_token(fd: int, file: Path) -> None:
    """Write a new token. A *file* that cannot be written whole is removed, so that the next try does not find it."""
    from orchestrator.http_api.guard.access_tokens import new_token

    try:
        with open(fd, "w", encoding="ascii") as out:
            out.write(f"{new_token()}\n")
    except OSError:
        file.unlink(missing_ok=True)
        raise
