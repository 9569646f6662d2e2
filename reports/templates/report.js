"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const has = (x) => x !== null && x !== undefined;

  /* ---- small builders: data only ever becomes text, never markup ---- */
  function el(name, properties, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(properties || {})) {
      if (key === "class") node.className = value;
      else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (has(value) && value !== false) node.setAttribute(key, value);
    }
    for (const child of children.flat(Infinity)) if (has(child)) node.append(child);
    return node;
  }
  function svg(name, properties, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(properties || {})) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /* ---- numbers for people ---- */
  function digits(x) {
    const size = Math.abs(x);
    return size >= 99.95 || size === 0 ? x.toFixed(0) : size >= 9.995 ? x.toFixed(1) : size >= 0.9995 ? x.toFixed(2) : x.toPrecision(3);
  }
  function scaled(x, scales, units) {
    let i = 0;
    while (i + 1 < scales.length && Math.abs(x) >= scales[i + 1] * 0.9995) i++;
    return `${digits(x / scales[i])} ${units[i]}`;
  }
  const ns = (x) => scaled(x, [1, 1e3, 1e6, 1e9], ["ns", "µs", "ms", "s"]);
  const uj = (x) => scaled(x, [1, 1e3, 1e6, 1e9], ["µJ", "mJ", "J", "kJ"]);
  const bytes = (x) => scaled(x, [1, 1024, 1048576, 1073741824], ["B", "KiB", "MiB", "GiB"]);
  const flops = (x) => scaled(x, [1, 1e3, 1e6, 1e9, 1e12, 1e15], ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"]);
  const percent = (x) => (100 * x).toFixed(2);
  const or = (x, format) => (has(x) ? format(x) : "–");

  /* ---- what a row means ---- */
  const rows = data.rows;
  const runs = new Map(data.runs.map((run) => [run.id, run]));
  const hosts = new Set(data.runs.map((run) => run.host));
  const front = { latency: new Set(data.pareto_latency.map((p) => p.id)), energy: new Set(data.pareto_energy.map((p) => p.id)) };
  const estimated = (row) => row.energy.kind === "estimated";
  const perQuery = (row, total) => (row.energy.valid && has(total) && row.energy.examples ? total / row.energy.examples : null);
  for (const row of rows) {
    row.uj = perQuery(row, row.energy.gross_uj);
    row.co2 = perQuery(row, row.co2_ug); /* µg a query is g a million queries */
    row.place = row.device && row.device !== "0" && row.device !== row.backend ? `${row.backend}:${row.device}` : row.backend;
    row.place += has(row.threads) ? ` ×${row.threads}` : "";
    if (hosts.size > 1 && runs.get(row.run_id).host) row.place += ` @ ${runs.get(row.run_id).host}`;
    row.label = [row.model, row.precision, row.policy === "dense" ? null : row.policy, row.place].filter(Boolean).join(" · ");
  }
  /* Rows are ranked against each other where these agree, as in the views of the database. */
  const compared = (row) => [row.split, row.task_version, row.data_hash, row.examples].join();
  const newest = rows.filter((row) => row.latest);
  const unique = (values) => [...new Set(values)];
  const backends = unique(newest.map((row) => row.backend)).sort();
  const policies = unique(newest.map((row) => row.policy)).sort((a, b) => (a === "dense" ? -1 : b === "dense" ? 1 : a < b ? -1 : 1));
  const shapes = ["circle", "triangle", "rect", "rectRot", "star", "crossRot", "cross", "dash"];
  const colour = (row) => css(`--c${backends.indexOf(row.backend) % 8}`);

  /* ---- what is shown ---- */
  const view = { task: null, scenario: null, history: false, sort: "metric", down: true, open: new Set() };
  const inView = (row) => row.task === view.task && row.scenario === view.scenario;
  const shown = () => rows.filter((row) => inView(row) && (row.latest || view.history));
  const good = () => newest.filter((row) => inView(row) && row.verdict === "ok");
  /* A device that computes nothing measures the harness: it is shown, but ranks with nobody. */
  const computes = (row) => !row.flags.includes("no-compute");
  /* Shapes are few: they are given to the policies in view alone, "dense" first. */
  function shapesInView() {
    const seen = new Set(good().filter(computes).map((row) => row.policy));
    return new Map(policies.filter((name) => seen.has(name)).map((name, i) => [name, shapes[i % shapes.length]]));
  }

  /* ---- charts ---- */
  /* Intervals of both axes, drawn under the points. */
  const intervals = {
    id: "intervals",
    beforeDatasetsDraw(chart) {
      const { ctx, scales: { x, y }, chartArea: area } = chart;
      ctx.save();
      ctx.beginPath();
      ctx.rect(area.left, area.top, area.right - area.left, area.bottom - area.top);
      ctx.clip();
      ctx.lineWidth = 1.5;
      for (const set of chart.data.datasets) {
        if (!set.points) continue;
        for (const point of set.data) {
          ctx.strokeStyle = point.colour;
          ctx.globalAlpha = 0.42;
          ctx.beginPath();
          if (has(point.ylo) && has(point.yhi)) {
            const at = x.getPixelForValue(point.x);
            ctx.moveTo(at, y.getPixelForValue(point.ylo));
            ctx.lineTo(at, y.getPixelForValue(point.yhi));
          }
          if (has(point.xlo) && has(point.xhi)) {
            const at = y.getPixelForValue(point.y);
            ctx.moveTo(x.getPixelForValue(point.xlo), at);
            ctx.lineTo(x.getPixelForValue(point.xhi), at);
          }
          ctx.stroke();
        }
      }
      ctx.restore();
    },
  };
  /* Names of the points on the front, where there is room: a label that would hit another one is left to the tooltip. */
  const names = {
    id: "names",
    afterDatasetsDraw(chart) {
      const { ctx, chartArea: area } = chart;
      const taken = [];
      ctx.save();
      ctx.font = "12px system-ui, sans-serif";
      ctx.fillStyle = css("--ink");
      ctx.textBaseline = "middle";
      chart.data.datasets.forEach((set, index) => {
        if (!set.points) return;
        chart.getDatasetMeta(index).data.forEach((element, i) => {
          const point = set.data[i];
          taken.push({ left: element.x - 6, right: element.x + 6, top: element.y - 6, bottom: element.y + 6 });
          if (point.front) point.at = element;
        });
      });
      const wanted = chart.data.datasets.filter((set) => set.points).flatMap((set) => set.data).filter((p) => p.front && p.at);
      for (const point of wanted.sort((a, b) => b.y - a.y)) {
        const width = ctx.measureText(point.row.label).width;
        const { x, y } = point.at;
        const places = [[x + 9, y - 11], [x + 9, y + 12], [x - 9 - width, y - 11], [x - 9 - width, y + 12], [x + 9, y - 26], [x - width / 2, y + 26]];
        for (const [left, middle] of places) {
          const box = { left, right: left + width, top: middle - 8, bottom: middle + 8 };
          const inside = box.left >= area.left && box.right <= area.right && box.top >= area.top && box.bottom <= area.bottom;
          if (!inside || taken.some((t) => t.left < box.right && box.left < t.right && t.top < box.bottom && box.top < t.bottom)) continue;
          ctx.fillText(point.row.label, left, middle);
          taken.push(box);
          break;
        }
      }
      ctx.restore();
    },
  };

  function points(list, costOf, frontSet) {
    return list.map((row) => {
      const cost = costOf(row);
      return { x: cost.value, xlo: cost.lo, xhi: cost.hi, y: 100 * row.metric.value, ylo: has(row.metric.lo) ? 100 * row.metric.lo : null,
        yhi: has(row.metric.hi) ? 100 * row.metric.hi : null, row, colour: colour(row), front: frontSet.has(row.id) };
    });
  }
  function pointSet(list, hollow) {
    const shape = shapesInView();
    return { type: "scatter", points: true, data: list, pointStyle: list.map((p) => shape.get(p.row.policy)), pointRadius: 6.5, pointHoverRadius: 9,
      pointBackgroundColor: list.map((p) => (hollow ? css("--card") : p.colour)), pointBorderColor: list.map((p) => p.colour),
      pointBorderWidth: hollow ? 2.2 : 1, order: 1 };
  }
  function frontSets(list, dashed) {
    const on = list.filter((p) => p.front).sort((a, b) => a.x - b.x);
    return unique(on.map((p) => compared(p.row))).map((group) => ({ type: "line", data: on.filter((p) => compared(p.row) === group).map((p) => ({ x: p.x, y: p.y })),
      stepped: "before", borderColor: css("--front"), borderWidth: 1.5, borderDash: dashed ? [5, 4] : [], pointRadius: 0, pointHitRadius: 0, order: 2 }));
  }
  function bounds(list) {
    const xs = list.flatMap((p) => [p.x, p.xlo, p.xhi]).filter((v) => has(v) && v > 0);
    const ys = list.flatMap((p) => [p.y, p.ylo, p.yhi]).filter(has);
    const margin = Math.max(0.5, 0.06 * (Math.max(...ys) - Math.min(...ys)));
    return { xmin: Math.min(...xs) / 1.5, xmax: Math.max(...xs) * 1.8, ymin: Math.min(...ys) - margin, ymax: Math.max(...ys) + margin };
  }
  function tooltip(format, costName) {
    return {
      displayColors: false, filter: (item) => Boolean(item.raw.row),
      callbacks: {
        title: (items) => (items.length ? items[0].raw.row.label : ""),
        label: (item) => {
          const { row } = item.raw;
          const interval = has(row.metric.lo) ? ` [${percent(row.metric.lo)}, ${percent(row.metric.hi)}]` : "";
          return [`${row.metric.name} ${percent(row.metric.value)}${interval}`,
            `${costName} ${format(item.raw.x)}${has(item.raw.xlo) ? ` [${format(item.raw.xlo)}, ${format(item.raw.xhi)}]` : ""}`,
            has(row.uj) && estimated(row) ? "energy is an estimate" : null].filter(Boolean);
        },
      },
    };
  }
  const charts = {};
  function scatter(id, list, format, xTitle, yTitle, costName, empty) {
    const canvas = $(id);
    const note = canvas.parentElement.querySelector(".none");
    if (charts[id]) charts[id].destroy();
    delete charts[id];
    note.hidden = list.length > 0;
    canvas.hidden = list.length === 0;
    note.textContent = empty;
    if (list.length === 0) return;
    const byEnergy = id === "energy-chart";
    const measured = byEnergy ? list.filter((p) => !estimated(p.row)) : list;
    const guessed = byEnergy ? list.filter((p) => estimated(p.row)) : [];
    const b = bounds(list);
    const decades = Math.log10(b.xmax / b.xmin);
    const steps = decades > 3 ? [1] : decades > 2 ? [1, 3] : [1, 2, 5];
    const grid = { color: css("--line"), borderColor: css("--line"), drawTicks: false };
    const text = { color: css("--quiet"), font: { size: 12 } };
    charts[id] = new Chart(canvas, {
      data: { datasets: [pointSet(measured, false), pointSet(guessed, true), ...frontSets(measured, false), ...frontSets(guessed, true)] },
      plugins: [intervals, names],
      options: {
        animation: false, responsive: true, maintainAspectRatio: false, clip: 8,
        onClick: (event, hits) => { const hit = hits.find((h) => charts[id].data.datasets[h.datasetIndex].points); if (hit) reveal(list, charts[id], hit); },
        plugins: { legend: { display: false }, tooltip: tooltip(format, costName) },
        scales: {
          x: { type: "logarithmic", min: b.xmin, max: b.xmax, grid, title: { display: true, text: xTitle, ...text },
            ticks: { ...text, padding: 6, maxRotation: 0, autoSkip: false,
              callback: (v) => (steps.includes(v / 10 ** Math.floor(Math.log10(v) + 1e-9)) ? format(v).replace(/\.0+ /, " ") : null) } },
          y: { min: b.ymin, max: b.ymax, grid, title: { display: true, text: yTitle, ...text }, ticks: { ...text, padding: 6, callback: (v) => (Number.isInteger(v * 2) ? v : null) } },
        },
      },
    });
  }
  function reveal(list, chart, hit) {
    const { row } = chart.data.datasets[hit.datasetIndex].data[hit.index];
    view.open.add(row.id);
    table();
    document.querySelector(`tr[data-id="${row.id}"]`).scrollIntoView({ block: "center" });
  }
  function drawCharts() {
    const list = good().filter((row) => has(row.metric.value) && computes(row));
    const metric = list.length ? `${list[0].metric.name} (×100)` : "";
    const latency = points(list.filter((row) => has(row.latency_ns.p50)), (row) => ({ value: row.latency_ns.p50, lo: row.latency_ns.p50_lo, hi: row.latency_ns.p50_hi }), front.latency);
    const energy = points(list.filter((row) => has(row.uj) && row.uj > 0), (row) => ({ value: row.uj }), front.energy);
    scatter("latency-chart", latency, ns, "median latency (log)", metric, "p50", "No case of this task and scenario has both a score and a latency.");
    scatter("energy-chart", energy, uj, "energy per query (log)", metric, "energy", "No case of this task and scenario has an energy: there was no sensor, and no estimate was asked for.");
  }
  function mark(kind, hue, hollow) {
    const fill = hollow ? "none" : hue;
    const paint = { fill, stroke: hue, "stroke-width": 1.8 };
    const path = { circle: "M7 2a5 5 0 1 0 .01 0z", triangle: "M7 1.5 12.5 12h-11z", rect: "M2.5 2.5h9v9h-9z", rectRot: "M7 1 13 7 7 13 1 7z",
      star: "M7 1v12M1.8 4l10.4 6M12.2 4 1.8 10", crossRot: "M2.5 2.5l9 9M11.5 2.5l-9 9",
      cross: "M7 1v12M1 7h12", dash: "M7 7h6" }[kind];
    return svg("svg", { width: 14, height: 14, "aria-hidden": "true" }, svg("path", { d: path, ...paint }));
  }
  function legend() {
    const list = good().filter(computes);
    const item = (symbol, text) => el("span", {}, symbol, text);
    $("legend").replaceChildren(
      el("span", { class: "group" }, "Colour: backend"),
      ...backends.filter((name) => list.some((row) => row.backend === name)).map((name) => item(mark("circle", css(`--c${backends.indexOf(name) % 8}`), false), name)),
      el("span", { class: "group" }, "Shape: policy"),
      ...[...shapesInView()].map(([name, shape]) => item(mark(shape, css("--quiet"), false), name)),
      list.some((row) => has(row.uj) && estimated(row)) ? item(mark("circle", css("--quiet"), true), "estimated energy") : "");
  }

  /* ---- tiles ---- */
  function tiles() {
    /* The best of what can be compared: the data with the most examples, the newest of such. */
    const all = good().filter(computes);
    const chosen = all.slice().sort((a, b) => b.examples - a.examples || b.id - a.id)[0];
    const list = all.filter((row) => compared(row) === compared(chosen));
    const among = unique(all.map(compared)).length > 1 ? `, of ${chosen.examples} examples` : "";
    const best = (rows, value, less) => rows.filter((row) => has(value(row)))
      .sort((a, b) => (less ? 1 : -1) * (value(a) - value(b)) || a.latency_ns.p50 - b.latency_ns.p50)[0];
    const tile = (name, value, note, title) => el("div", { class: "tile", title }, el("div", { class: "name" }, name), el("div", { class: "value" }, value), el("div", { class: "note" }, note));
    const accurate = best(list, (row) => row.metric.value, false);
    /* Speed at the price of right answers is another question: only scores whose interval reaches the best one's count. */
    const as = "Among the cases whose score's interval reaches that of the best.";
    const peers = list.filter((row) => accurate && has(row.metric.value) && (row.metric.hi ?? row.metric.value) >= (accurate.metric.lo ?? accurate.metric.value));
    const quick = best(peers, (row) => row.latency_ns.p50, true);
    const frugal = best(peers, (row) => (estimated(row) ? null : row.uj), true);
    const scope = newest.filter(inView);
    const ok = scope.filter((row) => row.verdict === "ok").length;
    const rest = unique(scope.map((row) => row.verdict)).filter((v) => v !== "ok").map((v) => `${scope.filter((row) => row.verdict === v).length} ${v}`);
    $("tiles").replaceChildren(
      tile(`Most accurate${among}`, accurate ? [percent(accurate.metric.value), el("small", {}, ` ${accurate.metric.name}`)] : "–", accurate ? accurate.label : "no score"),
      tile("Fastest, as accurate", quick ? [ns(quick.latency_ns.p50), el("small", {}, " median")] : "–", quick ? quick.label : "no latency", as),
      tile("Least measured energy, as accurate", frugal ? [uj(frugal.uj), el("small", {}, " per query")] : "–", frugal ? `${frugal.label}${has(frugal.co2) ? ` · ${digits(frugal.co2)} gCO₂e per million queries` : ""}` : "nothing was measured: no sensor", as),
      tile("Cases", [`${ok}`, el("small", {}, ` of ${scope.length} ok`)], rest.length ? rest.join(", ") : "all ran"));
  }

  /* ---- the table ---- */
  const energyCell = (row) => {
    if (has(row.uj)) return [el("span", { title: row.energy.note }, `${estimated(row) ? "~" : ""}${uj(row.uj)}${row.energy.note ? " *" : ""}`), estimated(row) ? el("span", { class: "est" }, "est") : null];
    if (row.energy.known && !row.energy.valid) return [el("span", { class: "sub", title: row.energy.reason || "" }, "invalid")];
    return [el("span", { class: "sub" }, row.n > 0 ? "no sensor" : "–")];
  };
  const share = (x) => `${digits(100 * x)} %`;
  const efficiency = (r) => (r.flops.saved > 0 ? digits(r.time_saved / r.flops.saved) : "–");
  const every = [
    { key: "model", title: "Model", value: (r) => r.model, cell: (r) => [r.model] },
    { key: "device", title: "Device", value: (r) => r.place, cell: (r) => [el("span", { class: "swatch", style: `background:${colour(r)}` }), " ", r.place, computes(r) ? null : el("span", { class: "sub" }, " no compute")] },
    { key: "policy", title: "Policy", value: (r) => r.policy, cell: (r) => [r.policy, " ", el("span", { class: "sub" }, r.precision || "")] },
    { key: "verdict", title: "Verdict", value: (r) => r.verdict, cell: (r) => [el("span", { class: `badge ${r.verdict}`, title: r.reason || "" }, r.verdict)] },
    { key: "metric", title: "Score [95 % interval]", number: true, more: true, value: (r) => r.metric.value,
      cell: (r) => (has(r.metric.value) ? [percent(r.metric.value), has(r.metric.lo) ? el("span", { class: "sub" }, ` [${percent(r.metric.lo)}, ${percent(r.metric.hi)}]`) : null] : ["–"]) },
    { key: "p50", title: "p50", number: true, value: (r) => r.latency_ns.p50, cell: (r) => [or(r.latency_ns.p50, ns), front.latency.has(r.id) ? el("span", { class: "front-mark", title: "on the Pareto front of accuracy and latency" }, " ◆") : null] },
    { key: "p90", title: "p90", number: true, value: (r) => r.latency_ns.p90, cell: (r) => [or(r.latency_ns.p90, ns)] },
    { key: "p99", title: "p99", number: true, value: (r) => r.latency_ns.p99, cell: (r) => [or(r.latency_ns.p99, ns)] },
    { key: "rate", title: "seq/s", number: true, more: true, value: (r) => r.throughput_per_s, cell: (r) => [or(r.throughput_per_s, digits)] },
    { key: "saved", title: "Time, FLOPs saved", number: true, more: true, value: (r) => r.time_saved, when: (list) => list.some((r) => has(r.time_saved)),
      cell: (r) => (has(r.time_saved) && has(r.flops.saved) ? [el("span", { title: `${efficiency(r)} of each operation saved became time` }, share(r.time_saved), el("span", { class: "sub" }, ` of ${share(r.flops.saved)}`))] : ["–"]) },
    { key: "memory", title: "Peak memory", number: true, value: (r) => r.peak_rss_bytes, cell: (r) => [or(r.peak_rss_bytes, bytes)] },
    { key: "energy", title: "Energy/query", number: true, value: (r) => r.uj, group: (r) => (estimated(r) ? 1 : 0), cell: energyCell },
    { key: "co2", title: "gCO₂e/1M", number: true, value: (r) => r.co2, group: (r) => (estimated(r) ? 1 : 0),
      cell: (r) => [or(r.co2, (x) => `${estimated(r) ? "~" : ""}${digits(x)}`), has(r.co2) && estimated(r) ? el("span", { class: "est" }, "est") : null] },
  ];
  let columns = every;
  /* Unknown comes last either way; estimates stand after measurements, as a ranking of their own. */
  function compare(column, down) {
    return (a, b) => {
      const x = column.value(a), y = column.value(b);
      if (has(x) !== has(y)) return has(x) ? -1 : 1;
      if (!has(x)) return a.id - b.id;
      if (column.group && column.group(a) !== column.group(b)) return column.group(a) - column.group(b);
      const order = x < y ? -1 : x > y ? 1 : 0;
      return (down ? -order : order) || (a.latency_ns.p50 ?? Infinity) - (b.latency_ns.p50 ?? Infinity) || a.id - b.id;
    };
  }
  function sortBy(column) {
    view.down = view.sort === column.key ? !view.down : Boolean(column.more);
    view.sort = column.key;
    table();
  }
  function toggle(row) {
    if (view.open.has(row.id)) view.open.delete(row.id);
    else view.open.add(row.id);
    table();
  }
  function table() {
    columns = every.filter((c) => !c.when || c.when(shown()));
    const heads = columns.map((c) => el("th", { class: c.number ? "number" : "", scope: "col", "aria-sort": view.sort === c.key ? (view.down ? "descending" : "ascending") : "none" },
      el("button", { type: "button", onclick: () => sortBy(c) }, c.title)));
    $("results").tHead.replaceChildren(el("tr", {}, heads));
    const column = every.find((c) => c.key === view.sort);
    const body = [];
    for (const row of shown().sort(compare(column, view.down))) {
      body.push(el("tr", { class: row.latest ? "case" : "case old", "data-id": row.id, tabindex: 0, "aria-expanded": view.open.has(row.id) ? "true" : "false",
        onclick: () => toggle(row), onkeydown: (e) => { if (e.key === "Enter") toggle(row); } },
        columns.map((c) => el("td", { class: c.number ? "number" : "" }, c.cell(row)))));
      if (view.open.has(row.id)) body.push(el("tr", { class: "detail" }, el("td", { colspan: columns.length }, detail(row))));
    }
    if (!body.length) body.push(el("tr", {}, el("td", { colspan: columns.length }, "No rows.")));
    $("results").tBodies[0].replaceChildren(...body);
  }

  /* ---- provenance ---- */
  function facts(title, pairs) {
    const known = pairs.filter(([, value]) => has(value) && value !== "");
    if (!known.length) return null;
    return el("div", {}, el("h3", {}, title), el("dl", {}, known.map(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))])));
  }
  function settings(row) {
    const lines = Object.keys(row.requested).filter((key) => has(row.requested[key]) || has(row.effective[key])).map((key) => {
      const text = key.endsWith("_ns") ? ns : String;
      const asked = or(row.requested[key], text), took = or(row.effective[key], text);
      return el("tr", { class: has(row.requested[key]) && has(row.effective[key]) && asked !== took ? "differs" : "" }, el("td", {}, key.replace("_ns", "").replaceAll("_", " ")), el("td", {}, asked), el("td", {}, took));
    });
    if (!lines.length) return null;
    return el("div", {}, el("h3", {}, "Settings"), el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, ""), el("th", {}, "asked"), el("th", {}, "took effect"))), el("tbody", {}, lines)));
  }
  function channels(row) {
    if (!row.energy.channels.length) return null;
    return el("div", {}, el("h3", {}, "Energy channels"), el("table", {},
      el("thead", {}, el("tr", {}, ["channel", "gross", "net", "in total"].map((t) => el("th", {}, t)))),
      el("tbody", {}, row.energy.channels.map((c) => el("tr", {}, el("td", {}, `${c.source} ${c.name}`), el("td", {}, or(c.gross_uj, uj)), el("td", {}, or(c.net_uj, uj)), el("td", {}, c.counted ? "yes" : "no"))))));
  }
  function kept(row) {
    if (!row.kept.length) return null;
    return el("div", {}, el("h3", {}, "Kept by layer"), el("table", {},
      el("thead", {}, el("tr", {}, ["layer", "tokens in", "kept", "share", "of a sequence", "heads"].map((t) => el("th", {}, t)))),
      el("tbody", {}, row.kept.map((k) => el("tr", {}, el("td", {}, String(k.layer)), el("td", {}, or(k.tokens_in, digits)), el("td", {}, or(k.tokens_kept, digits)),
        el("td", {}, has(k.tokens_kept) && k.tokens_in ? `${percent(k.tokens_kept / k.tokens_in)} %` : "–"), el("td", { title: "standard deviation over the sequences of the share of its tokens that each has left" }, or(k.tokens_share_sd, (x) => `± ${percent(x)} %`)),
        el("td", {}, or(k.heads_kept, digits), or(k.heads_kept_sd, (x) => ` ± ${digits(x)}`)))))));
  }
  function detail(row) {
    const run = runs.get(row.run_id) || {};
    const quantile = (q) => [q, has(row.latency_ns[q]) ? `${ns(row.latency_ns[q])}${has(row.latency_ns[`${q}_lo`]) ? ` [${ns(row.latency_ns[`${q}_lo`])}, ${ns(row.latency_ns[`${q}_hi`])}]` : ""}` : null];
    return el("div", { class: "facts" },
      facts("Verdict", [["verdict", row.verdict], ["reason", row.reason], ["signal", row.signal_number], ["exit code", row.exit_code], ["last words", row.last_words],
        ["flags", row.flags.join(", ")], ["time cap", row.capped ? "reached before the target interval" : null]]),
      facts("Latency", [["samples", row.n], quantile("p50"), quantile("p90"), quantile("p95"), quantile("p99"), ["mean", or(row.latency_ns.mean, ns)], ["MAD", or(row.latency_ns.mad, ns)],
        ["min, max", has(row.latency_ns.min) ? `${ns(row.latency_ns.min)}, ${ns(row.latency_ns.max)}` : null], ["first pass", or(row.latency_ns.first, ns)], ["interval reached", has(row.ci_reached) ? `±${percent(row.ci_reached)} %` : null],
        ["start-up", or(row.startup_ns, ns)], ["compile", or(row.compile_ns, ns)]]),
      facts("Scores", [...row.metrics.map((m) => [m.name, m.defined ? `${percent(m.value)}${has(m.lo) ? ` [${percent(m.lo)}, ${percent(m.hi)}] ${m.method || ""}` : ""}` : `not defined${m.method ? `: ${m.method}` : ""}`]), ["examples", row.examples]]),
      facts("Energy", [["kind", row.energy.kind], ["source", row.energy.source], ["why not", row.energy.reason], ["note", row.energy.note], ["gross", or(row.energy.gross_uj, uj)], ["idle", or(row.energy.idle_uj, uj)], ["net", or(row.energy.net_uj, uj)],
        ["queries in window", row.energy.examples], ["window", or(row.energy.window_ns, ns)], ["idle drift", has(row.energy.idle_drift) ? `${percent(row.energy.idle_drift)} %` : null],
        ["CO₂e", has(row.co2_ug) ? `${digits(row.co2_ug / 1e6)} g` : null], ["intensity", has(row.carbon.intensity_g_per_kwh) ? `${row.carbon.intensity_g_per_kwh} g/kWh, ${[row.carbon.place, row.carbon.source, row.carbon.year].filter(has).join(", ")}` : null], ["PUE", row.carbon.pue]]),
      facts("Work", [["FLOPs dense", or(row.flops.dense, flops)], ["executed", or(row.flops.executed, flops)], ["bytes dense", or(row.bytes.dense, bytes)], ["executed ", or(row.bytes.executed, bytes)], ["tokens", row.tokens], ["skips", row.skip_mode], ["saved of dense", has(row.time_saved) ? `${share(row.flops.saved)} of the FLOPs, ${share(row.time_saved)} of the time: efficiency ${efficiency(row)}` : null], ["bound", has(row.bound_share) ? `${digits(100 * row.bound_share)} % of ${perSecond(row.bound_flops_per_s, "FLOP")} (${row.bound_by})` : null],
        ["device memory", or(row.device_memory_bytes, bytes)]]),
      settings(row), channels(row), kept(row),
      facts("Model and data", [["model", row.model_path || row.model], ["sha256", row.model_hash], ["stored as", row.model_dtype], ["family", row.family], ["parameters", row.parameters], ["task", `${row.task}${has(row.task_version) ? ` v${row.task_version}` : ""}`], ["split", row.split],
        ["data sha256", row.data_hash], ["rows read, skipped, truncated", has(row.rows_read) ? [row.rows_read, or(row.rows_skipped, String), or(row.rows_truncated, String)].join(", ") : null], ["seed", row.seed], ["order seed", row.order_seed]]),
      facts("Device and run", [["plugin", `${row.backend}${row.backend_version ? ` ${row.backend_version}` : ""}`], ["device", row.device_name], ["driver", row.driver], ["policy sha256", row.policy_hash], ["started", row.started_utc], ["took", or(row.duration_ns, ns)],
        ["zeb", [run.zeb_version, run.zeb_commit].filter(Boolean).join(" ")], ["host", run.host], ["CPU", run.cpu_model], ["row", `${row.id} of run ${row.run_id}`]]));
  }

  /* ---- distribution: density over log(latency / median), from 201 quantiles ---- */
  function density(curve, median, lo, hi, bins) {
    const width = Math.log(hi / lo) / bins;
    const raw = new Array(bins).fill(0);
    for (const x of curve) {
      const bin = Math.floor(Math.log(x / median / lo) / width);
      if (bin >= 0 && bin < bins) raw[bin] += 1;
    }
    const kernel = [1, 4, 7, 10, 7, 4, 1];
    return raw.map((_, i) => kernel.reduce((sum, k, j) => sum + k * (raw[i + j - 3] || 0), 0));
  }
  function spread() {
    const list = good().filter((row) => row.curve_ns && row.latency_ns.p50 > 0).sort((a, b) => a.latency_ns.p50 - b.latency_ns.p50).slice(0, 24);
    $("spread-card").hidden = list.length === 0;
    const left = 250, right = 940, line = 38;
    const lo = Math.max(0.25, Math.min(0.9, ...list.map((row) => row.curve_ns[2] / row.latency_ns.p50)) * 0.95);
    const tail = Math.max(1.3, ...list.map((row) => (row.latency_ns.p99 || row.latency_ns.p50) / row.latency_ns.p50));
    const hi = Math.min(8, tail * 1.15);
    const x = (ratio) => left + ((right - left) * Math.log(Math.min(Math.max(ratio, lo), hi) / lo)) / Math.log(hi / lo);
    const picture = svg("svg", { viewBox: `0 0 1180 ${list.length * line + 34}`, role: "img", "aria-label": "Latency distributions relative to the median" });
    const foot = list.length * line + 12;
    for (const ratio of [0.3, 0.5, 0.8, 1, 1.25, 1.5, 2, 3, 4, 6, 8].filter((r) => r >= lo && r <= hi)) {
      picture.append(svg("line", { x1: x(ratio), x2: x(ratio), y1: 4, y2: foot, stroke: css("--line"), "stroke-width": ratio === 1 ? 2 : 1 }));
      const label = svg("text", { x: x(ratio), y: foot + 16, "text-anchor": "middle", class: "quiet" });
      label.textContent = `${ratio}×`;
      picture.append(label);
    }
    list.forEach((row, i) => {
      const base = (i + 1) * line, bins = 110;
      const shape = density(row.curve_ns, row.latency_ns.p50, lo, hi, bins);
      const top = Math.max(...shape);
      const at = (b) => left + ((right - left) * (b + 0.5)) / bins;
      const path = `M${left} ${base}` + shape.map((v, b) => `L${at(b).toFixed(1)} ${(base - (v / top) * (line - 8)).toFixed(1)}`).join("") + `L${right} ${base}Z`;
      picture.append(svg("path", { d: path, fill: colour(row), "fill-opacity": 0.28, stroke: colour(row), "stroke-width": 1.3 }));
      for (const q of ["p90", "p99"]) {
        if (has(row.latency_ns[q])) {
          const where = x(row.latency_ns[q] / row.latency_ns.p50);
          picture.append(svg("line", { x1: where, x2: where, y1: base - 9, y2: base + 3, stroke: css("--ink"), "stroke-width": 1.6 }));
        }
      }
      const name = svg("text", { x: left - 12, y: base - 5, "text-anchor": "end" });
      name.textContent = row.label.length > 38 ? `${row.label.slice(0, 37)}…` : row.label;
      const value = svg("text", { x: right + 14, y: base - 5, class: "quiet" });
      value.textContent = `p50 ${ns(row.latency_ns.p50)} · p99 ${or(row.latency_ns.p99, ns)}`;
      picture.append(name, value);
    });
    $("spread").replaceChildren(picture);
  }

  /* ---- the other sections ---- */
  function rankings() {
    const list = data.energy_ranking.filter((entry) => entry.task === view.task && entry.scenario === view.scenario);
    const byId = new Map(rows.map((row) => [row.id, row]));
    $("ranking-card").hidden = list.length === 0;
    const one = (kind, title, note) => {
      const part = list.filter((entry) => entry.energy_kind === kind);
      if (!part.length) return el("div", {}, el("h3", {}, title), el("p", { class: "quiet" }, note));
      const tilde = kind === "estimated" ? "~" : "";
      const groups = unique(part.map(compared)).map((group) => part.filter((entry) => compared(entry) === group));
      const name = ([first]) => (groups.length > 1 ? el("caption", { class: "quiet" }, [first.split, has(first.task_version) ? `v${first.task_version}` : null, `${first.examples} examples`,
        has(first.data_hash) ? `data ${first.data_hash.slice(0, 12)}` : null].filter(Boolean).join(", ")) : null);
      return el("div", {}, el("h3", {}, title, kind === "estimated" ? el("span", { class: "est" }, "est") : null), groups.map((group) => el("table", {}, name(group),
        el("thead", {}, el("tr", {}, el("th", {}, "#"), el("th", {}, "Case"), el("th", { class: "number" }, "per query"), el("th", { class: "number" }, "gCO₂e/1M"))),
        el("tbody", {}, group.map((entry) => el("tr", {}, el("td", {}, String(entry.place)), el("td", {}, byId.get(entry.id).label),
          el("td", { class: "number" }, tilde + uj(entry.uj_per_query)), el("td", { class: "number" }, or(entry.co2_ug_per_query, (v) => tilde + digits(v)))))))));
    };
    $("rankings").replaceChildren(one("measured", "Measured", "Nothing was measured: no sensor."), one("estimated", "Estimated", "No estimates."));
  }
  function problems() {
    const list = newest.filter((row) => row.verdict !== "ok");
    $("problems-card").hidden = list.length === 0;
    $("problems").replaceChildren(...list.map((row) => el("li", {}, el("div", {}, el("span", { class: `badge ${row.verdict}` }, row.verdict)),
      el("div", {}, el("div", {}, el("strong", {}, row.label), el("span", { class: "quiet" }, ` · ${row.task} · ${row.scenario}`)), el("div", {}, row.reason || ""),
        row.last_words ? el("pre", {}, row.last_words) : null))));
  }
  /* What a training took beside what a query of its model takes here, and after how many queries it is repaid: by the energy
     that each saves against the costliest dense case on the same device, model for model of the same kind of figure. */
  function repaid(t) {
    const frugal = (a, b) => a.uj - b.uj, cases = good().filter((row) => row.uj > 0);
    const mine = cases.filter((row) => row.model === t.model).sort(frugal)[0];
    if (!mine || !has(t.energy_consumed_kwh)) return ["–", "–", "–"];
    const spent = t.energy_consumed_kwh * 3.6e12, tilde = estimated(mine) ? "~" : "";
    const against = cases.filter((row) => row.policy === "dense" && row.place === mine.place && compared(row) === compared(mine) && estimated(row) === estimated(mine)).sort(frugal).pop();
    const saving = against ? against.uj - mine.uj : 0;
    const queries = (n) => `${tilde}${scaled(n, [1, 1e3, 1e6, 1e9, 1e12], ["", "thousand", "million", "billion", "trillion"])}`.trim();
    return [el("span", { title: mine.label }, `${tilde}${uj(mine.uj)}`), queries(spent / mine.uj),
      saving > 0 ? el("span", { title: `against ${against.label}` }, queries(spent / saving)) : "–"];
  }
  function training() {
    $("training-card").hidden = data.trained.length === 0;
    const heads = ["Model", "When", "Took", "Energy", "gCO₂e", "Energy/query", "As many queries", "Repaid after", "Country", "By"];
    $("training").tHead.replaceChildren(el("tr", {}, heads.map((title) => el("th", {}, title))));
    $("training").tBodies[0].replaceChildren(...data.trained.map((t) => el("tr", {}, [`${t.model || t.project_name || "–"}${t.models > 1 ? ` (one of ${t.models} of this training)` : ""}`, t.timestamp, or(t.duration_s, (s) => ns(s * 1e9)),
      or(t.energy_consumed_kwh, (k) => `${digits(k * 1000)} Wh`), or(t.emissions_kg, (k) => digits(k * 1000)), ...repaid(t), t.country_iso_code || "–", `CodeCarbon ${t.codecarbon_version || ""}`].map((cell) => el("td", {}, cell)))));
  }
  function provenance() {
    const used = unique(newest.map((row) => row.run_id)).sort((a, b) => b - a).map((id) => runs.get(id)).filter(Boolean);
    $("runs").replaceChildren(...used.map((run, i) => el("details", { open: i === 0 ? "" : null },
      el("summary", {}, `Run ${run.id}, ${run.started_utc}`, run.host ? ` on ${run.host}` : ""),
      el("div", { class: "facts two" },
        facts("Run", [["finished", run.finished_utc || "did not end orderly"], ["zeb", [run.zeb_version, run.zeb_commit].filter(Boolean).join(", commit ")], ["compiler", [run.compiler, run.build_flags].filter(Boolean).join(" ")], ["command", run.argv.join(" ")]]),
        facts("Machine", [["CPU", run.cpu_model], ["processors", run.cpu_count], ["memory", has(run.memory_bytes) ? bytes(run.memory_bytes) : null], ["governor", run.governor], ["OS", run.os], ["kernel", run.kernel]])),
      run.cpu_flags ? el("details", {}, el("summary", { class: "quiet" }, `${run.cpu_flags.split(/\s+/).length} CPU flags`), el("p", { class: "mono quiet" }, run.cpu_flags)) : null)));
  }
  function subtitle() {
    const machines = unique(newest.map((row) => (runs.get(row.run_id) || {}).cpu_model).filter(Boolean));
    const days = unique(data.runs.map((run) => run.started_utc.slice(0, 10))).sort();
    const parts = [`${newest.length} cases`, `${data.runs.length} ${data.runs.length === 1 ? "run" : "runs"}`, machines.slice(0, 2).join("; "), days.length > 1 ? `${days[0]} to ${days[days.length - 1]}` : days[0]];
    $("subtitle").textContent = parts.filter(Boolean).join(" · ");
  }

  /* ---- what the devices allow ---- */
  const perSecond = (x, unit) => `${scaled(x, [1, 1e3, 1e6, 1e9, 1e12, 1e15], ["", "k", "M", "G", "T", "P"])}${unit}/s`;
  /* The newest peaks of the device and number of threads that a row ran with. */
  function peaksOf(row) {
    const newest = new Map();
    for (const peak of data.peak)
      if (peak.backend === row.backend && peak.device === row.device && (peak.device_name || "") === (row.device_name || "") && peak.threads === (row.threads || 1)) newest.set(peak.name, peak);
    return [...newest.values()];
  }
  function roofline() {
    const list = good().filter((row) => has(row.bound_flops_per_s) && row.flops.executed > 0 && row.bytes.executed > 0 && row.examples > 0);
    $("roofline-card").hidden = list.length === 0;
    $("roofline").replaceChildren();
    if (list.length === 0) return;
    const points = list.map((row) => ({ row, x: row.flops.executed / row.bytes.executed, y: row.flops.executed / row.examples * row.throughput_per_s }));
    const groups = new Map(list.map((row) => [row.place, { row, peaks: peaksOf(row) }]));
    const rates = [...groups.values()].flatMap((g) => g.peaks.filter((p) => p.kind === "operations").map((p) => p.per_second));
    const xs = points.map((p) => p.x), ys = [...points.map((p) => p.y), ...rates];
    const box = { left: 120, right: 1000, top: 12, bottom: 360, x0: Math.min(0.5, ...xs) / 2, x1: Math.max(200, ...xs) * 2, y0: Math.min(...points.map((p) => p.y)) / 8, y1: Math.max(...ys) * 1.6 };
    const at = { x: (v) => box.left + (box.right - box.left) * Math.log(v / box.x0) / Math.log(box.x1 / box.x0), y: (v) => box.bottom - (box.bottom - box.top) * Math.log(v / box.y0) / Math.log(box.y1 / box.y0) };
    const picture = svg("svg", { viewBox: "0 0 1180 400", role: "img", "aria-label": "Roofline: FLOP a second against FLOP a byte" });
    const line = (x1, y1, x2, y2, stroke, extra) => picture.append(svg("line", { x1, y1, x2, y2, stroke, ...extra }));
    const text = (x, y, words, extra) => { const node = svg("text", { x, y, class: "quiet", ...extra }); node.textContent = words; picture.append(node); };
    for (let v = 10 ** Math.ceil(Math.log10(box.x0)); v <= box.x1; v *= 10) { line(at.x(v), box.top, at.x(v), box.bottom, css("--line")); text(at.x(v), box.bottom + 18, digits(v), { "text-anchor": "middle" }); }
    for (let v = 10 ** Math.ceil(Math.log10(box.y0)); v <= box.y1; v *= 10) { line(box.left, at.y(v), box.right, at.y(v), css("--line")); text(box.left - 8, at.y(v) + 4, perSecond(v, "FLOP"), { "text-anchor": "end" }); }
    text(box.right, box.bottom + 36, "FLOP a byte (log)", { "text-anchor": "end" });
    for (const { row, peaks } of groups.values()) {
      const ceilings = peaks.filter((p) => p.kind === "operations"), levels = peaks.filter((p) => p.kind === "bytes");
      const fastest = Math.max(...levels.map((p) => p.per_second)), most = Math.max(...ceilings.map((p) => p.per_second));
      for (const p of ceilings) {
        line(at.x(Math.max(box.x0, p.per_second / fastest)), at.y(p.per_second), box.right, at.y(p.per_second), colour(row), { "stroke-width": 1.5 });
        text(box.right + 6, at.y(p.per_second) + 4, `${p.name} ×${p.threads}, ${perSecond(p.per_second, "FLOP")}`);
      }
      for (const p of levels) {
        const x0 = Math.max(box.x0, box.y0 / p.per_second), x1 = Math.min(box.x1, most / p.per_second);
        if (x1 <= x0) continue;
        line(at.x(x0), at.y(x0 * p.per_second), at.x(x1), at.y(x1 * p.per_second), colour(row), { "stroke-width": 1.2, "stroke-dasharray": "5 4" });
        text(at.x(x0) + 6, at.y(x0 * p.per_second) - 4, `${p.name} ×${p.threads}`);
      }
    }
    for (const p of points) {
      const title = svg("title", {});
      title.textContent = `${p.row.label}: ${perSecond(p.y, "FLOP")}, ${digits(100 * p.row.bound_share)} % of what ${p.row.bound_by} allows`;
      picture.append(svg("circle", { cx: at.x(p.x), cy: at.y(p.y), r: 6, fill: colour(p.row) }, title));
    }
    $("roofline").append(picture);
  }

  /* ---- all together ---- */
  function draw() {
    tiles();
    drawCharts();
    legend();
    table();
    spread();
    roofline();
    rankings();
    problems();
    training();
    provenance();
  }
  function choices(select, values, current) {
    select.replaceChildren(...values.map((value) => el("option", { value, selected: value === current ? "selected" : null }, value)));
  }
  function most(values) {
    const count = new Map();
    for (const value of values) count.set(value, (count.get(value) || 0) + 1);
    return [...count].sort((a, b) => b[1] - a[1]).map(([value]) => value)[0];
  }
  function chooseTask(task) {
    const of = newest.filter((row) => row.task === task);
    view.task = task;
    view.scenario = most(of.filter((row) => row.verdict === "ok").map((row) => row.scenario)) || most(of.map((row) => row.scenario));
    choices($("scenario"), unique(of.map((row) => row.scenario)).sort(), view.scenario);
    draw();
  }
  function theme(name) {
    document.documentElement.dataset.theme = name;
    $("theme").textContent = name === "dark" ? "Light" : "Dark";
    draw();
  }
  subtitle();
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
  $("theme").textContent = dark.matches ? "Light" : "Dark";
  $("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  dark.addEventListener("change", (event) => theme(event.matches ? "dark" : "light"));
  $("task").addEventListener("change", (event) => chooseTask(event.target.value));
  $("scenario").addEventListener("change", (event) => { view.scenario = event.target.value; draw(); });
  $("history").addEventListener("change", (event) => { view.history = event.target.checked; table(); });
  let before = null;
  window.addEventListener("beforeprint", () => { before = document.documentElement.dataset.theme; theme("light"); });
  window.addEventListener("afterprint", () => { if (before) theme(before); });
  const tasks = unique(newest.map((row) => row.task)).sort();
  choices($("task"), tasks, tasks[0]);
  if (tasks.length) chooseTask(most(newest.map((row) => row.task)));
  else draw();
  $("task").value = view.task || "";
})();
