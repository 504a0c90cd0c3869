"""What an input will take and cost, before it is sent: one pass over it, and a few hundred free questions.

Owns the survey of an input, the sampling, and how figures become money. Must not store or send anything but counts, and
knows no prices of its own.
"""
