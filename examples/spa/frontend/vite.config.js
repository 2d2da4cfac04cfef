import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

// 127.0.0.1 and not "localhost": to a browser these are two sites, and the cookie would stay at home.
const where = { host: "127.0.0.1", port: 5173, strictPort: true };

export default defineConfig({
  plugins: [vue()],
  server: where,
  preview: where,
});
