"""The stages of the road, recovery, and the runner that ticks them.

A stage's `tick(now)` finds what is due and advances each unit: read the row, do what is due, write with a guard.
Stages never call each other; the store is the only memory. What a stage keeps between ticks is a hint of when to look
again, never work: losing it makes the next tick earlier, nothing else.
"""
