"""Every command, in the order of the help. A new command is a module in `commands/` and a line here."""

from __future__ import annotations

from typing import Final

from orchestrator.cli.group import CommandEntry

_WORK, _LOOK, _STEER, _TOOLS = "Work", "Look", "Steer", "Tools"

COMMANDS: Final = {
    "run": CommandEntry("Submit, wait and write the results; run it again to go on.", heading=_WORK),
    "submit": CommandEntry("Store a job, print its id and return.", heading=_WORK),
    "serve": CommandEntry(
        "Run the engine for every job until it is stopped.",
        heading=_WORK,
        refuses_server="it runs an engine on this machine",
    ),
    "check": CommandEntry("Validate an input and show the plan; sends and stores nothing.", heading=_WORK),
    "ls": CommandEntry("List the jobs, the newest first.", "jobs", heading=_LOOK),
    "status": CommandEntry("Show one job.", "jobs", heading=_LOOK),
    "watch": CommandEntry("Show one job live until it is over.", "jobs", heading=_LOOK),
    "wait": CommandEntry("Wait until a job is over; the exit code says how it ended.", "jobs", heading=_LOOK),
    "results": CommandEntry("Write a job's results, in input order.", heading=_LOOK),
    "errors": CommandEntry("Show a job's failures, grouped by cause.", "results", heading=_LOOK),
    "pause": CommandEntry("Send nothing new for a job; what is in flight is still collected.", "steer", heading=_STEER),
    "resume": CommandEntry("Go on with a job.", "run", heading=_STEER),
    "cancel": CommandEntry("Stop a job for good; what has succeeded is kept.", "steer", heading=_STEER),
    "retry": CommandEntry("Queue failed and canceled requests again.", "steer", heading=_STEER),
    "batches": CommandEntry("Compare the batches at the API with ours; adopt or disown one.", heading=_STEER),
    "webhooks": CommandEntry("Show, test and repeat the notices to other programs.", heading=_STEER),
    "doctor": CommandEntry("Check key, API, clock, store, disk and limits, each with a remedy.", heading=_TOOLS),
    "login": CommandEntry("Print a link that opens the dashboard of the daemon, once.", heading=_TOOLS),
    "health": CommandEntry("Ask the engine of this store, or of a server, whether it is ready.", heading=_TOOLS),
    "config": CommandEntry(
        "Show the settings that hold, or write a file to start from.", heading=_TOOLS, ignores_server=True
    ),
    "service": CommandEntry(
        "Print a unit file, or make a token for the HTTP API.", heading=_TOOLS, ignores_server=True
    ),
    "db": CommandEntry("Back up, check, prune, compact, adopt or migrate the store's file.", heading=_TOOLS),
    "sandbox": CommandEntry(
        "Serve the local API on a port, for any client.", heading=_TOOLS, refuses_server="it serves a local API"
    ),
    "completion": CommandEntry("Print the completion script for a shell.", heading=_TOOLS, ignores_server=True),
}
