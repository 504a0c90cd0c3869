// A file is shown, checked and sent as a stream of its bytes; without this script the form sends itself. Of a table the
// server is shown the first bytes, and says its columns and what the template makes of its first rows.
"use strict";
(() => {
  const form = document.querySelector("#upload");
  const input = document.querySelector("#file");
  const drop = document.querySelector("#drop");
  const report = document.querySelector("#report");
  const progress = document.querySelector("#progress");
  const yes = document.querySelector("#yes");
  const button = document.querySelector("#submit");
  const why = document.querySelector("#why");
  const skipBad = document.querySelector("#skip-bad");
  const version = document.querySelector("#api-version");
  const paste = document.querySelector("#paste");
  const pasteAs = document.querySelector("#paste-as");
  const HEAD = 65536;
  const BYTES = { "content-type": "application/octet-stream" }; // what is in it is told by its first bytes
  const table = document.querySelector("#table");
  const template = document.querySelector("#template");
  const preview = document.querySelector("#preview");
  const checkAll = document.querySelector("#check");
  const FIRST = 262144; // of a table so much is shown to the server
  const WHOLE = 786432; // Parquet is read from its end: a larger one is not looked at
  const NOTHING = "choose a file, or paste a text";
  const UNTOLD = "choose beside “It is” what the pasted text is: it is no JSON Lines";
  const HEADER = /^[^.?!,]+(,[^.?!,]+)+$/; // of a table, and no sentence
  const NOTHING_FIT = "nothing in it can be sent";
  let file = null;
  let off = NOTHING; // why it cannot be submitted
  let isBad = false; // it has lines that are refused, and others
  let isTable = false;
  let looks = 0; // a newer look makes an older one void
  const NO_TEMPLATE = "write a template, which makes a request of each row";
  let turn = 0; // a newer choice makes an older answer void

  const element = (name, text, kind) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const size = (bytes) => bytes < 1e3 ? `${bytes} B` : bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;

  const showLines = async () => {
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
    const list = element("ul", undefined, "problems");
    for (const each of found) {
      const said = element("li");
      if (each.line) said.append(element("span", `line ${each.line.toLocaleString("en")}`, "dim"), " ");
      if (each.field) said.append(element("b", each.field, "mono"), " ");
      said.append(each.problem, element("br"), element("span", `→ ${each.remedy}`, "dim"));
      list.append(said);
    }
    const first = count > found.length ? `, of which the first ${found.length} are shown` : "";
    const head = `${count.toLocaleString("en")} problem${count === 1 ? "" : "s"}${first}: the file is refused unless bad lines are left out.`;
    report.prepend(element("p", head, "notice tone-bad"), list);
  };
  const ask = (question, amount) => {
    yes.checked = false;
    yes.value = amount;
    document.querySelector("#question").textContent = question;
    document.querySelector("#confirm").hidden = !question;
    if (question) report.prepend(element("p", `${question}. Nothing was stored or sent: confirm it, or give it a cap.`, "notice tone-bad"));
  };
  const allow = (reason, bad = false) => {
    [off, isBad] = [reason, bad];
    judge();
  };
  const judge = () => {
    const reason = off || (isBad && !skipBad.checked ? "mend the bad lines, or tick that they are left out" : "");
    button.disabled = reason !== "";
    why.textContent = reason && `not yet: ${reason}`;
  };
  const refused = (document) => {
    if (document.question) ask(document.question, document.yes);
    else if (document.problems) problems(document.problems, document.problem_count ?? document.problems.length);
    else report.prepend(element("p", [document.title, document.detail, document.hint].filter(Boolean).join(": "), "notice tone-bad"));
  };
  // --- tables -----------------------------------------------------------------------------------------------------
  const chosen = () => version.value ? { api_version: version.value } : {};
  const asked = (path, bytes, more = {}) => {
    const body = new FormData();
    for (const field of table.elements) {
      const values = "lines" in field.dataset ? field.value.split("\n") : [field.value];
      if (field.name) for (const value of values) if (value.trim()) body.append(field.name, value);
    }
    for (const [name, value] of Object.entries({ ...chosen(), ...more })) body.set(name, value);
    body.set("file", bytes, file.name); // it stands last
    return fetch(path, { method: "POST", body });
  };
  const ofFile = (path, query, more = {}) => isTable ? asked(path, file, more) : fetch(`${path}${path.includes("?") ? "&" : "?"}${new URLSearchParams({ ...query, ...chosen(), ...more })}`, { method: "POST", body: file, headers: BYTES });
  const insert = (column) => {
    const written = /^[A-Za-z_]\w*$/.test(column) ? `{{ ${column} }}` : `{{ row[${JSON.stringify(column)}] }}`;
    template.setRangeText(written, template.selectionStart, template.selectionEnd, "end");
    template.focus();
    template.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const showColumns = (columns) => {
    const place = document.querySelector("#columns");
    place.hidden = !columns.length;
    place.replaceChildren(...columns.map((column) => {
      const chip = element("button", column, "chip");
      chip.type = "button";
      chip.addEventListener("click", () => insert(column));
      return chip;
    }));
    document.querySelector("#column-names").replaceChildren(...columns.map((column) => {
      const option = element("option");
      option.value = column;
      return option;
    }));
  };
  const showRows = (found) => {
    preview.replaceChildren(...found.problems.map((each) => {
      const place = [each.line ? `line ${each.line}` : "", each.field].filter(Boolean).join(", ");
      const said = element("p", `${place ? `${place}: ` : ""}${each.problem}`, "notice tone-bad");
      if (each.remedy) said.append(element("br"), element("span", `→ ${each.remedy}`, "dim"));
      return said;
    }));
    for (const row of found.rows) {
      const shown = element("div");
      shown.append(element("b", row.id, "mono"));
      if (row.system) shown.append(element("pre", row.system, "dim"));
      shown.append(element("pre", row.prompt));
      preview.append(shown);
    }
  };
  // True if the file is a table: then its columns are there, and the first prompts.
  const looked = async (mine) => {
    const look = ++looks;
    const isParquet = /\.parquet$/i.test(file.name);
    if (isParquet && file.size > WHOLE) {
      setTable(true);
      showColumns([]);
      showRows({ rows: [], problems: [{ problem: "a Parquet file of this size is not shown", remedy: "it is read when it is checked, and when it is submitted" }] });
      allow(template.value.trim() ? "" : NO_TEMPLATE);
      return true;
    }
    const bytes = isParquet ? file : file.slice(0, FIRST);
    try {
      const answer = await asked("/new/preview", bytes, { cut: file.size > bytes.size ? "1" : "0" });
      if (mine !== turn || look !== looks) return isTable;
      const found = answer.ok ? await answer.json() : { columns: null };
      setTable(found.columns !== null);
      if (isTable) {
        showColumns(found.columns);
        showRows(found);
        allow(template.value.trim() || found.problems.length ? "" : NO_TEMPLATE, found.problems.length > 0);
      }
    } catch {
      if (mine === turn && look === looks) preview.replaceChildren(element("p", "the preview cannot be had: the connection broke", "dim"));
    }
    return isTable;
  };
  const setTable = (wanted) => {
    if (wanted && !isTable) progress.textContent = `${file.name}, ${size(file.size)}: a table`;
    isTable = wanted;
    table.hidden = table.disabled = !wanted;
  };

  const choose = async (picked) => {
    file = picked;
    const mine = ++turn;
    allow("it is being checked");
    report.replaceChildren();
    ask("", "");
    setTable(false);
    progress.textContent = `${file.name}, ${size(file.size)}: checking`;
    if (await looked(mine)) return;
    if (mine !== turn) return;
    await showLines();
    await checked(mine);
  };
  const checked = async (mine) => {
    try {
      const answer = await ofFile("/api/v1/check", { source: file.name });
      if (mine !== turn) return;
      if (answer.status === 404) throw new Error("this engine has no check");
      const found = await answer.json();
      progress.textContent = `${file.name}, ${size(file.size)}`;
      if (!answer.ok) {
        refused(found);
        allow(answer.status < 500 ? "it cannot be read" : "");
      } else {
        allow(found.valid || found.requests ? "" : NOTHING_FIT, !found.valid);
        told(found);
        if (found.valid) await estimated(mine);
      }
    } catch {
      if (mine !== turn) return;
      progress.textContent = `${file.name}, ${size(file.size)}: not checked, it is checked when it is submitted`;
      allow("");
    }
  };
  const told = (found) => {
    const said = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
    const plan = `${said(found.requests, "request", "requests")}, ${said(found.batches.length, "batch", "batches")}`;
    report.prepend(element("p", found.valid ? `${plan}: ready to submit` : `without the bad lines: ${plan}`, found.valid ? "said" : "dim"));
    if (found.problem_count) problems(found.problems, found.problem_count);
  };
  const dollars = (text) => `$${Number(text).toFixed(Number(text) < 1 ? 4 : 2)}`;
  const estimated = async (mine) => {
    const some = ["limit", "sample", "seed"].map((name) => [name, form.elements[name].value]).filter(([, value]) => value);
    const answer = await ofFile("/api/v1/estimate?count=offline", { source: file.name }, Object.fromEntries(some));
    if (mine !== turn || !answer.ok) return;
    const { cost, price, trial } = await answer.json();
    if (trial && trial.high !== null) report.prepend(element("p", `of it the trial of ${trial.requests.toLocaleString("en")}: ${dollars(trial.low)} to ${dollars(trial.high)}`, "dim"));
    const unknown = price.unknown.map((each) => each.model).join(", ");
    const said = cost.high === null ? "the cost is not known" : `may cost ${dollars(cost.low)} to ${dollars(cost.high)}, rough, by bytes`;
    report.prepend(element("p", unknown ? `${said}: no price for ${unknown}` : said, "dim"));
  };
  const submit = async () => {
    button.disabled = true;
    progress.textContent = "sending";
    try {
      const body = new FormData(form);
      for (const name of ["paste", "paste_as"]) body.delete(name); // it is the file
      body.set("file", file); // it stands last, also when it was dropped
      const answer = await fetch(form.action, { method: "POST", body, headers: { accept: "application/json" } });
      const found = await answer.json();
      if (answer.ok) return location.assign(found.page);
      report.replaceChildren();
      refused(found);
      if (found.problems) allow(found.fit === 0 ? NOTHING_FIT : "", true);
      progress.textContent = "";
    } catch {
      progress.textContent = "the connection broke: nothing of an upload that did not end is kept; submit it again";
    }
    judge();
  };
  // What is pasted is a file from here on.
  const pasted = () => {
    const text = paste.value;
    const isUntold = pasteAs.value === "jsonl" && /^[^{]/.test(text.trim());
    input.value = "";
    if (text.trim() && !isUntold) return choose(new File([text], `pasted.${pasteAs.value}`));
    turn += 1;
    file = null;
    report.replaceChildren();
    setTable(false);
    progress.textContent = "";
    allow(isUntold ? UNTOLD : NOTHING);
  };
  let typed = 0; // after a key
  paste.addEventListener("input", () => {
    const [line, more] = paste.value.trim().split("\n", 2);
    const [first] = line;
    const isCsv = pasteAs.value === "jsonl" && more && HEADER.test(line);
    pasteAs.value = first === "{" ? "jsonl" : first === "[" ? "json" : line.includes("\t") ? "tsv" : isCsv ? "csv" : pasteAs.value;
    clearTimeout(typed);
    typed = setTimeout(pasted, 250);
  });
  pasteAs.addEventListener("change", pasted);
  skipBad.addEventListener("change", judge);
  version.addEventListener("change", () => file && choose(file));

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
    if (file && !button.disabled) submit();
  });
  let pause = 0; // after a key
  table.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(() => file && looked(turn), 250);
  });
  checkAll.addEventListener("click", () => {
    report.replaceChildren();
    progress.textContent = `${file.name}, ${size(file.size)}: checking`;
    checked(++turn);
  });
  checkAll.hidden = false;
  table.hidden = table.disabled = true;
  if (paste.value.trim()) pasted();
  else judge();
})();
