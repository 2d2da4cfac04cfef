"""Translate messages and choose the language of a response or an e-mail."""
