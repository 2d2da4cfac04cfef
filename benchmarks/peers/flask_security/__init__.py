"""flask_security, as its documentation shows it."""
