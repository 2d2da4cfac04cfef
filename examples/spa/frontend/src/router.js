import { createRouter, createWebHistory } from "vue-router";
import { profile, refresh } from "./account.js";
import AddressPage from "./pages/AddressPage.vue";
import ConfirmPage from "./pages/ConfirmPage.vue";
import DeletePage from "./pages/DeletePage.vue";
import FactorPage from "./pages/FactorPage.vue";
import ForgottenPage from "./pages/ForgottenPage.vue";
import LoginPage from "./pages/LoginPage.vue";
import LostPage from "./pages/LostPage.vue";
import NewLinkPage from "./pages/NewLinkPage.vue";
import PasswordPage from "./pages/PasswordPage.vue";
import ProfilePage from "./pages/ProfilePage.vue";
import RegisterPage from "./pages/RegisterPage.vue";
import ResetPage from "./pages/ResetPage.vue";

const page = (path, title, component, options = {}) => ({ path, component, ...options, meta: { title, ...options.meta } });
const forVisitors = { meta: { for: "visitors" } };
const forUsers = { meta: { for: "users" } };

const router = createRouter({
  history: createWebHistory(),
  routes: [
    page("/register/", "Open an account", RegisterPage, forVisitors),
    page("/login/", "Log in", LoginPage, forVisitors),
    page("/forgotten-password/", "Forgotten your password?", ForgottenPage),
    page("/new-link/", "Ask for a new link", NewLinkPage),

    page("/", "Your profile", ProfilePage, forUsers),
    page("/address/", "Your e-mail address", AddressPage, forUsers),
    page("/password/", "Your password", PasswordPage, forUsers),
    page("/two-factor/", "Two-factor authentication", FactorPage, forUsers),
    page("/delete/", "Delete your account", DeletePage, forUsers),

    // Where mailed links lead
    page("/verify-registration/", "Confirm your address", ConfirmPage, {
      props: {
        path: "/verify-registration/",
        text: "One click, and your account is ready.",
        button: "Confirm my e-mail address",
        done: "Your address is confirmed, and your account is ready.",
        next: { to: "/login/", text: "Log in" },
        otherwise: { to: "/new-link/", text: "Ask for a new link" },
      },
    }),
    page("/reset-password/", "Choose a new password", ResetPage),
    page("/verify-email/", "Confirm your new address", ConfirmPage, {
      props: {
        path: "/verify-email/",
        text: "One click, and your account has its new address.",
        button: "Confirm my new e-mail address",
        done: "Your account has its new address.",
        next: { to: "/address/", text: "Back to your account" },
        otherwise: { to: "/address/", text: "Ask for a new link" },
      },
    }),
    page("/undo-email-change/", "Undo this change", ConfirmPage, {
      props: {
        path: "/undo-email-change/",
        text: "Your account gets its old address back, and everybody who is logged in to it is logged out.",
        button: "Undo this change",
        done: "Your account has its old address back. Now choose a new password, in case somebody knows yours.",
        next: { to: "/forgotten-password/", text: "Choose a new password" },
      },
    }),

    page("/:anywhere(.*)", "Nothing here", LostPage),
  ],
});

router.beforeEach(async (to) => {
  if (profile.value === undefined) await refresh();
  if (to.meta.for === "users" && !profile.value) return "/login/";
  if (to.meta.for === "visitors" && profile.value) return "/";
});

export default router;
