// The page's side of the API. Values from the records are only ever inserted as text.

const FIELDS = ["studentid", "name", "class", "birthdate", "email"];
const PAGE = 200;

const form = document.querySelector("#entry");
const rows = document.querySelector("#students");
const notifications = document.querySelector("#notifications");
const more = document.querySelector("#more");
const students = new Map();
let next = null;

/** Call the API; returns the answer's JSON, or throws an Error with `message`, `status` and `errors` by field. */
async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch {
    throw Object.assign(new Error("The records cannot be reached. Check the connection and try again."), { status: 0 });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const message = answer.message ?? `The service answered with ${response.status}.`;
    throw Object.assign(new Error(message), { status: response.status, errors: answer.errors ?? {} });
  }
  return answer;
}

function notify(kind, message) {
  const box = document.createElement("p");
  box.className = `notification ${kind}`;
  const text = document.createElement("span");
  text.textContent = message;
  const close = document.createElement("button");
  close.type = "button";
  close.textContent = "×";
  close.setAttribute("aria-label", "Close this notification");
  close.addEventListener("click", () => box.remove());
  box.append(text, close);
  notifications.prepend(box);
  while (notifications.children.length > 3) notifications.lastChild.remove();
}

/** Run an action once at a time; its button says so meanwhile, and keeps the keyboard's focus. */
async function busy(button, action) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await action();
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

function showFaults(faults) {
  for (const field of FIELDS) {
    const fault = faults[field] ?? "";
    const input = form.elements.namedItem(field);
    document.querySelector(`#${field}-fault`).textContent = fault && `${label(field)} ${fault}.`;
    if (fault) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }
  const first = FIELDS.find((field) => faults[field]);
  if (first) form.elements.namedItem(first).focus();
}

function label(field) {
  return document.querySelector(`label[for="${field}"]`).textContent;
}

function show() {
  const sorted = [...students.values()].sort((a, b) =>
    String(a.studentid).localeCompare(String(b.studentid), undefined, { numeric: true }),
  );
  rows.replaceChildren(...sorted.map(row));
  if (!sorted.length) {
    const cell = document.createElement("td");
    cell.colSpan = FIELDS.length + 1;
    cell.className = "empty";
    cell.textContent = "There is no record yet.";
    const line = document.createElement("tr");
    line.append(cell);
    rows.append(line);
  }
  const count = `${sorted.length} ${sorted.length === 1 ? "record" : "records"}`;
  document.querySelector("#count").textContent = next ? `${count}, and there are more` : count;
  more.hidden = !next;
}

function row(student) {
  const line = document.createElement("tr");
  for (const field of FIELDS) {
    const cell = document.createElement("td");
    const value = student[field] ?? "";
    cell.textContent = typeof value === "object" ? JSON.stringify(value) : String(value);
    line.append(cell);
  }
  const edit = document.createElement("button");
  edit.type = "button";
  edit.className = "quiet";
  edit.textContent = "Edit";
  edit.setAttribute("aria-label", `Edit ${student.studentid}`);
  edit.addEventListener("click", () => {
    for (const field of FIELDS) form.elements.namedItem(field).value = student[field] ?? "";
    showFaults({});
    form.elements.namedItem("name").focus();
  });
  const cell = document.createElement("td");
  cell.append(edit);
  line.append(cell);
  return line;
}

async function load() {
  try {
    const query = new URLSearchParams({ limit: PAGE });
    if (next) query.set("next", next);
    const page = await call("GET", `/students?${query}`);
    for (const student of page.students) students.set(student.studentid, student);
    next = page.next;
    show();
  } catch (error) {
    notify("error", error.message);
  }
}

async function reload() {
  students.clear();
  next = null;
  await load();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy(event.submitter ?? form.querySelector("[type=submit]"), async () => {
    const student = Object.fromEntries(FIELDS.map((field) => [field, form.elements.namedItem(field).value.trim()]));
    try {
      const answer = await call("POST", "/students", student);
      showFaults({});
      notify("success", answer.message);
      if (answer.warning) notify("warning", answer.warning);
      students.set(student.studentid, { ...students.get(student.studentid), ...student });
      show();
      form.reset();
      form.elements.namedItem("studentid").focus();
    } catch (error) {
      const faults = error.errors ?? {};
      showFaults(faults);
      const isShown = FIELDS.some((field) => faults[field]);
      notify("error", isShown ? "The record was not saved. Each error is shown at its field." : error.message);
    }
  });
});

document.querySelector("#backup").addEventListener("click", (event) =>
  busy(event.currentTarget, async () => {
    try {
      const answer = await call("POST", "/backup");
      const items = answer.items === undefined ? "" : ` (${answer.items} records)`;
      notify("success", `${answer.message}${items}`);
    } catch (error) {
      notify(error.status === 504 ? "warning" : "error", error.message);
    }
  }),
);

document.querySelector("#reload").addEventListener("click", (event) => busy(event.currentTarget, reload));
more.addEventListener("click", (event) => busy(event.currentTarget, load));
load();
