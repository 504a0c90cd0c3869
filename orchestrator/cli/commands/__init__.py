"""One module per family of commands. Each is imported when one of its commands is called, and only then."""
