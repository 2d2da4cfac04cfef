"""djoser, as its documentation shows it."""
