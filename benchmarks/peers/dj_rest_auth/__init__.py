"""dj-rest-auth with django-allauth, as its documentation shows them."""
