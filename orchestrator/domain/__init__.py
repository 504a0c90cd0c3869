"""Pure values and decisions: states, packing, outcome classification, retry policy, errors.

Every rule of the program is here. Must not await, do I/O, or ask a clock or a random source: callers pass those in.
"""
