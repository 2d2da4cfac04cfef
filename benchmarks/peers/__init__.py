"""Other projects that do the same, each in a virtual environment of its own, which may not have
this package."""
