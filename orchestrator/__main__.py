"""`python -m orchestrator` is the same command as `orchestrator`."""

from orchestrator.cli.main import main

if __name__ == "__main__":
    main()
