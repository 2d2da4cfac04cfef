// What is said at the top of the page that comes next.

import { ref } from "vue";
import { useRouter } from "vue-router";

export const notice = ref("");

export function useGoAndSay() {
  const router = useRouter();
  return async (path, text) => {
    await router.push(path);
    notice.value = text;
  };
}
