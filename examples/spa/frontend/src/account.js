// Who is logged in, as far as this page knows. The session itself is a cookie that no script can read.

import { ref } from "vue";
import { send } from "./api.js";

/** The profile; null if nobody is logged in; undefined until the back end was asked. */
export const profile = ref(undefined);

export async function refresh() {
  const { ok, reply } = await send("GET", "/profile/");
  profile.value = ok ? reply : null;
}
