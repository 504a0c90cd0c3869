"""The stages, recovery, and the runner that ticks them.

A stage's `tick(now)` finds the rows that are due and advances each: read it, act, write with a guard. Stages never call
each other; the store is the only memory. What a stage keeps between ticks is a hint of when to look again, never work:
a crash that loses it only makes the next tick earlier.
"""
