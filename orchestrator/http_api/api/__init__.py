"""`/api/v1`: the engine as a REST API. Owns its routes, the shapes of their answers, and their description.

One module per kind of thing; `shapes` has every answer, `views` (one folder up) builds them; no rules of its own.
"""
