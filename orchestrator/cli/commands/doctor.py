"""`doctor`: checks what the work needs. One line per check, with a remedy where something is wrong."""

from __future__ import annotations

from dataclasses import asdict, replace

import click

from orchestrator.cli.doctor_checks import api_findings, exit_code_of, local_findings, server_findings
from orchestrator.cli.group import HintedUsageError, command
from orchestrator.cli.hints import completed
from orchestrator.cli.options import GlobalOptions
from orchestrator.cli.output import coloured, show, show_banner, show_json
from orchestrator.cli.run_async import run_async
from orchestrator.cli.store_access import configure_log
from orchestrator.domain import humanize
from orchestrator.views.health_checks import FAIL, Finding

EXAMPLES = """
Examples:
  orchestrator doctor
  orchestrator doctor --thorough                read all of the database file, which takes as long as a copy of it
  orchestrator doctor --server https://jobs.example.com    the way to a server, its token, and how it fares
  orchestrator doctor --json | jq '.checks[] | select(.verdict != "ok")'

It asks the API for one page of the list of batches, which costs nothing, and changes nothing anywhere.

Exit codes: 0 all well or only warnings, 2 an address, a proxy or certificates that cannot be used, 3 no usable
credentials, 6 the API is out of reach, 8 the store or its disk.
"""

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@command(EXAMPLES)
@click.option("--thorough", is_flag=True, help="Read all of the database file.")
def doctor(options: GlobalOptions, thorough: bool) -> int:
    findings, sandbox = _findings(options, thorough=thorough)
    findings = [_pasteable(options, finding) for finding in findings]
    if options.as_json:
        facts = [asdict(finding) for finding in findings]
        show_json({"checks": facts, "healthy": all(f.verdict != FAIL for f in findings), "sandbox": sandbox})
        return exit_code_of(findings)
    show_banner(options, sandbox=sandbox)
    for finding in findings:
        verdict = coloured(f"{finding.verdict:<5}", _COLOURS[finding.verdict])
        show(f"{verdict} {finding.check:<12} {humanize.plain(finding.fact)}")
        if finding.remedy is not None:
            show(f"{'':<18} -> {humanize.plain(finding.remedy)}")
    return exit_code_of(findings)


def _findings(options: GlobalOptions, *, thorough: bool) -> tuple[list[Finding], bool]:
    server = options.remote()
    if server is not None:
        if thorough:
            raise HintedUsageError("--thorough reads the database file", hint="run it on the machine of the server")
        return server_findings(options, server)
    settings = options.settings()
    configure_log(options, settings)
    found = run_async(lambda: api_findings(settings, sandbox=options.sandbox))
    return [*found, *local_findings(settings, thorough=thorough)], options.sandbox


def _pasteable(options: GlobalOptions, finding: Finding) -> Finding:
    return finding if finding.remedy is None else replace(finding, remedy=completed(options, finding.remedy))
