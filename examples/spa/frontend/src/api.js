// The one place that talks to the back end.

const origin = import.meta.env.VITE_API_URL ?? "http://127.0.0.1:5000";

/** Send a request, with a body as JSON; returns whether it worked, and the reply. */
export async function send(method, path, body) {
  try {
    const response = await fetch(`${origin}/accounts${path}`, {
      method,
      credentials: "include", // the session's cookie, which belongs to the other origin
      headers: body && { "Content-Type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    const reply = text ? JSON.parse(text) : {};
    const wait = response.headers.get("Retry-After");
    if (wait && reply.detail) reply.detail += ` (${wait} s)`;
    return { ok: response.ok, reply };
  } catch {
    return { ok: false, reply: { detail: "The server gave no answer that makes sense. Please try again." } };
  }
}
