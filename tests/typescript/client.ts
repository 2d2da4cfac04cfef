// A front end that the compiler holds against the API description. It is checked, not run.

import createClient from "openapi-fetch";
import type { components, paths } from "./accounts";

type Profile = components["schemas"]["Profile"];

const accounts = createClient<paths>({ baseUrl: "https://shop.example.com", credentials: "include" });

export async function register(username: string, email: string, password: string): Promise<string[]> {
  const { data, error } = await accounts.POST("/accounts/register/", {
    body: { username, email, password, password_confirm: password },
  });
  if (data) {
    const shown: string = data.username;
    // @ts-expect-error: the key would tell whether the address was taken
    data.id;
    return [`Hello ${shown}, look into your mailbox.`];
  }
  if ("code" in error) {
    return [error.detail];
  }
  return [...(error.username ?? []), ...(error.password ?? []), ...(error.non_field_errors ?? [])];
}

export async function verify(page: URL): Promise<boolean> {
  const parameter = (name: string) => page.searchParams.get(name) ?? "";
  const { response } = await accounts.POST("/accounts/verify-registration/", {
    body: { user_id: parameter("user_id"), timestamp: Number(parameter("timestamp")), signature: parameter("signature") },
  });
  return response.ok;
}

export async function logIn(login: string, password: string): Promise<string> {
  const { data, error, response } = await accounts.POST("/accounts/login/", { body: { login, password } });
  if (data) {
    return data.token;
  }
  if (response.status === 429) {
    return `Wait ${response.headers.get("Retry-After")} s`;
  }
  if ("code" in error) {
    // @ts-expect-error: there is no such code
    error.code === "no-such-code";
    return error.code === "not-verified" ? "Shall we send the mail again?" : error.detail;
  }
  return error.password?.join(" ") ?? "";
}

export async function profile(token: string): Promise<Profile | undefined> {
  const { data } = await accounts.GET("/accounts/profile/", { headers: { Authorization: `Bearer ${token}` } });
  const id: number | undefined = data?.id;
  return id === undefined ? undefined : data;
}

export async function rename(first_name: string): Promise<Profile | undefined> {
  const { data } = await accounts.PATCH("/accounts/profile/", { body: { first_name } });
  return data;
}

export async function endOtherLogins(): Promise<void> {
  const { data = [] } = await accounts.GET("/accounts/logins/");
  for (const { id, kind, current } of data) {
    // @ts-expect-error: a login is a session or a token
    kind === "cookie";
    if (!current) {
      await accounts.DELETE("/accounts/logins/{login_id}/", { params: { path: { login_id: String(id) } } });
    }
  }
}

export async function leave(password: string): Promise<void> {
  await accounts.POST("/accounts/logout/", { body: {} });
  await accounts.DELETE("/accounts/profile/", { body: { password } });
  await accounts.DELETE("/accounts/profile/");
}

// @ts-expect-error: a password is missing
void accounts.POST("/accounts/login/", { body: { login: "alice" } });

// @ts-expect-error: no endpoint
void accounts.POST("/accounts/log-in/", { body: {} });
