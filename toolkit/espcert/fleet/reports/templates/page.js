// The page's own script: charts from the tables beside them, and the table of modules.
// Strings from records only ever become text nodes.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const formatted = (number) => number.toLocaleString("en-US");

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  // --- Charts ----------------------------------------------------------------------------------

  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  // Nothing draws no bar; whatever there is draws one that can be seen.
  const valueOf = (cell) => Number(cell.dataset.value) || null;
  const WIDEST_LABEL = 20;

  // The name of a row, in lines that leave the bars their room.
  function labelOf(row) {
    const lines = [""];
    for (const word of row.querySelector("th").textContent.trim().split(/\s+/)) {
      const longer = `${lines.at(-1)} ${word}`.trim();
      if (longer.length <= WIDEST_LABEL || !lines.at(-1)) {
        lines[lines.length - 1] = longer;
      } else {
        lines.push(word);
      }
    }
    return lines;
  }

  // A line of white between neighbours keeps colours apart that some people see as one.
  const bars = (label, data, names) => ({
    label,
    data,
    names,
    paint(dataset) {
      const colours = names.map(colour);
      dataset.backgroundColor = colours.length === 1 ? colours[0] : colours;
      dataset.borderColor = colour("card");
    },
  });

  function columnsOf(table) {
    const rows = all("tbody tr", table);
    const datasets = all("thead th[data-state]", table).map((head, number) =>
      bars(
        head.textContent.trim(),
        rows.map((row) => valueOf(all("td[data-value]", row)[number])),
        [head.dataset.state],
      ),
    );
    return { labels: rows.map(labelOf), datasets };
  }

  function rowsOf(rows, kind) {
    const values = rows.map((row) => valueOf(row.querySelector("td[data-value]")));
    return {
      labels: rows.map(labelOf),
      datasets: [bars("Modules", values, rows.map((row) => row.dataset[kind]))],
    };
  }

  function frequent(table, most) {
    const value = (row) => valueOf(row.querySelector("td[data-value]"));
    const rows = all("tbody tr", table).filter((row) => row.dataset.severity !== "info");
    return rows.sort((one, other) => value(other) - value(one)).slice(0, most);
  }

  const axis = (counts) => ({
    stacked: true,
    beginAtZero: true,
    grid: { display: counts },
    border: { display: false },
    ticks: counts ? { precision: 0, maxTicksLimit: 6 } : {},
  });
  const across = () => ({ indexAxis: "y", scales: { x: axis(true), y: axis(false) } });
  const upright = () => ({ scales: { x: axis(false), y: axis(true) } });

  const KINDS = {
    parts: (figure) => ({
      type: "doughnut",
      data: rowsOf(all("tbody tr", figure), "state"),
      options: { cutout: "64%" },
      legend: false,
    }),
    stacked: (figure) => ({
      type: "bar", data: columnsOf(figure), options: across(), legend: true, height: 34,
    }),
    time: (figure) => ({ type: "bar", data: columnsOf(figure), options: upright(), legend: true }),
    frequency: (figure) => ({
      type: "bar",
      data: rowsOf(frequent(figure, Number(figure.dataset.bars)), "severity"),
      options: across(),
      legend: false,
      height: 26,
    }),
  };

  function paint({ options, data }) {
    data.datasets.forEach((dataset) => dataset.paint(dataset));
    Object.values(options.scales ?? {}).forEach((scale) => {
      scale.ticks.color = colour("soft");
      scale.grid.color = colour("line");
    });
    options.plugins.legend.labels.color = colour("soft");
  }

  function draw(figure) {
    const canvas = figure.querySelector("canvas");
    if (!canvas) {
      return [];
    }
    const { type, data, options, legend, height } = KINDS[figure.dataset.chart](figure);
    if (height) {
      canvas.parentElement.style.height = `${data.labels.length * height + (legend ? 84 : 40)}px`;
    }
    data.datasets.forEach((dataset) =>
      Object.assign(dataset, { borderWidth: type === "doughnut" ? 2 : { left: 1, bottom: 1 } }, {
        maxBarThickness: 22, minBarLength: 3, borderSkipped: false,
      }),
    );
    const labels = { boxWidth: 10, boxHeight: 10, padding: 14 };
    const plugins = {
      colors: { enabled: false },
      legend: { display: legend, position: "bottom", labels },
    };
    const common = { animation: false, maintainAspectRatio: false, responsive: true, plugins };
    const settings = { type, data, options: { ...common, ...options } };
    paint(settings);
    return [new Chart(canvas, settings)];
  }

  function drawAll() {
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 12;
    const charts = all("figure[data-chart]").flatMap(draw);
    const repaint = () =>
      charts.forEach((chart) => {
        paint(chart.config);
        chart.update();
      });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    matchMedia("print").addEventListener("change", repaint);
    addEventListener("beforeprint", () => charts.forEach((chart) => chart.resize()));
    addEventListener("afterprint", () => charts.forEach((chart) => chart.resize()));
    document.documentElement.dataset.charts = charts.length;
  }

  // --- Rows ------------------------------------------------------------------------------------

  async function unpack(base64) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at++) {
      bytes[at] = text.charCodeAt(at);
    }
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  const SEVERITIES = ["error", "warning", "info"];

  function rowsFrom({ names, columns }) {
    // What a code weighs: one error more than any number of warnings.
    const weights = names.codes.map(([, severity]) => [1e6, 1e3, 1][SEVERITIES.indexOf(severity)]);
    const rows = columns.source.map((source, place) => {
      const codes = columns.codes[place];
      return {
        place,
        source,
        id: columns.id[place],
        rank: columns.rank[place],
        state: columns.state[place],
        layout: names.layouts[columns.layout[place]],
        key: names.keys[columns.key[place]],
        subject: columns.subject[place],
        serial: columns.serial[place],
        expires: columns.expires[place],
        ends: columns.ends[place] || "none",
        codes,
        findings: codes.reduce((sum, code) => sum + weights[code], 0),
      };
    });
    return rows.sort((one, other) => one.rank - other.rank || one.place - other.place);
  }

  const haystack = (row) =>
    (row.text ??= `${row.source}\n${row.id}\n${row.subject}\n${row.serial}`.toLowerCase());

  // --- The table of modules --------------------------------------------------------------------

  const wrapped = (tag, className, text) => element(tag, { className, textContent: text });

  function cells(names) {
    const text = (className) => (cell) => wrapped("bdi", className, cell.getValue());
    return {
      source: (cell) => {
        const open = element("button", {
          type: "button", className: "open", tabIndex: -1, textContent: cell.getValue(),
        });
        open.dataset.place = cell.getData().place;
        return open;
      },
      state: (cell) => {
        const [state, words] = names.states[cell.getValue()];
        return element("span", {}, wrapped("span", `dot ${state}`, ""), words);
      },
      name: text("code"),
      text: text("text"),
      serial: text("code"),
      findings: (cell) => {
        const { codes } = cell.getData();
        const worst = (number) => SEVERITIES.indexOf(names.codes[number][1]);
        const asking = codes.filter((number) => worst(number) < 2).sort((a, b) => worst(a) - worst(b));
        if (!asking.length) {
          return wrapped("span", "quiet", codes.length ? `${codes.length} info` : "none");
        }
        const more = asking.length > 1 ? ` +${asking.length - 1}` : "";
        const [code, severity] = names.codes[asking[0]];
        return element("span", {}, wrapped("span", `dot ${severity}`, ""), `${code}${more}`);
      },
    };
  }

  const order = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
  // A heading is a button, so that the keyboard reaches it; the click goes on to the heading.
  const heading = (cell) => element("button", {
    type: "button", className: "sorter", textContent: cell.getValue(),
  });

  function columnsFor(names) {
    const show = cells(names);
    const column = (title, field, formatter, width, rest = {}) => ({
      title, field, formatter, minWidth: width, sorter: order, titleFormatter: heading, ...rest,
    });
    return [
      column("Module", "source", show.source, 200, { widthGrow: 3, responsive: 0 }),
      column("Verdict", "state", show.state, 170, { responsive: 0 }),
      column("Finding", "findings", show.findings, 170, { widthGrow: 2, responsive: 1, headerSortStartingDir: "desc" }),
      column("Layout", "layout", show.name, 130, { responsive: 2 }),
      column("Key", "key", show.name, 120, { responsive: 3 }),
      column("Subject", "subject", show.text, 180, { widthGrow: 2, responsive: 4 }),
      column("Expires", "expires", show.name, 104, { responsive: 2 }),
      column("Serial", "serial", show.serial, 120, { responsive: 5 }),
    ];
  }

  function fill(select, values, words = (value) => value) {
    select.append(...values.map((value) => new Option(words(value), value)));
  }

  function fillFilters(names, rows) {
    const used = new Set(rows.map((row) => row.state));
    names.states.forEach(([, words], number) => {
      if (used.has(number)) {
        byId("by-state").append(new Option(words, number));
      }
    });
    fill(byId("by-layout"), [...names.layouts].sort());
    fill(byId("by-key"), [...names.keys].sort());
    for (const severity of SEVERITIES) {
      const codes = names.codes.map(([code, of]) => (of === severity ? code : "")).filter(Boolean);
      if (codes.length) {
        const group = element("optgroup", { label: severity });
        fill(group, codes.sort());
        byId("by-code").append(group);
      }
    }
  }

  const FILTERS = ["find", "by-state", "by-layout", "by-key", "by-expiry", "by-code"];

  function chosen(names) {
    const value = (id) => byId(id).value;
    const words = value("find").trim().toLowerCase().split(/\s+/).filter(Boolean);
    const tests = words.map((word) => (row) => haystack(row).includes(word));
    const is = (id, test) => value(id) && tests.push(test(value(id)));
    is("by-state", (wanted) => (row) => row.state === Number(wanted));
    is("by-layout", (wanted) => (row) => row.layout === wanted);
    is("by-key", (wanted) => (row) => row.key === wanted);
    is("by-expiry", (wanted) => (row) => row.ends === wanted);
    is("by-code", (wanted) => {
      const number = names.codes.findIndex(([code]) => code === wanted);
      return (row) => row.codes.includes(number);
    });
    return tests;
  }

  function connectFilters(table, names, rows) {
    const total = rows.length;
    let waiting = 0;
    const apply = () => {
      const tests = chosen(names);
      if (tests.length) {
        table.setFilter((row) => tests.every((test) => test(row)));
      } else {
        table.clearFilter();
      }
    };
    table.on("dataFiltered", (filters, found) => {
      const part = found.length === total ? "" : `${formatted(found.length)} of `;
      byId("count").textContent = `${part}${formatted(total)} modules`;
    });
    byId("find").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(apply, 120);
    });
    FILTERS.slice(1).forEach((id) => byId(id).addEventListener("change", apply));
    const clear = () => FILTERS.forEach((id) => (byId(id).value = ""));
    byId("clear").addEventListener("click", () => {
      clear();
      apply();
      byId("find").focus();
    });
    all("button.show").forEach((button) =>
      button.addEventListener("click", () => {
        clear();
        byId("by-code").value = button.dataset.code;
        apply();
        byId("modules").scrollIntoView();
        byId("modules").focus({ preventScroll: true });
      }),
    );
    apply();
  }

  // Rows come and go as the table scrolls, so the table is one stop of the tab key, and the arrow
  // keys move a current row.
  function connectKeys(table) {
    const holder = byId("table").querySelector(".tabulator-tableholder");
    holder.setAttribute("aria-label", "Modules: arrow keys move, Enter opens");
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 };
    let current = -1;
    let moving = Promise.resolve();
    // Keys may come faster than rows appear: only where they have led to is shown.
    const reveal = async (row, place) => {
      if (place !== current) {
        return;
      }
      await table.scrollToRow(row, "nearest", false);
      await new Promise(requestAnimationFrame);
      if (place === current) {
        row.getElement().querySelector(".open")?.focus({ preventScroll: true });
      }
    };
    // A row that scrolls away takes the focus with it: meanwhile the table itself holds it.
    const goTo = (place) => {
      const rows = table.getRows("active");
      if (rows.length) {
        const reached = Math.max(0, Math.min(place, rows.length - 1));
        holder.focus({ preventScroll: true });
        current = reached;
        moving = moving.then(() => reveal(rows[reached], reached));
      }
    };
    holder.addEventListener("keydown", (event) => {
      if (event.key in steps && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        goTo(current + steps[event.key]);
      } else if (event.key === "Enter" && event.target === holder) {
        goTo(Math.max(current, 0));
      }
    });
    holder.addEventListener("focusin", ({ target }) => {
      if (target.dataset.place) {
        const place = Number(target.dataset.place);
        current = table.getRows("active").findIndex((row) => row.getData().place === place);
      }
    });
    // A table that draws itself anew (its width changed, say) loses the row that had the focus.
    let held = false;
    holder.addEventListener("focusin", () => (held = true));
    for (const kind of ["focusin", "pointerdown"]) {
      document.addEventListener(kind, ({ target }) => (held &&= holder.contains(target)));
    }
    table.on("renderComplete", () => {
      if (held && current >= 0 && document.activeElement === document.body) {
        goTo(current);
      }
    });
    table.on("dataFiltered", () => (current = -1));
    table.on("dataSorted", () => (current = -1));
  }

  // --- What a row opens to ---------------------------------------------------------------------

  const LABELS = {
    id: "Id", label: "Label", revision: "Revision", chip_family: "Chips", output: "Written to",
  };
  // A hint of a catalogue, with what stands between backticks as code.
  const prose = (text) =>
    text.split("`").map((part, number) => (number % 2 ? wrapped("code", "", part) : part));
  const sentence = (text) =>
    `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
  const badge = (severity) => wrapped("span", `badge ${severity}`, severity);

  function factsOf(row, details, names) {
    const facts = [
      ["Verdict", names.states[row.state][1]],
      ["Layout", row.layout],
      ["Key", row.key],
      ["Subject", row.subject],
      ["Serial", row.serial],
      ["Expires", row.expires],
      ...Object.entries(details.facts).map(([name, value]) => [LABELS[name], value]),
    ];
    const shown = facts.filter(([, value]) => value);
    const list = shown.flatMap(([name, value]) => [
      wrapped("dt", "", name),
      element("dd", {}, wrapped("bdi", "", value)),
    ]);
    return element("dl", { className: "facts" }, ...list);
  }

  function findingItem([number, message, item, offset], names) {
    const [code, severity, , hint] = names.codes[number];
    const where = offset === null ? item : `${item} at 0x${offset.toString(16)}`;
    const parts = [
      element("p", { className: "what" }, badge(severity), " ", wrapped("bdi", "", message)),
      element("p", { className: "where" }, wrapped("code", "", code), where ? ` · ${where}` : ""),
    ];
    if (!/^nothing to do\b/.test(hint)) {
      parts.push(element("p", { className: "do" }, ...prose(sentence(hint))));
    }
    return element("li", { className: severity }, ...parts);
  }

  function sharedItem([number, message, partners, more], names) {
    const item = findingItem([number, message, "", null], names);
    const list = partners.map((name) => element("li", {}, wrapped("bdi", "", name)));
    if (more) {
      list.push(wrapped("li", "rest", `and ${formatted(more)} more`));
    }
    item.append(element("ul", { className: "sources" }, ...list));
    return item;
  }

  function bodyOf(row, details, names) {
    const found = [
      ...details.shared.map((shared) => sharedItem(shared, names)),
      ...details.findings.map((finding) => findingItem(finding, names)),
    ];
    const title = wrapped("h3", "", found.length ? "Findings" : "No findings");
    const more = details.more
      ? [wrapped("p", "more", `${formatted(details.more)} more are in the full report.`)]
      : [];
    const list = found.length ? [element("ul", { className: "findings" }, ...found)] : [];
    return [factsOf(row, details, names), title, ...list, ...more];
  }

  function connectDetails(table, names, perLine) {
    const lines = byId("rows-details").textContent.split(" ");
    const dialog = byId("details");
    let shown = 0;
    const show = async (row) => {
      const rows = table.getRows("active");
      const details = (await unpack(lines[Math.floor(row.place / perLine)]))[row.place % perLine];
      byId("details-title").replaceChildren(wrapped("bdi", "", row.source));
      byId("details-body").replaceChildren(...bodyOf(row, details, names));
      shown = rows.findIndex((one) => one.getData() === row);
      byId("previous").disabled = shown <= 0;
      byId("following").disabled = shown >= rows.length - 1;
      if (!dialog.open) {
        dialog.showModal();
      }
      byId("details-body").scrollTop = 0;
    };
    const step = (by) => () => show(table.getRows("active")[shown + by].getData());
    table.on("rowClick", (event, row) => show(row.getData()));
    byId("close").addEventListener("click", () => dialog.close());
    byId("previous").addEventListener("click", step(-1));
    byId("following").addEventListener("click", step(1));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  // --- Print -----------------------------------------------------------------------------------

  const PRINTED = 100;

  function connectPrint(table, names) {
    const heads = ["Module", "Verdict", "Findings", "Layout", "Key", "Subject", "Expires"];
    const codesOf = (row) => {
      const asking = row.codes.filter((number) => names.codes[number][1] !== "info");
      return asking.map((number) => names.codes[number][0]).join(", ");
    };
    const line = (row) => {
      const texts = [
        row.source, names.states[row.state][1], codesOf(row), row.layout, row.key, row.subject, row.expires,
      ];
      return element("tr", {}, ...texts.map((text) => element("td", {}, wrapped("bdi", "", text))));
    };
    addEventListener("beforeprint", () => {
      const rows = table.getRows("active");
      const head = element("tr", {}, ...heads.map((text) => wrapped("th", "", text)));
      const body = rows.slice(0, PRINTED).map((row) => line(row.getData()));
      const rest = rows.length - body.length;
      const note = rest > 0 ? `${formatted(rest)} more rows are not printed.` : "";
      const printed = element("table", { className: "figures" },
        element("thead", {}, head), element("tbody", {}, ...body));
      byId("printed").replaceChildren(printed, wrapped("p", "more", note));
    });
    addEventListener("afterprint", () => byId("printed").replaceChildren());
  }

  // --- Start -----------------------------------------------------------------------------------

  function build(packed) {
    const { names } = packed;
    const rows = rowsFrom(packed);
    byId("explorer").hidden = false;
    fillFilters(names, rows);
    const table = new Tabulator("#table", {
      data: rows,
      index: "place",
      columns: columnsFor(names),
      layout: "fitColumns",
      responsiveLayout: "hide",
      height: rows.length > 12 ? "34rem" : false,
      rowHeight: 38,
      placeholder: "No module is like this.",
    });
    table.on("tableBuilt", () => {
      connectFilters(table, names, rows);
      connectKeys(table);
      connectDetails(table, names, packed.detailsALine);
      connectPrint(table, names);
      byId("loading").hidden = true;
      document.documentElement.dataset.ready = Math.round(performance.now());
    });
  }

  async function start() {
    drawAll();
    const packed = byId("rows");
    byId("loading").textContent = "Unpacking the modules…";
    try {
      build(await unpack(packed.textContent));
    } catch (error) {
      byId("loading").textContent = `The table of modules cannot be shown in this browser (${error}).`;
    }
  }

  start();
})();
