"""The entry points: each parses its event, calls one function and maps the answer."""
