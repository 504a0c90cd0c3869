"""The command line: asks the engine, reads the store, and speaks to a person; no rules of its own.

`main.py` knows every command by name and loads none of them before it is asked for: `--help` and `status` must answer
at once. So modules here import at their top only what every command needs; the rest is imported where it is used.
"""
