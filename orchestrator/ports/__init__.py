"""What the engine needs from the outside, as Protocols: provider, clock, entropy, source, sink, store facets."""
