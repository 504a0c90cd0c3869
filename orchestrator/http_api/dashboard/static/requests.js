// A request is opened in its row of the list; without this script the link leads to its page.
"use strict";
(() => {
  // An open row is the person's: a live update leaves it as it is.
  const show = (link, is_open) => {
    const cell = document.getElementById(link.getAttribute("aria-controls"));
    link.setAttribute("aria-expanded", String(is_open));
    cell.parentElement.hidden = !is_open;
    cell.parentElement.toggleAttribute("hx-morph-skip", is_open);
    if (is_open) htmx.ajax("GET", link.dataset.inside, { source: link, target: cell, swap: "innerHTML" }); // anew each time
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.unfold");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(link, link.getAttribute("aria-expanded") !== "true");
  });
  document.addEventListener("htmx:after:swap", () => {
    for (const row of document.querySelectorAll("tr.inside[hx-morph-skip]")) {
      document.querySelector(`[aria-controls="${row.cells[0].id}"]`)?.setAttribute("aria-expanded", "true");
    }
  });
})();
