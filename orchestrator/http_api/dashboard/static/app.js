// What pages do beyond what they say: live parts, keyboard, theme, relative times. Every page is whole without it.
"use strict";
(() => {
  const $ = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];

  // --- relative times, in the words of the server -----------------------------------------------------------------
  const two = (amount, per, unit, rest) => {
    const whole = Math.floor(amount / per);
    return amount % per ? `${whole}${unit}${amount % per}${rest}` : `${whole}${unit}`;
  };
  const span = (seconds) => {
    if (seconds < 100) return `${seconds}s`;
    const minutes = Math.round(seconds / 60);
    if (minutes < 100) return `${minutes}m`;
    return minutes < 2880 ? two(minutes, 60, "h", "m") : two(Math.round(minutes / 60), 24, "d", "h");
  };
  const tellTimes = () => {
    for (const time of all("time[datetime]")) {
      const distance = Math.round((Date.now() - Date.parse(time.dateTime)) / 1000);
      const lasts = "lasting" in time.dataset;
      const text = lasts ? span(Math.max(distance, 0)) : distance < 0 ? `in ${span(-distance)}` : `${span(distance)} ago`;
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(() => document.hidden || tellTimes(), 1000);

  // --- live -------------------------------------------------------------------------------------------------------
  const holder = $("#live");
  let paused = false;
  const told = { live: "live", lost: "connection lost, trying again", paused: "paused", off: "connecting" };
  const tell = (state) => {
    if (!holder) return;
    $("#pulse").dataset.state = state;
    $("#pulse-text").textContent = told[state];
  };
  const connect = () => {
    const stream = document.createElement("div");
    stream.setAttribute("hx-sse:connect", holder.dataset.live);
    stream.setAttribute("hx-config", '{"sse": {"reconnectDelay": 300, "reconnectMaxDelay": 3000}}');
    holder.replaceChildren(stream);
    tell("off");
    htmx.process(stream);
  };
  const disconnect = () => {
    const connection = holder.firstElementChild?._htmx?.sse;
    holder.replaceChildren();
    connection?.reader?.cancel();
    tell("paused");
  };
  const setPaused = (wanted) => {
    paused = wanted;
    $("#pause").setAttribute("aria-pressed", String(paused));
    paused ? disconnect() : connect();
  };
  if (holder) {
    $("#pause").hidden = false;
    $("#pause").addEventListener("click", () => setPaused(!paused));
    const heard = (state) => () => paused || tell(state);
    // Who is not logged in any more is asked to, and comes back to this page.
    const askIfOut = () => fetch("/api/v1/livez").then((answer) => answer.status === 401 && location.reload(), () => {});
    document.addEventListener("htmx:sse:after:connection", heard("live"));
    document.addEventListener("htmx:sse:error", () => { heard("lost")(); askIfOut(); });
    document.addEventListener("htmx:sse:after:message", () => {
      tellTimes();
      mark(current());
    });
    // A picked box and what is typed are the person's, not the server's.
    document.addEventListener("htmx:before:swap", () => { picked = new Set(all("input[name=job]:checked").map((box) => box.value)); });
    document.addEventListener("htmx:after:swap", () => {
      for (const box of all("input[name=job]")) box.checked = picked.has(box.value);
    });
    // A connection that never came is not tried again by itself.
    document.addEventListener("htmx:error", () => {
      if (paused || holder.firstElementChild?._htmx?.sse) return;
      tell("lost");
      askIfOut();
      setTimeout(() => paused || connect(), 2000);
    });
    // htmx looks through the whole page when that is read: a stream that stood there by then would be opened twice.
    document.addEventListener("DOMContentLoaded", () => setTimeout(connect));
  }
  let picked = new Set();

  // --- theme ------------------------------------------------------------------------------------------------------
  const setTheme = () => {
    const root = document.documentElement;
    const shown = root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    root.dataset.theme = shown === "dark" ? "light" : "dark";
    document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=strict`;
    document.dispatchEvent(new Event("theme"));
  };
  $("#theme").hidden = false;
  $("#theme").addEventListener("click", setTheme);

  // --- a list follows what is looked for, without Enter ------------------------------------------------------------
  let asked = 0;
  let rest = 0; // after a key
  const follow = async (form) => {
    const turn = ++asked;
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
    const address = `${form.getAttribute("action")}${query.size ? "?" : ""}${query}`;
    const answer = await fetch(address, { headers: { accept: "text/html" } }).catch(() => null);
    if (turn !== asked || !answer?.ok) return;
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (turn !== asked) return;
    for (const part of ["chips", "rows", "pages"]) $(`#${part}`).replaceWith(found.querySelector(`#${part}`));
    history.replaceState(null, "", address);
    if (!holder) return;
    holder.dataset.live = `/live?at=${encodeURIComponent(address)}`;
    if (!paused) disconnect();
    if (!paused) connect();
  };
  for (const form of all("form[data-follow]")) {
    form.addEventListener("input", (event) => {
      if (!event.target.matches("[data-search]")) return;
      clearTimeout(rest);
      rest = setTimeout(() => follow(form), 200);
    });
  }

  // --- keyboard ---------------------------------------------------------------------------------------------------
  const help = $("#help");
  $("#help-button").hidden = false;
  $("#help-button").addEventListener("click", () => help.showModal());
  let row = null; // the id of the row that one is on
  const rows = () => all("[data-row]");
  const current = () => rows().findIndex((each) => each.id === row);
  const mark = (index) => {
    rows().forEach((each, at) => each.classList.toggle("on", at === index));
  };
  const move = (by) => {
    const found = rows();
    if (!found.length) return;
    const index = Math.max(0, Math.min(found.length - 1, row === null ? 0 : current() + by));
    row = found[index].id;
    mark(index);
    found[index].scrollIntoView({ block: "nearest" });
    found[index].querySelector("[data-open]")?.focus({ preventScroll: true });
  };
  const press = (selector) => $(selector)?.click();
  let going = 0; // until when a "g" counts
  const keys = {
    "/": () => ($("[data-search]") ? $("[data-search]").focus() : location.assign("/jobs")),
    j: () => move(1),
    k: () => move(-1),
    x: () => rows()[current()]?.querySelector("input[type=checkbox]")?.click(),
    o: () => rows()[current()]?.querySelector(".unfold")?.click(),
    g: () => { going = Date.now() + 1500; },
    p: () => holder && setPaused(!paused),
    t: setTheme,
    "?": () => help.showModal(),
    "[": () => press("[data-prev]"),
    "]": () => press("[data-next]"),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.target.matches("input:not([type=checkbox]), textarea, select")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const goes = going > Date.now() && document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    going = 0;
    if (goes) location.assign(goes.href);
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
  });

  // --- copy -------------------------------------------------------------------------------------------------------
  for (const button of navigator.clipboard ? all("[data-copy]") : []) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText($(button.dataset.copy).textContent);
      button.lastChild.textContent = "Copied";
    });
  }
})();
