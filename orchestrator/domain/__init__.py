"""Pure values and decisions: states, packing, outcome classification, retry policy, errors.

Owns every rule of the road. Must not await, do I/O, or ask a clock or a random source: what it needs is handed in.
"""
