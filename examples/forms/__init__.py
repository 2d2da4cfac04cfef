"""A server-rendered site with accounts: forms, flash messages, no JavaScript."""
