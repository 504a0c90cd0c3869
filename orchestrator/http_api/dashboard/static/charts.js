// The two charts of the overview: a range from the store, then one point per message of the stream.
"use strict";
(() => {
  const place = document.querySelector(".charts").dataset;
  const SPAN = Number(place.span); // seconds
  const STEP = Number(place.step); // seconds between two stored points
  const MINUTE = 60;
  const DAY = 86400;
  let columns = [[], [], [], [], []]; // time, in flight, waiting, settled, failed
  let charts = [];

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // A point holds until the next; before the first it was as it was there.
  const valueAt = (times, values, at) => {
    let low = 0;
    let high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= at) low = middle + 1; else high = middle;
    }
    return values[Math.max(low - 1, 0)];
  };
  // A point comes only when something changed: up to now it is as it was.
  const untilNow = () => columns[0].length
    ? columns.map((column, at) => [...column, at === 0 ? Math.max(Date.now() / 1000, column.at(-1)) : column.at(-1)])
    : columns;
  const flight = () => untilNow().slice(0, 3);
  // Counted over real minutes, or over whole steps where these are longer: so an idle hour is a line at zero.
  const rate = () => {
    const [times, , , settled, failed] = columns;
    if (!times.length) return [[], [], []];
    const [from, now] = range();
    const steps = [];
    for (let at = Math.ceil(from / STEP) * STEP; at < now; at += STEP) steps.push(at);
    steps.push(now);
    const window = Math.max(MINUTE, STEP);
    const counted = (sums) => steps.map((at) => {
      const settled = Math.max(0, valueAt(times, sums, at) - valueAt(times, sums, at - window));
      return Math.round((settled * MINUTE * 10) / window) / 10;
    });
    return [steps, counted(settled), counted(failed)];
  };

  const short = (value) => value >= 1e6 ? `${+(value / 1e6).toFixed(1)}M` : value >= 1e3 ? `${+(value / 1e3).toFixed(1)}k` : value;
  // A young store fills the width of an hour too: at least two minutes are shown.
  const range = () => {
    const now = Date.now() / 1000;
    const first = columns[0].length ? columns[0][0] : now;
    return [SPAN > 3600 ? now - SPAN : Math.max(now - SPAN, Math.min(first, now - 120)), now];
  };
  const clock = (at, step) => {
    const date = new Date(at * 1000);
    const isDay = step >= DAY || (SPAN > DAY && date.getHours() === 0);
    return isDay ? date.toLocaleDateString("en", { month: "short", day: "numeric" }) : date.toTimeString().slice(0, step < 60 ? 8 : 5);
  };
  const exact = (at) => SPAN > 3600 ? `${clock(at, DAY)}, ${new Date(at * 1000).toTimeString().slice(0, 5)}` : clock(at, 1);
  const make = (id, names, data) => {
    const box = document.querySelector(`#${id} .plot`);
    if (!box) return null;
    box.replaceChildren();
    const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const series = names.map(([label, name, fill]) => ({
      label, stroke: colour(name), width: 1.75, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }),
      fill: fill ? `${colour(name)}26` : undefined, value: (_, value) => value === null || value === undefined ? "–" : value.toLocaleString("en"),
    }));
    const chart = new uPlot({
      width: box.clientWidth, height: 158, cursor: { y: false, points: { size: 6 } },
      scales: { x: { range }, y: { range: (_, low, high) => [0, Math.max(1, high * 1.08)] } },
      axes: [{ ...axis, size: 26, space: 70, values: (_, splits, __, ___, step) => splits.map((at) => clock(at, step)) }, { ...axis, size: 46, values: (_, splits) => splits.map((value) => Number.isInteger(value) ? short(value) : "") }],
      series: [{ label: "time", value: (_, at) => at ? exact(at) : "–" }, ...series],
    }, data(), box);
    return { chart, data, box };
  };
  const draw = () => {
    charts.forEach((each) => each.chart.destroy());
    charts = [
      make("chart-flight", [["in flight", "--f-run", true], ["queued", "--f-mute", false]], flight),
      make("chart-rate", [["settled/min", "--f-ok", true], ["failed/min", "--f-bad", false]], rate),
    ].filter(Boolean);
  };
  const refresh = () => charts.forEach((each) => each.chart.setData(each.data()));
  const add = (point) => {
    const times = columns[0];
    const last = times.length - 1;
    // Points that are closer than the stored ones are one point that moves.
    if (last > 0 && point[0] - times[last - 1] < STEP) columns.forEach((column, at) => { column[last] = point[at]; });
    else columns.forEach((column, at) => column.push(point[at]));
    // The last point that is older than the picture stays: it says how the range began.
    while (times.length > 1 && point[0] - times[1] > SPAN) columns.forEach((column) => column.shift());
    refresh();
  };
  const load = async () => {
    try {
      const answer = await fetch(`/chart.json?range=${place.range}`);
      if (!answer.ok) return;
      columns = await answer.json();
    } catch {
      return; // the page is being left, or the daemon stops: the stream's next connection loads them
    }
    draw();
  };
  document.addEventListener("point", (event) => add(JSON.parse(event.detail.data)));
  document.addEventListener("theme", draw);
  document.addEventListener("htmx:sse:after:connection", load);
  addEventListener("resize", () => charts.forEach((each) => each.chart.setSize({ width: each.box.clientWidth, height: 158 })));
  setInterval(() => document.hidden || refresh(), 5000);
  draw();
})();
