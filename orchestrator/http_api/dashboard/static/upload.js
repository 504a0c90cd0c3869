// A file is shown, checked and sent as a stream of its bytes; without this script the form sends itself.
"use strict";
(() => {
  const form = document.querySelector("#upload");
  const input = document.querySelector("#file");
  const drop = document.querySelector("#drop");
  const report = document.querySelector("#report");
  const progress = document.querySelector("#progress");
  const button = document.querySelector("#submit");
  const HEAD = 65536;
  const BYTES = { "content-type": "application/octet-stream" }; // what is in it is told by its first bytes
  let file = null;
  let turn = 0; // a newer choice makes an older answer void

  const element = (name, text, kind) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const size = (bytes) => bytes < 1e3 ? `${bytes} B` : bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

  const preview = async () => {
    if (/\.(gz|zst)$/i.test(file.name)) return;
    const text = await file.slice(0, HEAD).text();
    const lines = text.split("\n").filter((line) => line.trim()).slice(0, 3);
    for (const line of lines) {
      let shown = line.slice(0, 2000);
      try {
        const { custom_id: id, params } = JSON.parse(line);
        const last = params.messages.at(-1).content;
        const said = typeof last === "string" ? last : JSON.stringify(last);
        shown = `${id}  ·  ${params.model}\n${said.slice(0, 1000)}`;
      } catch { /* not a whole request: shown as it stands, and the check says what is wrong */ }
      report.append(element("pre", shown));
    }
  };
  const problems = (found, count) => {
    const table = element("table", undefined, "rows");
    for (const each of found) {
      const row = table.insertRow();
      row.insertCell().textContent = each.line ? `line ${each.line}` : "file";
      row.insertCell().append(element("span", each.field, "mono"));
      const said = row.insertCell();
      said.className = "wide";
      said.append(each.problem, element("br"), element("span", `→ ${each.remedy}`, "dim"));
    }
    const first = count > found.length ? `, of which the first ${found.length} are shown` : "";
    const head = `${count.toLocaleString("en")} problem${count === 1 ? "" : "s"}${first}: the file is refused unless bad lines are left out.`;
    report.prepend(element("p", head, "notice tone-bad"), table);
  };
  const query = () => {
    const found = new URLSearchParams({ source: file.name });
    const name = document.querySelector("#name").value.trim();
    if (name) found.set("name", name);
    for (const tag of document.querySelector("#tags").value.split(",")) if (tag.trim()) found.append("tag", tag.trim());
    if (document.querySelector("#skip-bad").checked) found.set("skip_bad", "1");
    return found;
  };
  const refused = (document) => {
    if (document.problems) problems(document.problems, document.problem_count ?? document.problems.length);
    else report.prepend(element("p", [document.title, document.detail, document.hint].filter(Boolean).join(": "), "notice tone-bad"));
  };
  const choose = async (chosen) => {
    file = chosen;
    const mine = ++turn;
    report.replaceChildren();
    progress.textContent = `${file.name}, ${size(file.size)}: checking`;
    await preview();
    try {
      const answer = await fetch(`/api/v1/check?${new URLSearchParams({ source: file.name })}`, { method: "POST", body: file, headers: BYTES });
      if (mine !== turn) return;
      if (answer.status === 404) throw new Error("this engine has no check");
      const found = await answer.json();
      progress.textContent = `${file.name}, ${size(file.size)}`;
      if (!answer.ok) refused(found);
      else told(found);
    } catch {
      if (mine === turn) progress.textContent = `${file.name}, ${size(file.size)}: not checked, it is checked when it is submitted`;
    }
  };
  const told = (found) => {
    const said = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
    const plan = `${said(found.requests, "request", "requests")}, ${said(found.batches.length, "batch", "batches")}`;
    report.prepend(element("p", found.valid ? `${plan}: ready to submit` : `without the bad lines: ${plan}`, found.valid ? "said" : "dim"));
    if (found.problem_count) problems(found.problems, found.problem_count);
  };
  const submit = async () => {
    button.disabled = true;
    progress.textContent = "sending";
    try {
      const answer = await fetch(`/api/v1/jobs?${query()}`, { method: "POST", body: file, headers: BYTES });
      const found = await answer.json();
      if (answer.ok) return location.assign(`/jobs/${encodeURIComponent((found.job ?? found).id)}`);
      report.replaceChildren();
      refused(found);
      progress.textContent = "";
    } catch {
      progress.textContent = "the connection broke: nothing of an upload that did not end is kept; submit it again";
    }
    button.disabled = false;
  };

  input.addEventListener("change", () => input.files.length && choose(input.files[0]));
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  document.addEventListener("dragleave", (event) => event.relatedTarget || drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (file) submit();
  });
  input.required = false;
})();
