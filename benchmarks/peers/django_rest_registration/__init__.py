"""django_rest_registration, as its documentation shows it."""
