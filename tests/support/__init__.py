"""What tests share: a world of store, engine and sandbox whose time is moved by hand."""
