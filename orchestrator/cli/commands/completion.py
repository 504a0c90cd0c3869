"""`completion`: click's own completion script, and where to put it."""

from __future__ import annotations

import click

from orchestrator.cli.console import show
from orchestrator.cli.group import command
from orchestrator.cli.options import GlobalOptions

EXAMPLES = """
Examples:
  bash   echo 'eval "$(orchestrator completion bash)"' >> ~/.bashrc
  zsh    echo 'eval "$(orchestrator completion zsh)"' >> ~/.zshrc
  fish   orchestrator completion fish > ~/.config/fish/completions/orchestrator.fish

It completes commands, options, and the ids and names of your jobs.
"""


@command(EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(_options: GlobalOptions, shell: str) -> None:
    from click.shell_completion import get_completion_class

    from orchestrator.cli.main import COMPLETE_VARIABLE, PROGRAM, cli

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"{shell} is not known")
    show(found(cli, {}, PROGRAM, COMPLETE_VARIABLE).source())
