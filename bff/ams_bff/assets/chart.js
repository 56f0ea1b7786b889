/* Draws each chart from the table beside it. */
(() => {
  "use strict";
  const HEIGHT_PX = 256, LEGEND_PX = 32;
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  /* uPlot paints on a canvas, which knows neither light-dark() nor our properties: let the browser work them out. */
  const colour = (name) => {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const worked = getComputedStyle(probe).color;
    probe.remove();
    return worked;
  };
  const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
  const whole = new Intl.NumberFormat();
  const plots = new Map();
  const full = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
  /* Hours within two days, days beyond; a day's start always names the day. */
  const timeLabels = (plot, splits) => splits.map((at) => {
    const isDay = plot.scales.x.max - plot.scales.x.min > 2 * 86400 || clock.format(at * 1000) === "00:00";
    return (isDay ? day : clock).format(at * 1000);
  });

  function read(figure) {
    const rows = [...figure.querySelectorAll("tr[data-x]")];
    const count = figure.querySelectorAll("thead th").length - 1;
    const xs = rows.map((row) => Number(row.dataset.x));
    const columns = Array.from({ length: count }, (_, index) => rows.map((row) => Number(row.querySelectorAll("td")[index].dataset.y)));
    const order = xs.map((_, index) => index).sort((a, b) => xs[a] - xs[b]);
    return [order.map((index) => xs[index]), ...columns.map((column) => order.map((index) => column[index]))];
  }

  function series(figure) {
    const palette = ["--accent", "--info", "--good", "--warn", "--bad"].map(colour);
    const unit = figure.dataset.unit ? ` ${figure.dataset.unit}` : "";
    const names = [...figure.querySelectorAll("thead th")].slice(1).map((head) => head.textContent);
    const bars = figure.dataset.kind === "bars" ? uPlot.paths.bars({ size: [0.7, 48], radius: 0.15 }) : undefined;
    return names.map((label, index) => {
      const stroke = palette[index % palette.length];
      const fill = bars || names.length === 1 ? stroke.replace(/\)$/, bars ? " / 0.85)" : " / 0.1)") : undefined;
      return { label, stroke, fill, width: bars ? 0 : 1.75, paths: bars, points: { show: false }, value: (_, value) => (value == null ? "–" : whole.format(value) + unit) };
    });
  }

  function draw(figure) {
    const canvas = figure.querySelector("[data-canvas]");
    const data = read(figure);
    figure.querySelector("details").open = figure.dataset.tableOpen === "true";
    if (!data[0].length) return;
    figure.dataset.drawn = "";
    const grid = { stroke: colour("--line"), width: 1 };
    const font = `12px ${style("--font")}`;
    const axis = { stroke: colour("--ink-3"), font, ticks: { show: false } };
    const all = series(figure);
    const plot = new uPlot({
      width: canvas.clientWidth, height: HEIGHT_PX - LEGEND_PX, series: [{ label: "Time", value: (_, at) => (at == null ? "–" : full.format(at * 1000)) }, ...all],
      axes: [{ ...axis, grid: { show: false }, values: timeLabels }, { ...axis, grid, size: 48, values: (_, values) => values.map((value) => short.format(value)) }],
      scales: { y: { range: (_, least, most) => [Math.min(0, least), most > 0 ? most * 1.08 : 1] } },
      cursor: { points: { size: 7 }, drag: { x: true, y: false } },
    }, data, canvas);
    plots.set(figure, plot);
    const observer = new ResizeObserver(() => {
      if (!figure.isConnected) { observer.disconnect(); plot.destroy(); plots.delete(figure); return; }
      plot.setSize({ width: canvas.clientWidth, height: HEIGHT_PX - LEGEND_PX });
    });
    observer.observe(canvas);
  }

  const drawAll = () => {
    for (const figure of document.querySelectorAll("[data-chart]:not([data-drawn])")) draw(figure);
  };
  const redraw = () => {
    for (const [figure, plot] of plots) { plot.destroy(); delete figure.dataset.drawn; figure.querySelector("[data-canvas]").replaceChildren(); }
    plots.clear();
    drawAll();
  };
  /* A live figure is replaced whole; whether its table was open stays. */
  document.addEventListener("htmx:before:swap", () => {
    for (const figure of document.querySelectorAll("[data-chart]")) openTables.set(figure.id, figure.querySelector("details").open);
  });
  const openTables = new Map();
  document.addEventListener("htmx:after:swap", () => {
    for (const figure of document.querySelectorAll("[data-chart]:not([data-drawn])")) figure.dataset.tableOpen = String(openTables.get(figure.id) ?? false);
    drawAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  drawAll();
})();
