"""Passwords, signed links, sessions and tokens."""
