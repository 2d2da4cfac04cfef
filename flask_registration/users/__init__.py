"""The application's user model: its columns, normal forms, and the store of users."""
