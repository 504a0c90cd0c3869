"""`sandbox`: serves the local Message Batches API on a port, for any client."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import click

from orchestrator.cli import command_errors, signals
from orchestrator.cli.console import say, say_banner, show, show_json
from orchestrator.cli.group import command
from orchestrator.cli.options import Duration, GlobalOptions
from orchestrator.cli.stdio import ignoring_closed_stdout
from orchestrator.config import Settings
from orchestrator.domain.errors import GuardRefused, StoreError, UsageError
from orchestrator.sandbox import MachineSettings, Sandbox, SandboxSettings, build_sandbox
from orchestrator.sandbox.faults import meanings

EXAMPLES = """
Examples:
  orchestrator sandbox                                   then, in another shell, the two lines that it prints
  orchestrator sandbox --port 8788 --speed 3600          an hour of the API takes a second
  orchestrator sandbox --faults '429=.05,drop_after_accept=.02,expire=.01'
  orchestrator sandbox --journal batches.jsonl           its batches survive its own end

It listens on 127.0.0.1 only, takes any key, and answers nothing real. Ctrl-C ends it.
`--faults help` lists the faults with what each one means.
"""


@command(EXAMPLES)
@click.option("--port", type=click.IntRange(0, 65535), default=8788, show_default=True, help="0: any free port.")
@click.option("--speed", metavar="N", help="Seconds of its time per second.  [env: ORCHESTRATOR_SANDBOX__SPEED]")
@click.option("--seed", metavar="N", help="Of everything random in it.  [env: ORCHESTRATOR_SANDBOX__SEED]")
@click.option(
    "--faults",
    metavar="LIST",
    help="name=rate, comma-separated; `help` lists them.  [env: ORCHESTRATOR_SANDBOX__FAULTS]",
)
@click.option(
    "--batch-time",
    nargs=2,
    type=Duration(),
    metavar="MIN MAX",
    help="How long batches take, in its own time.  [default: 30s 5m]",
)
@click.option("--journal", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Keep batches there.")
def sandbox(  # noqa: PLR0913, PLR0917 - one argument per option, as click hands them over
    options: GlobalOptions,
    port: int,
    speed: str | None,
    seed: str | None,
    faults: str | None,
    batch_time: tuple[timedelta, timedelta] | None,
    journal: Path | None,
) -> None:
    """The same API that --sandbox uses, for the SDK, curl or another program."""
    if faults == "help":
        _list_faults(options)
        return
    settings = options.settings({"sandbox.speed": speed, "sandbox.seed": seed, "sandbox.faults": faults})
    built = _build(settings, batch_time, journal)
    try:
        signals.run_async(lambda: _serve(options, built, port))
    except command_errors.Stopped:
        say(options, "the sandbox has ended")
    finally:
        built.close()


def _list_faults(options: GlobalOptions) -> None:
    if options.as_json:
        show_json({name: meaning for _, group in meanings() for name, meaning in group.items()})
        return
    for title, group in meanings():
        show(f"{title}:")
        for name, meaning in group.items():
            show(f"  {name:<21}{meaning}")


def _build(settings: Settings, batch_time: tuple[timedelta, timedelta] | None, journal: Path | None) -> Sandbox:
    machine = MachineSettings()
    if batch_time is not None:
        if batch_time[0] > batch_time[1]:
            raise UsageError("--batch-time wants the shorter time first", hint="--batch-time 30s 5m")
        machine = MachineSettings(batch_seconds=(batch_time[0].total_seconds(), batch_time[1].total_seconds()))
    chosen = SandboxSettings(
        machine=machine,
        seed=settings.sandbox.seed,
        speed=settings.sandbox.speed,
        faults=settings.sandbox.faults,
        journal=journal,
    )
    try:
        return build_sandbox(chosen)
    except ValueError as exc:
        raise UsageError(str(exc), hint="`orchestrator sandbox --faults help` lists what each fault means") from exc
    except OSError as exc:
        raise StoreError(f"the journal {journal} cannot be opened", cause=exc.strerror) from exc


async def _serve(options: GlobalOptions, built: Sandbox, port: int) -> None:
    try:
        async with built.serving(port) as chosen:
            _announce(options, chosen)
            await asyncio.Event().wait()
    except OSError as exc:
        raise GuardRefused(
            f"port {port} on 127.0.0.1 cannot be used", cause=exc.strerror, hint="choose another --port, or 0 for any"
        ) from exc


def _announce(options: GlobalOptions, port: int) -> None:
    say_banner(options, sandbox=True)
    url = f"http://127.0.0.1:{port}"
    with ignoring_closed_stdout():
        if options.as_json:
            show_json({"base_url": url, "api_key": "sandbox", "sandbox": True})
        else:
            show(f"export ANTHROPIC_BASE_URL={url}\nexport ANTHROPIC_API_KEY=sandbox")
    say(options, "Ctrl-C ends it")
