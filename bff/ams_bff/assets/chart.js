/* Draws each chart from the table beside it. */
(() => {
  "use strict";
  const HEIGHT_PX = 256, LEGEND_PX = 32, LABEL_PX = 64;
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
  /* As the page around them writes figures and days. */
  const LOCALE = "en-GB";
  const short = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumFractionDigits: 1 });
  const whole = new Intl.NumberFormat(LOCALE);
  const plots = new Map(), shapes = new Map();
  const DAY = { day: "numeric", month: "short" }, CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const day = new Intl.DateTimeFormat(LOCALE, DAY), clock = new Intl.DateTimeFormat(LOCALE, CLOCK);
  const full = new Intl.DateTimeFormat(LOCALE, { ...DAY, ...CLOCK });
  /* Hours within two days, days beyond; a day's start always names the day. */
  const timeLabels = (plot, splits) => splits.map((at) => {
    const isLong = plot.scales.x.max - plot.scales.x.min > 2 * 86400, isMidnight = clock.format(at * 1000) === "00:00";
    if (isLong && !isMidnight) return "";
    return (isMidnight ? day : clock).format(at * 1000);
  });
  /* Days and months begin and end as in one zone, wherever the browser is; between two of them there is nothing to name. */
  function calendarOf(figure) {
    const timeZone = figure.dataset.daily || "Etc/UTC", isMonthly = figure.dataset.monthly !== undefined;
    const name = new Intl.DateTimeFormat(LOCALE, { ...(isMonthly ? { month: "short", year: "numeric" } : DAY), timeZone });
    const month = new Intl.DateTimeFormat(LOCALE, { month: "short", timeZone }), year = new Intl.DateTimeFormat(LOCALE, { year: "numeric", timeZone });
    /* Twelve months stand beside each other: only the first and each January have room for their year. */
    const label = (at, isFirst) => {
      if (!isMonthly) return name.format(at * 1000);
      const isJanuary = month.format(at * 1000) === "Jan";
      return month.format(at * 1000) + (isFirst || isJanuary ? `\n${year.format(at * 1000)}` : "");
    };
    return {
      word: isMonthly ? "Month" : "Day", name,
      /* Those of the table's days or months that have room for their name: uPlot's own steps needn't meet the start of any. */
      splits: (plot, _, least, most) => {
        const within = plot.data[0].filter((at) => at >= least && at <= most);
        const step = Math.ceil(within.length / Math.max(1, Math.floor(plot.width / LABEL_PX)));
        return within.filter((_, index) => index % step === 0);
      },
      labels: (_, splits) => splits.map((at, index) => label(at, index === 0)),
      dateOf: (at) => uPlot.tzDate(new Date(at * 1000), timeZone),
    };
  }
  /* A dot above what is out of the ordinary. */
  function drawMarks(figure, plot) {
    const { ctx, bbox } = plot, size = 4 * devicePixelRatio;
    ctx.save();
    ctx.fillStyle = colour("--warn");
    for (const row of figure.querySelectorAll("tr[data-mark]")) {
      const x = plot.valToPos(Number(row.dataset.x), "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.arc(x, bbox.top + size, size, 0, 2 * Math.PI);
      ctx.fill();
    }
    ctx.restore();
  }

  const labelsWidth_px = (_, labels) => 14 + 7 * Math.max(1, ...(labels ?? []).map((label) => label.length));
  /* There is no half a request. */
  const WHOLE_STEPS = Array.from({ length: 15 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
  const isWhole = (data) => data.slice(1).every((column) => column.every(Number.isInteger));

  function read(figure) {
    const rows = [...figure.querySelectorAll("tr[data-x]")];
    const count = figure.querySelectorAll("thead th").length - 1;
    const xs = rows.map((row) => Number(row.dataset.x));
    const columns = Array.from({ length: count }, (_, index) => rows.map((row) => Number(row.querySelectorAll("td")[index].dataset.y)));
    const order = xs.map((_, index) => index).sort((a, b) => xs[a] - xs[b]);
    return [order.map((index) => xs[index]), ...columns.map((column) => order.map((index) => column[index]))];
  }

  /* A series that means something has its own colour; others take theirs in turn, the rest together the last. */
  const PALETTE = ["--accent", "--info", "--good", "--warn", "--bad", "--ink-3"];
  const TONES = { good: "--good", info: "--info", warn: "--warn", bad: "--bad", plain: "--ink-3" };
  const heads = (figure) => [...figure.querySelectorAll("thead th")].slice(1);
  const shape = (figure) => heads(figure).map((head) => `${head.textContent}:${head.dataset.tone}`).join();

  /* The legend shows the point under the pointer, else of the last one. */
  const shown = (format) => (plot, value, column) => {
    const shown = value ?? plot.data[column].at(-1);
    return shown == null ? "–" : format(shown);
  };

  function series(figure) {
    const unit = figure.dataset.unit ? ` ${figure.dataset.unit}` : "";
    const names = heads(figure).map((head) => head.textContent);
    const colours = heads(figure).map((head, index) => colour(TONES[head.dataset.tone] ?? PALETTE[index % PALETTE.length]));
    const bars = figure.dataset.kind === "bars" ? uPlot.paths.bars({ size: [0.7, 48], radius: 0.15 }) : undefined;
    return names.map((label, index) => {
      const stroke = colours[index];
      const fill = bars || names.length === 1 ? stroke.replace(/\)$/, bars ? " / 0.85)" : " / 0.1)") : undefined;
      return { label, stroke, fill, width: bars ? 0 : 1.75, paths: bars, points: { show: false }, value: shown((value) => whole.format(value) + unit) };
    });
  }

  function draw(figure) {
    const canvas = figure.querySelector("[data-canvas]");
    const data = read(figure);
    if (figure.dataset.drawn === undefined) figure.querySelector("details").open = false;
    figure.dataset.drawn = "";
    if (!data[0].length || figure.dataset.none !== undefined) return;
    const grid = { stroke: colour("--line"), width: 1 };
    const font = `12px ${style("--font")}`;
    const axis = { stroke: colour("--ink-3"), font, ticks: { show: false } };
    const all = series(figure), calendar = figure.dataset.daily === undefined ? undefined : calendarOf(figure);
    const time = calendar?.name ?? full;
    /* The first and the last bar are as wide as the others. */
    const margin_s = figure.dataset.kind === "bars" && data[0].length > 1 ? (data[0][1] - data[0][0]) / 2 : 0;
    const plot = new uPlot({
      width: canvas.clientWidth, height: HEIGHT_PX - LEGEND_PX, padding: [8, 18, 0, 0], series: [{ label: calendar?.word ?? "Time", value: shown((at) => time.format(at * 1000)) }, ...all],
      ...(calendar && { tzDate: calendar.dateOf }),
      hooks: { draw: [(drawn) => drawMarks(figure, drawn)] },
      axes: [{ ...axis, gap: 8, grid: { show: false }, splits: calendar?.splits, values: calendar?.labels ?? timeLabels }, { ...axis, grid, size: labelsWidth_px, incrs: isWhole(data) ? WHOLE_STEPS : undefined, values: (_, values) => values.map((value) => short.format(value)) }],
      scales: { x: { range: (_, least, most) => [least - margin_s, most + margin_s] }, y: { range: (_, least, most) => [Math.min(0, least), most > 0 ? most * 1.08 : 4] } },
      cursor: { points: { size: 7 }, drag: { x: true, y: false } },
    }, data, canvas);
    plots.set(figure, plot);
    shapes.set(figure, shape(figure));
    const observer = new ResizeObserver(() => {
      if (plots.get(figure) !== plot || !figure.isConnected) return observer.disconnect();
      plot.setSize({ width: canvas.clientWidth, height: HEIGHT_PX - LEGEND_PX });
    });
    observer.observe(canvas);
  }

  const drawAll = () => {
    for (const figure of document.querySelectorAll("[data-chart]:not([data-drawn])")) draw(figure);
  };
  function redraw(figure) {
    plots.get(figure)?.destroy();
    plots.delete(figure);
    draw(figure);
  }
  /* The table has changed under the chart: same lines take the new figures, and a zoom stays. */
  function update(figure) {
    const plot = plots.get(figure);
    if (!plot || shapes.get(figure) !== shape(figure)) return redraw(figure);
    const { min, max } = plot.scales.x, before = plot.data[0];
    const isZoomed = min > before[0] || max < before.at(-1);
    plot.setData(read(figure), !isZoomed);
    if (isZoomed) plot.redraw();
  }
  document.addEventListener("live:shown", (event) => {
    for (const figure of document.querySelectorAll("[data-chart][data-drawn]")) if (event.detail.includes(figure.id)) update(figure);
    drawAll();  // those that couldn't be shown before
  });
  document.addEventListener("htmx:after:swap", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => [...plots.keys()].forEach(redraw));
  drawAll();
})();
