"""The library, and what the commands stand on: the way to an engine, here or elsewhere, and the handles on its jobs.

`async with Orchestrator() as orc: job = await orc.submit(requests); await job.wait(); …`. Decides nothing about jobs.
Every error that rises out of it is an `OrchestratorError`; `domain.errors` has the tree. Public is what
`orchestrator.__all__` names; the modules of this package may change.
"""
