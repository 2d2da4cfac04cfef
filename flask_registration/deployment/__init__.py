"""Checks of a running application. ``flask registration check`` runs them, and no request does."""
