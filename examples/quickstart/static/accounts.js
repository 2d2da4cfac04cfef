/*
  Sends the forms of the pages as JSON, and shows what the server responds. To add a step, write a form with:

  data-endpoint   where to send it
  data-method     another method than POST
  data-link       sends the parameters of the e-mailed link as well; they are in the URL of the page
  data-gated      solves a proof of work before
  data-done       the message after success, with values of the form in braces; otherwise that of the server
  data-next       the page to open after success; it shows the message

  An error appears below the field of its name, or in the .message of the section. What has data-after="done" or
  data-after="failed" is hidden until the form has worked, or its link has failed. What has data-offered is hidden until
  the server responds with that error code. A button may have more fields in data-body.
*/

const page = document.documentElement;
const notice = document.getElementById("notice");
const offline = document.getElementById("offline");
const translations = JSON.parse(document.getElementById("translations").textContent);

// Return a message in the language of the page, with values for the names in braces.
function t(message, values = {}) {
  return (translations[message] ?? message).replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

// Forms

document.addEventListener("submit", (event) => {
  event.preventDefault();
  submit(event.target, event.submitter);
});

async function submit(form, button) {
  if (form.hasAttribute("aria-busy")) return;
  const place = messagePlace(form);
  const data = readForm(form, button);
  clear(form);
  form.setAttribute("aria-busy", "true");
  const waiting = setTimeout(() => show(place, "wait", t("One moment, please…")), 500);
  const response = await send(form.dataset, data);
  clearTimeout(waiting);
  if (response.ok && isAccount && !form.dataset.next) await readAccount();
  form.removeAttribute("aria-busy");
  place.replaceChildren();
  if (!response.ok) return showErrors(form, response);

  const { done, next } = form.dataset;
  const message = done ? t(done, data) : response.body.detail;
  if (next) return leave(next, "good", message);
  form.reset();
  for (const part of form.querySelectorAll("[data-offered]")) part.hidden = true;
  reveal(form, "done");
  show(place, "good", message);
  if (!form.isConnected || !form.checkVisibility()) place.focus();  // else the focus would be lost
  afterSuccess[`${form.dataset.method ?? "POST"} ${form.dataset.endpoint}`]?.(response.body);
}

// The parameters of the link as they came, and the fields, without the required ones that are empty.
function readForm(form, button) {
  const link = "link" in form.dataset ? new URLSearchParams(location.search) : [];
  const fields = [...new FormData(form)]
    .filter(([name, value]) => value || !form.elements[name].required)
    .map(([name, value]) => [name, form.elements[name].type === "checkbox" ? true : value]);
  return { ...Object.fromEntries([...link, ...fields]), ...JSON.parse(button?.dataset.body ?? "{}") };
}

// Hide the messages of an earlier attempt.
function clear(form) {
  notice.replaceChildren();
  messagePlace(form).replaceChildren();
  for (const part of partsOf(form, "[data-after]")) part.hidden = true;
  for (const error of form.querySelectorAll(".error")) error.remove();
  for (const field of form.querySelectorAll("[aria-invalid]")) {
    field.removeAttribute("aria-invalid");
    describe(field);
  }
  for (const button of form.querySelectorAll("[data-show]")) showPassword(button, false);
}

// {"username": ["…"], "non_field_errors": ["…"]}, or {"detail": "…", "code": "…"}
function showErrors(form, { body, wait }) {
  if (body.code === "step-required") {
    sessionStorage.setItem("challenge", body.challenge);
    return location.assign("/second-factor/");
  }
  if (body.code === "challenge-invalid") {
    return leave("/", "bad", t("That took too long, or there were too many tries. Please log in again."));
  }
  if (body.code === "not-authenticated") return leave("/", "bad", t("Your session has ended. Please log in."));

  const isLink = "link" in form.dataset;
  const others = [];
  for (const [name, found] of Object.entries(body)) {
    const field = form.elements.namedItem(name);
    const message = [found].flat().join(" ");
    if (field) showFieldError(field, message);
    else if (name === "detail" || name === "non_field_errors") others.push(message);
    else if (name !== "code" && !isLink) others.push(`${name}: ${message}`);
  }
  const invalid = form.querySelector("[aria-invalid]");
  const isIncomplete = isLink && !invalid && !others.length;
  if (isIncomplete) others.push(t("This link is incomplete. Copy the whole link from the e-mail."));
  const place = messagePlace(form);
  if (others.length) show(place, "bad", others.join(" "));
  if (wait) countDown(place, wait);
  else if (isIncomplete || (isLink && !invalid && body.code)) reveal(form, "failed");
  for (const part of form.querySelectorAll("[data-offered]")) {
    if (part.dataset.offered !== body.code) continue;
    part.hidden = false;
    part.querySelector("input").focus();
  }
  invalid?.focus();
}

function showFieldError(field, message) {
  const error = document.createElement("p");
  error.className = "error";
  error.id = `${field.id}-error`;
  error.textContent = message;
  field.closest(".field").append(error);
  field.setAttribute("aria-invalid", "true");
  describe(field, error.id);
}

// What a screen reader reads with a field: its error, and its data-hint.
function describe(field, ...ids) {
  field.setAttribute("aria-describedby", [...ids, field.dataset.hint].join(" ").trim());
}

// Messages

// The place for the messages of a form: in its section, or else at the top of the page.
function messagePlace(form) {
  return form.closest("section")?.querySelector(".message") ?? notice;
}

function show(place, kind, message) {
  const paragraph = document.createElement("p");
  paragraph.className = kind;
  paragraph.textContent = message;
  place.replaceChildren(paragraph);
}

function partsOf(form, selector) {
  return form.closest("section")?.querySelectorAll(selector) ?? [];
}

function reveal(form, when) {
  for (const part of partsOf(form, `[data-after=${when}]`)) part.hidden = false;
}

// Open a page, which shows the message.
function leave(path, kind, message) {
  sessionStorage.setItem("notice", JSON.stringify({ kind, message }));
  location.assign(path);
}

const kept = JSON.parse(sessionStorage.getItem("notice"));
if (kept) {
  sessionStorage.removeItem("notice");
  show(notice, kept.kind, kept.message);
  notice.focus();
}

// Count the seconds down until the server accepts requests again. A screen reader reads only the first.
function countDown(place, seconds) {
  const end = Date.now() + 1000 * seconds;
  const timer = document.createElement("span");
  timer.setAttribute("role", "timer");
  timer.setAttribute("aria-live", "off");
  place.firstChild.append(" ", timer);
  const tick = () => {
    const left = Math.ceil((end - Date.now()) / 1000);
    timer.textContent = left > 0 ? t("You can try again in {time}.", { time: inWords(left) }) : t("You can try again now.");
    if (left > 0 && timer.isConnected) setTimeout(tick, 1000);
  };
  tick();
}

function inWords(seconds) {
  const [number, unit] = seconds > 120 ? [Math.ceil(seconds / 60), "minute"] : [seconds, "second"];
  return new Intl.NumberFormat(page.lang, { style: "unit", unit, unitDisplay: "long" }).format(number);
}

function showConnection() {
  if (navigator.onLine) offline.replaceChildren();
  else show(offline, "bad", t("You are offline. What you entered stays here: send it when you are online again."));
}
addEventListener("online", showConnection);
addEventListener("offline", showConnection);
showConnection();

// Requests

async function send({ method, endpoint, gated }, data) {
  let response = gated === undefined ? await request(method, endpoint, data) : null;
  if (response && response.body.code !== "captcha-required") return response;
  response = await request("GET", "/accounts/challenge/");
  if (!response.ok) return response;
  return request(method, endpoint, { ...data, captcha: await solve(response.body) });
}

async function request(method = "POST", path, data) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: data && JSON.stringify(data),
    });
  } catch {
    return { ok: false, body: { detail: t("The server cannot be reached. Check your connection, then try again.") } };
  }
  try {
    const text = await response.text();
    const wait = Number(response.headers.get("Retry-After"));
    return { ok: response.ok, wait, body: text ? JSON.parse(text) : {} };
  } catch {
    return { ok: false, body: { detail: t("The server sent an unexpected response. Please try again.") } };
  }
}

// Find the number whose key begins as the challenge of the proof of work asks, 64 tries at the same time.
async function solve(challenge) {
  const { nonce, salt, cost: iterations, keyLength, keyPrefix } = challenge.parameters;
  const hash = { name: "PBKDF2", hash: "SHA-256", salt: bytes(salt), iterations };
  const derive = async (number) => {
    const password = new Uint8Array([...bytes(nonce), ...[24, 16, 8, 0].map((shift) => number >>> shift)]);
    const key = await crypto.subtle.importKey("raw", password, "PBKDF2", false, ["deriveBits"]);
    const bits = new Uint8Array(await crypto.subtle.deriveBits(hash, key, 8 * keyLength));
    return Array.from(bits, (byte) => byte.toString(16).padStart(2, "0")).join("");
  };
  for (let start = 0; ; start += 64) {
    const keys = await Promise.all(Array.from({ length: 64 }, (_, index) => derive(start + index)));
    const index = keys.findIndex((key) => key.startsWith(keyPrefix));
    if (index < 0) continue;
    return btoa(JSON.stringify({ challenge, solution: { counter: start + index, derivedKey: keys[index] } }));
  }
}

function bytes(hex) {
  return Uint8Array.from(hex.match(/../g), (byte) => parseInt(byte, 16));
}

// Passwords

function showPassword(button, isShown) {
  const field = document.getElementById(button.dataset.show);
  field.type = isShown ? "text" : "password";
  button.textContent = isShown ? t("Hide") : t("Show");
  button.setAttribute("aria-label", `${button.textContent}: ${field.labels[0].textContent}`);
}

const strengths = ["", t("Very weak"), t("Weak"), t("Good"), t("Strong")];

// Mark the rules of a new password that it meets, while it is entered. The server judges its strength.
function watch(form) {
  const { password, password_confirm: confirm, username } = form.elements;
  const [bar, strength] = form.querySelector(".strength").children;
  const length = form.querySelector("[data-rule=length]").dataset.length;
  let waiting;
  const update = () => {
    mark("length", [...password.value].length >= length);
    mark("match", password.value !== "" && password.value === confirm.value);
    clearTimeout(waiting);
    waiting = setTimeout(judge, 300);
  };
  const judge = async () => {
    const value = password.value;
    const names = { username: username?.value ?? "", email: new URLSearchParams(location.search).get("email") ?? "" };
    const body = new URLSearchParams({ password: value, ...names });
    const sent = value && fetch("/check-password/", { method: "POST", body }).then((response) => response.json());
    const found = await Promise.resolve(sent).catch(() => null);
    if (value !== password.value) return;  // there is a later one
    mark("strength", found && !found.errors.length);
    bar.dataset.score = found ? Math.max(1, Math.min(found.score, found.errors.length ? 2 : 4)) : 0;
    strength.textContent = found ? [`${strengths[bar.dataset.score]}.`, ...found.errors].join(" ") : "";
  };
  const mark = (rule, isMet) => form.querySelector(`[data-rule=${rule}]`).classList.toggle("met", Boolean(isMet));
  form.addEventListener("input", update);
  form.addEventListener("reset", () => setTimeout(update));
}
document.querySelectorAll("form:has(.rules)").forEach(watch);

// Buttons that send no form

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.show) showPassword(button, button.textContent === t("Show"));
  if (button?.dataset.language) {
    document.cookie = `language=${button.dataset.language}; path=/; max-age=31536000; samesite=lax`;
    location.reload();
  }
});

// The second step of a login

const challenge = document.querySelector("input[name=challenge]");
if (challenge) {
  challenge.value = sessionStorage.getItem("challenge");
  if (challenge.value) document.querySelector("input[name=code]").focus();
  else location.replace("/");
}

// The account

const isAccount = document.querySelector("main.account") !== null;
if (isAccount) readAccount();

// Show the profile, the sessions and the second factor as they are now.
async function readAccount() {
  const names = ["profile", "logins", "credentials"];
  const responses = await Promise.all(names.map((name) => request("GET", `/accounts/${name}/`)));
  for (const part of document.querySelectorAll(".loading")) part.remove();
  const failed = responses.find((each) => !each.ok);
  if (failed?.body.code === "not-authenticated") {
    return leave("/", "bad", t("Your session has ended. Please log in."));
  }
  if (failed) {
    show(notice, "bad", failed.body.detail);
    const again = { textContent: t("Try again"), className: "plain small", onclick: () => location.reload() };
    return notice.append(Object.assign(document.createElement("button"), again));
  }
  const [profile, sessions, credentials] = responses.map((each) => each.body);
  for (const place of document.querySelectorAll("[data-profile]")) {
    place.textContent = profile[place.dataset.profile];
  }
  for (const field of document.querySelectorAll("#profile input")) field.defaultValue = profile[field.name];
  document.getElementById("session-list").replaceChildren(...sessions.map(sessionItem));
  const codes = credentials.find((each) => each.kind === "recovery-codes");
  document.getElementById("factor-left").textContent = codes?.remaining;
  showFactor(codes ? "on" : "off");
}

// "off", "new" while the app is added, or "on".
function showFactor(state) {
  for (const part of document.querySelectorAll("[data-factor]")) part.hidden = part.dataset.factor !== state;
}

const afterSuccess = {
  "POST /accounts/totp/": (body) => {
    document.getElementById("factor-secret").textContent = body.secret;
    document.getElementById("factor-qr").src = `data:image/svg+xml,${encodeURIComponent(body.qr)}`;
    showFactor("new");
    document.getElementById("factor-code").focus();
  },
  "POST /accounts/totp/confirm/": showCodes,
  "POST /accounts/recovery-codes/": showCodes,
};

function showCodes(body) {
  const items = body.recovery_codes.map((code) => Object.assign(document.createElement("li"), { textContent: code }));
  document.getElementById("recovery-codes").replaceChildren(...items);
  document.querySelector("[data-factor=codes]").hidden = false;
}

function sessionItem(session) {
  const item = document.getElementById("a-session").content.cloneNode(true);
  const time = new Date(session.last_used_at).toLocaleString(page.lang, { dateStyle: "medium", timeStyle: "short" });
  const facts = [session.kind === "token" ? t("Token") : "", session.ip_address, t("last used {time}", { time })];
  const name = deviceName(session.user_agent ?? "");
  item.querySelector("strong").textContent = name;
  item.querySelector(".quiet").textContent = facts.filter(Boolean).join(", ");
  const form = item.querySelector("form");
  form.dataset.endpoint = `/accounts/logins/${session.id}/`;
  if (session.current) form.dataset.next = "/";
  else item.querySelector(".badge").remove();
  const button = form.querySelector("button");
  button.setAttribute("aria-label", `${button.textContent}: ${name}, ${facts.at(-1)}`);
  return item;
}

// "Firefox on Windows", or the start of what a program calls itself.
function deviceName(agent) {
  const browser = ["Edg", "OPR", "Firefox", "Chrome", "Safari"].find((name) => agent.includes(`${name}/`));
  const system = ["Windows", "Android", "iPhone", "iPad", "Mac OS", "Linux"].find((name) => agent.includes(name));
  const name = { Edg: "Edge", OPR: "Opera" }[browser] ?? browser ?? (agent.slice(0, 40) || t("Unknown device"));
  return browser && system ? t("{browser} on {system}", { browser: name, system }) : name;
}
