"""Compose and send e-mails."""
