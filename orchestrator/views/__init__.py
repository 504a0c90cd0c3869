"""What every face shows of a job, a batch, an error or an input, and how it looks as JSON and as a sentence.

Needs no web framework and no event loop. The faces (`cli`, `client`, `http_api`) import from here, never from each
other.
"""
