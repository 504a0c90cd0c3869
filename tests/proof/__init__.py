"""The proof: simulated worlds, real kills, planted bugs, and what they found. `python -m proof` runs its parts."""
