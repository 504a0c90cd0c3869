"""What a token costs: the user's own price file, else the package genai-prices, as integer rates of a batch.

The only place that knows genai-prices, which is imported by the first question for a price and never before. Reads
files; must not ask the network, the store or a clock.
"""
