from django.http import HttpResponse
from django.urls import include, path

urlpatterns = [
    # The page of a front end, which allauth names in its e-mail.
    path("confirm/<str:key>/", lambda request, key: HttpResponse(), name="account_confirm_email"),
    path("reset/<uidb64>/<token>/", lambda request: HttpResponse(), name="password_reset_confirm"),
    path("auth/", include("dj_rest_auth.urls")),
    path("auth/registration/", include("dj_rest_auth.registration.urls")),
]
