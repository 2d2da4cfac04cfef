"""fastapi_users, as its documentation shows it."""
