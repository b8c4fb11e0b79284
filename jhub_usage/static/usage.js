// Our pages' own behaviour: forms that call the API, and numbers that move while servers run.
// Everything works on what the server rendered; nothing here decides anything about money.

const page = JSON.parse(document.getElementById("usage-page").textContent);

// -- the API ------------------------------------------------------------------------------------

export class ApiError extends Error {
  constructor(status, code, message, field) {
    super(message);
    Object.assign(this, { status, code, field });
  }
}

// The header belongs on reads too: without it the Hub does not accept the cookie of a fetch.
export async function api(method, path, body, headers = {}) {
  let response;
  try {
    response = await fetch(page.api + path, {
      method,
      headers: {
        "X-XSRFToken": page.xsrf,
        Accept: "application/json",
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "offline", "The hub can not be reached. Check your connection and try again.");
  }
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  if (response.status === 401) {
    throw new ApiError(401, "not_signed_in", "You are no longer logged in: reload this page.");
  }
  const error = answer?.error ?? {};
  throw new ApiError(response.status, error.code, error.message ?? `The server answered ${response.status}.`, error.field);
}

// -- words --------------------------------------------------------------------------------------

export function money(micro) {
  const { decimals, symbol, code } = page.currency;
  const text = (Math.abs(micro) / 1e6).toLocaleString("en-US", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
  const sign = micro < 0 && Number(text.replace(/,/g, "")) ? "-" : "";
  return symbol ? `${sign}${symbol}${text}` : `${sign}${text} ${code}`;
}

export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [Math.floor(s / 86400), Math.floor((s % 86400) / 3600), Math.floor((s % 3600) / 60)];
  if (days) return hours ? `${days} d ${hours} h` : `${days} d`;
  if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  return minutes ? `${minutes} min` : `${s} s`;
}

function say(text, kind = "success") {
  const box = document.getElementById("usage-messages");
  const line = document.createElement("p");
  line.className = `alert alert-${kind} usage-message-enter`;
  line.textContent = text;
  box.replaceChildren(line);
  box.scrollIntoView({ block: "nearest" });
}

// A message that outlives the reload which shows the new numbers.
const FLASH = "jhub-usage-said";
const said = sessionStorage.getItem(FLASH);
if (said) {
  sessionStorage.removeItem(FLASH);
  say(said);
}

// -- forms --------------------------------------------------------------------------------------

function confirmed(text) {
  const dialog = document.getElementById("usage-confirm");
  document.getElementById("usage-confirm-text").textContent = text;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// What a field means is said by data-kind; an empty optional field is not sent.
const READ = {
  amount: (text) => text.replace(/[\s,](?=\d{3}\b)/g, ""),
  whole: (text) => Number(text),
  boolean: (text) => text === "true",
  nullable: (text) => (text === "null" ? null : text),
  list: (text) => text.split(",").map((t) => t.trim()).filter(Boolean),
  zoned: (text) => fromHubTime(text).toISOString(),
  line: (text) => text.replace(/\s+/g, " "),
};

// A wall time of the hub's zone, as pages show it. Asked twice: the first guess may lie on the
// other side of a change of clocks.
function fromHubTime(text) {
  const wall = Date.parse(`${text}Z`);
  const parts = new Intl.DateTimeFormat("en-US", {
    timeZone: page.timezone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric",
    hour: "numeric", minute: "numeric", second: "numeric",
  });
  const shown = (ms) => {
    const of = Object.fromEntries(parts.formatToParts(ms).map((p) => [p.type, Number(p.value)]));
    return Date.UTC(of.year, of.month - 1, of.day, of.hour, of.minute, of.second);
  };
  let guess = wall;
  for (let n = 0; n < 2; n++) guess += wall - shown(guess);
  return new Date(guess);
}

function read(form) {
  const [body, path] = [{}, {}];
  for (const field of form.elements) {
    if (!field.name || field.disabled) continue;
    if (field.type === "checkbox") {
      body[field.name] = field.checked;
      continue;
    }
    const text = field.value.trim();
    const kind = field.dataset.kind;
    if (kind === "path") path[field.name] = text;
    else if (text !== "") body[field.name] = READ[kind] ? READ[kind](text) : text;
    else if (field.dataset.empty === "null") body[field.name] = null;
    else if (field.dataset.empty === "text") body[field.name] = "";
  }
  return { body, path };
}

const fill = (text, path) => text.replace(/{(\w+)}/g, (_, name) => encodeURIComponent(path[name] ?? ""));

function describe(form, template) {
  return template.replace(/{(\w+)}/g, (_, name) => form.elements[name]?.value ?? "");
}

// To the field that was wrong, if the answer names one that can be seen; else to the first.
function point(form, name) {
  const seen = [...form.elements].filter((f) => f.name && f.type !== "hidden" && !f.disabled);
  const wrong = seen.find((f) => f.name === name);
  wrong?.classList.add("is-invalid");
  wrong?.setAttribute("aria-invalid", "true");
  (wrong ?? seen[0])?.focus();
}

function unpoint(field) {
  field.classList.remove("is-invalid");
  field.removeAttribute("aria-invalid");
}

async function send(form) {
  const problem = form.querySelector(".usage-form-error");
  problem.hidden = true;
  form.querySelectorAll(".is-invalid").forEach(unpoint);
  if (form.dataset.confirm && !(await confirmed(describe(form, form.dataset.confirm)))) return;
  const { body, path } = read(form);
  const [method, address] = form.dataset.api.split(" ");
  // One key for one intention: pressing the button again after a lost answer does it once.
  form.dataset.key ||= crypto.randomUUID?.() ?? String(Math.random()).slice(2) + Date.now();
  const buttons = form.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  try {
    const plain = method === "DELETE";
    const answer = await api(method, fill(address, path), plain ? undefined : body, {
      "Idempotency-Key": form.dataset.key,
    });
    sessionStorage.setItem(FLASH, form.dataset.done || "Done.");
    const next = form.dataset.next ? fill(form.dataset.next, answer ?? {}) : "";
    if (next) location.assign(page.pages + next);
    else location.reload();
  } catch (error) {
    if (error.status && error.status < 500) delete form.dataset.key;
    problem.textContent = error.message;
    problem.hidden = false;
    for (const button of buttons) button.disabled = false;
    point(form, error.field);
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset?.api) return;
  event.preventDefault();
  send(form);
});

document.addEventListener("input", (event) => {
  // another content is another intention
  const form = event.target.form;
  if (form?.dataset.key) delete form.dataset.key;
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.open);
    const form = dialog.querySelector("form");
    for (const [name, value] of Object.entries(opener.dataset)) {
      if (!name.startsWith("set")) continue;
      const field = form.elements[name.slice(3).replace(/^./, (c) => c.toLowerCase())] ?? form.elements[name.slice(4)];
      if (!field || field.value === value) continue;
      if (field.type === "hidden") form.reset(); // nothing that was typed for another entry
      field.value = value;
      delete form.dataset.key; // another entry is another intention
    }
    form.querySelectorAll(".is-invalid").forEach(unpoint);
    for (const problem of form.querySelectorAll(".usage-form-error")) problem.hidden = true;
    dialog.showModal();
    return;
  }
  if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
  if (event.target.closest("[data-print]")) print();
});

// Where tabs do not fit side by side, the one that is open is in view.
const tab = document.querySelector(".usage-tabs .active");
if (tab) {
  const bar = tab.closest(".usage-tabs");
  const [whole, part] = [bar.getBoundingClientRect(), tab.getBoundingClientRect()];
  bar.scrollLeft += part.left + part.width / 2 - (whole.left + whole.width / 2);
}

// Fields that only some choices need: data-when="subject=group,profile".
function refresh(form) {
  for (const part of form.querySelectorAll("[data-when]")) {
    const [name, values] = part.dataset.when.split("=");
    const shown = values.split(",").includes(form.elements[name]?.value);
    part.hidden = !shown;
    for (const field of part.querySelectorAll("input, select")) field.disabled = !shown;
  }
}
for (const form of document.querySelectorAll("form[data-api]")) {
  refresh(form);
  form.addEventListener("change", () => refresh(form));
}

// A link to a form that is folded away unfolds it.
function unfold() {
  const part = document.querySelector("details:target");
  if (part) part.open = true;
}
unfold();
addEventListener("hashchange", unfold);

// -- numbers that move --------------------------------------------------------------------------

const TICK_MS = 1000;
const LOOK_MS = 15_000;
let since = performance.now();

function tick() {
  const seconds = (performance.now() - since) / 1000;
  for (const cell of document.querySelectorAll("[data-cost]")) {
    const micro = Number(cell.dataset.cost) + (Number(cell.dataset.perHour) * seconds) / 3600;
    cell.textContent = money(micro);
  }
  for (const cell of document.querySelectorAll("[data-left]")) {
    cell.textContent = span(Number(cell.dataset.left) - seconds);
  }
}

async function look(kind) {
  if (document.hidden) return;
  let answer;
  try {
    answer = await api("GET", kind === "me" ? "me" : "sessions?state=open&limit=200");
  } catch (error) {
    if (error.status === 401) say(error.message, "warning");
    return; // the numbers go on by themselves; the next look mends them
  }
  const sessions = kind === "me" ? answer.running : answer.sessions;
  const shown = document.querySelectorAll("[data-session]");
  const same =
    shown.length === sessions.length &&
    sessions.every((s) => {
      const row = document.querySelector(`[data-session="${CSS.escape(s.id)}"]`);
      return row && row.dataset.state === s.state;
    });
  if (!same && !document.querySelector("dialog[open], details[open] form")) {
    location.reload();
    return;
  }
  since = performance.now();
  for (const s of sessions) {
    const row = document.querySelector(`[data-session="${CSS.escape(s.id)}"]`);
    const cost = row?.querySelector("[data-cost]");
    if (cost) {
      cost.dataset.cost = s.cost_micro;
      cost.dataset.perHour = s.accrues ? s.per_hour_micro : 0;
    }
    const left = row?.querySelector("[data-left]");
    if (left && s.left_s !== null) left.dataset.left = s.left_s;
  }
  for (const w of answer.wallets ?? []) {
    const number = document.querySelector(`[data-wallet="${w.id}"] [data-available]`);
    if (number && w.available_micro !== null) number.textContent = money(w.available_micro);
  }
  tick();
}

const live = document.querySelector("[data-live]");
if (live) {
  setInterval(tick, TICK_MS);
  setInterval(() => look(live.dataset.live), LOOK_MS);
  document.addEventListener("visibilitychange", () => look(live.dataset.live));
}
