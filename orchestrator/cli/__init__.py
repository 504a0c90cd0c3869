"""The command line: reads the store, commands the engine, and words it for people. It has no rules of its own.

`main.py` knows every command by name and loads none of them before it is asked for: `--help` and `status` must answer
at once. So modules here import at their top only what every command needs; the rest is imported where it is used.
"""
