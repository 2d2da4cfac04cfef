"""The quick start: one small application with accounts, its page, and a mailbox for development."""
