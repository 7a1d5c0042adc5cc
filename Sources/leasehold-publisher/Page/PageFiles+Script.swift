extension PageFiles {
    static let script = #"""
        "use strict";
        const states = ["free", "leased", "ending", "recovering", "quarantined", "draining", "unready"];
        const letters = { f: "free", l: "leased", e: "ending", r: "recovering", q: "quarantined", d: "draining", u: "unready" };
        const meaning = {
          free: "takes the next job", leased: "has a job", ending: "its caller left, it still works", recovering: "waits to be seen ready",
          quarantined: "set aside after a failure", draining: "takes nothing new", unready: "its source says not ready",
        };
        const $ = (id) => document.getElementById(id);
        const number = new Intl.NumberFormat("en");
        const pools = new Map();
        let bounds = [], lastUp = new Map(), wasLive = null;

        function make(tag, properties = {}, ...children) {
          const element = document.createElement(tag);
          for (const [name, value] of Object.entries(properties)) {
            if (name in element) element[name] = value; else element.setAttribute(name, value);
          }
          element.append(...children);
          return element;
        }
        function time(ms) {
          if (ms === null || ms === undefined) return "unknown";
          if (ms < 1000) return Math.round(ms) + " ms";
          const s = ms / 1000;
          if (s < 60) return s.toFixed(s < 10 ? 1 : 0) + " s";
          if (s < 3600) return Math.floor(s / 60) + " min " + Math.floor(s % 60) + " s";
          if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
          return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
        }
        function bound(seconds) { return seconds < 1 ? seconds * 1000 + " ms" : seconds < 60 ? seconds + " s" : seconds < 3600 ? seconds / 60 + " min" : seconds / 3600 + " h"; }
        function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim(); }
        let palette = {};
        function readPalette() { for (const s of [...states, "line", "soft", "accent", "ink"]) palette[s] = colour(s); }
        function say(text) { $("say").textContent = text; }

        // A canvas in the resolution of the screen.
        function prepare(canvas, height) {
          const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth || 600;
          if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
          if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
          canvas.style.height = height + "px";
          const context = canvas.getContext("2d");
          context.setTransform(ratio, 0, 0, ratio, 0, 0);
          context.clearRect(0, 0, width, height);
          return [context, width];
        }
        function drawCells(pool) {
          if (!pool.seen || pool.letters === null) return;
          const count = pool.letters.length;
          const size = count <= 200 ? 16 : count <= 1000 ? 11 : count <= 4000 ? 8 : 6;
          const gap = size > 8 ? 2 : 1, step = size + gap;
          const width = pool.canvas.clientWidth || 600;
          const columns = Math.max(1, Math.floor((width + gap) / step));
          const [context] = prepare(pool.canvas, Math.max(step, Math.ceil(count / columns) * step));
          // By colour: as many changes of it as there are states.
          const places = {};
          for (let i = 0; i < count; i++) (places[pool.letters[i]] ||= []).push(i);
          for (const [letter, list] of Object.entries(places)) {
            context.fillStyle = palette[letters[letter]] || palette.line;
            for (const i of list) context.fillRect((i % columns) * step, Math.floor(i / columns) * step, size, size);
          }
        }
        function drawHistogram(canvas, counts) {
          const height = 83, [context, width] = prepare(canvas, height);
          const most = Math.max(1, ...counts), step = width / counts.length, ground = height - 16;
          context.fillStyle = palette.line;
          context.fillRect(0, ground, width, 1);
          context.fillStyle = palette.accent;
          counts.forEach((count, i) => {
            if (count === 0) return;
            const tall = Math.max(2, (ground - 4) * count / most);
            context.fillRect(i * step + 1, ground - tall, Math.max(1, step - 2), tall);
          });
          context.fillStyle = palette.soft;
          context.font = "11px system-ui, sans-serif";
          context.textBaseline = "bottom";
          const marks = [[0.01, "10 ms"], [1, "1 s"], [60, "1 min"], [3600, "1 h"]];
          for (const [at, text] of marks) {
            const i = bounds.indexOf(at);
            if (i < 0) continue;
            const x = (i + 1) * step, wide = context.measureText(text).width;
            context.fillText(text, Math.min(width - wide, Math.max(0, x - wide / 2)), height);
          }
        }
        function share(counts, part) {
          const all = counts.reduce((a, b) => a + b, 0);
          let sum = 0;
          for (let i = 0; i < counts.length; i++) {
            sum += counts[i];
            if (all > 0 && sum >= all * part) return i < bounds.length ? "≤ " + bound(bounds[i]) : "> " + bound(bounds.at(-1));
          }
          return "none yet";
        }

        const eyes = new IntersectionObserver((entries) => {
          for (const entry of entries) {
            const pool = pools.get(entry.target.dataset.pool);
            if (!pool) continue;
            pool.seen = entry.isIntersecting;
            if (pool.seen) drawPool(pool);
          }
        }, { rootMargin: "200px" });

        function newPool(name) {
          const pool = { name, letters: null, seen: false, data: null };
          pool.title = make("h3", {}, name);
          pool.line = make("p");
          pool.note = make("p", { className: "note" });
          pool.canvas = make("canvas", { className: "cells", role: "img", "aria-label": "workers of " + name });
          pool.cut = make("p", { className: "note", hidden: true });
          pool.queue = make("tbody");
          pool.hold = make("canvas", { className: "chart", role: "img" });
          pool.lease = make("canvas", { className: "chart", role: "img" });
          pool.counts = make("tbody");
          const head = (...names) => make("thead", {}, make("tr", {}, ...names.map((n, i) => make("th", { scope: "col", className: i ? "number" : "" }, n))));
          pool.element = make("article", { className: "pool", "data-pool": name },
            make("div", { className: "head" }, pool.title, pool.line, pool.note), pool.canvas, pool.cut,
            make("div", { className: "columns" },
              make("div", {}, make("h4", {}, "Queue"), make("table", {}, make("caption", { className: "hidden" }, "Waiting jobs of " + name), head("Urgency, tenant", "Waiting", "Oldest"), pool.queue)),
              make("div", {}, make("h4", {}, "Time held"), pool.hold),
              make("div", {}, make("h4", {}, "Time leased"), pool.lease)),
            make("details", {}, make("summary", {}, "Workers by state, as a table"),
              make("table", {}, make("caption", { className: "hidden" }, "Workers of " + name + " by state"), head("State", "Workers"), pool.counts)));
          pools.set(name, pool);
          eyes.observe(pool.element);
          return pool;
        }
        function row(...cells) { return make("tr", {}, ...cells.map((c, i) => make(i ? "td" : "th", i ? { className: "number" } : { scope: "row" }, String(c)))); }

        function drawPool(pool) {
          const data = pool.data;
          if (!data) return;
          if (!data.states) {
            pool.line.textContent = "not known";
            return;
          }
          const total = states.reduce((sum, s) => sum + data.states[s], 0);
          pool.line.textContent = number.format(total) + " workers, " + number.format(data.states.free) + " free, " + number.format(data.leases) + " leased, "
            + number.format(data.queued) + " waiting" + (data.queued ? ", the oldest " + time(data.oldestWaitMs) : "") + "; demand " + number.format(data.demand);
          pool.note.textContent = (data.paused ? "paused " : "") + (data.recovering ? "recovering" : "");
          pool.canvas.setAttribute("aria-label", pool.name + ": " + states.filter((s) => data.states[s]).map((s) => data.states[s] + " " + s).join(", "));
          if (!pool.seen) return;
          const lines = data.queue.map((q) => row((q.urgency !== undefined ? "u=" + q.urgency : "") + (q.tenant !== undefined ? " " + q.tenant : ""), number.format(q.queued), q.oldestWaitMs === undefined ? "" : time(q.oldestWaitMs)));
          lines.push(data.queued ? row("all", number.format(data.queued), time(data.oldestWaitMs)) : row("nobody waits", 0, ""));
          pool.queue.replaceChildren(...lines);
          pool.counts.replaceChildren(...states.map((s) => row(s, number.format(data.states[s]))));
          drawHistogram(pool.hold, data.hold);
          drawHistogram(pool.lease, data.lease);
          pool.hold.setAttribute("aria-label", "half of the jobs were held " + share(data.hold, 0.5) + ", 99 of 100 " + share(data.hold, 0.99));
          pool.lease.setAttribute("aria-label", "half of the leases lasted " + share(data.lease, 0.5) + ", 99 of 100 " + share(data.lease, 0.99));
          drawCells(pool);
        }

        function status(data) {
          bounds = data.bounds;
          $("version").textContent = "Version " + data.version + ".";
          const known = data.pools.filter((p) => p.states);
          const sum = (f) => number.format(known.reduce((s, p) => s + f(p), 0));
          const sums = [["demand", sum((p) => p.demand)], ["leased", sum((p) => p.leases)], ["waiting", sum((p) => p.queued)],
            ["free", sum((p) => p.states.free)], ["workers", sum((p) => states.reduce((s, n) => s + p.states[n], 0))]];
          $("sums").replaceChildren(...sums.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));

          const live = data.stateAgeMs === 0;
          $("link").dataset.state = live ? "live" : "away";
          $("link").textContent = live ? "live" : data.stateAgeMs === null ? "pool-keeper not heard" : "pool-keeper away for " + time(data.stateAgeMs);
          if (wasLive !== null && wasLive !== live) say(live ? "The pool-keeper is back" : "The pool-keeper is away; what is shown is old");
          wasLive = live;

          const source = make("li", { "data-up": String(data.source.state === "live") }, make("b", {}, "source"),
            make("span", {}, data.source.state + (data.source.ageMs ? ", " + time(data.source.ageMs) + " old" : "")));
          $("processes").replaceChildren(...data.processes.map((p) => {
            if (lastUp.has(p.process) && lastUp.get(p.process) !== p.up) say(p.process + (p.up ? " is back" : " is away"));
            lastUp.set(p.process, p.up);
            return make("li", { "data-up": String(p.up) }, make("b", {}, p.process),
              make("span", {}, (p.up ? "up " + time(p.uptimeMs) : "away" + (p.ageMs === null ? "" : ", heard " + time(p.ageMs) + " ago")) + (p.restarts ? ", " + p.restarts + (p.restarts === 1 ? " restart" : " restarts") : "")));
          }), source);

          $("nothing").hidden = data.pools.length > 0;
          const names = new Set(data.pools.map((p) => p.pool));
          for (const [name, pool] of pools) if (!names.has(name)) { pool.element.remove(); pools.delete(name); }
          for (const one of data.pools) {
            const pool = pools.get(one.pool) || newPool(one.pool);
            if (!pool.element.isConnected) $("pools").append(pool.element);
            pool.data = one;
            drawPool(pool);
          }
          filter();
        }
        function cells(data) {
          const pool = pools.get(data.pool);
          if (!pool) return;
          pool.letters = data.states;
          pool.cut.hidden = data.total <= data.states.length;
          pool.cut.textContent = "The first " + number.format(data.states.length) + " of " + number.format(data.total) + " are drawn.";
          drawCells(pool);
        }
        function news(list) {
          const rows = list.map((event) => make("tr", { "data-level": event.level },
            make("td", {}, new Date(event.at).toLocaleTimeString("en-GB")), make("td", {}, event.process), make("td", {}, event.level),
            make("td", {}, event.text, make("small", {}, event.facts.map(([name, value]) => " " + name + "=" + value).join("")))));
          $("events").prepend(...rows.reverse());
          while ($("events").rows.length > 200) $("events").lastElementChild.remove();
        }
        function filter() {
          const word = $("filter").value.trim().toLowerCase();
          for (const [name, pool] of pools) pool.element.hidden = !name.toLowerCase().includes(word);
        }
        const themes = ["system", "light", "dark"];
        function theme(name) {
          if (name === "system") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
          $("theme").textContent = "Theme: " + name;
          try { localStorage.setItem("theme", name); } catch { /* a browser that keeps nothing */ }
          redraw();
        }
        function redraw() { readPalette(); for (const pool of pools.values()) drawPool(pool); }

        $("legend").replaceChildren(...states.map((s) => make("li", { className: s }, make("i", { "aria-hidden": "true" }), s + ": " + meaning[s])));
        $("filter").addEventListener("input", filter);
        $("theme").addEventListener("click", () => {
          const now = document.documentElement.dataset.theme || "system";
          theme(themes[(themes.indexOf(now) + 1) % themes.length]);
        });
        document.addEventListener("keydown", (event) => {
          if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
          if (event.key === "/") { event.preventDefault(); $("filter").focus(); }
          if (event.key === "t") $("theme").click();
        });
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
        window.addEventListener("resize", redraw);
        let stored = "system";
        try { stored = localStorage.getItem("theme") || "system"; } catch { /* the same */ }
        theme(themes.includes(stored) ? stored : "system");

        const stream = new EventSource("events");
        stream.addEventListener("status", (event) => status(JSON.parse(event.data)));
        stream.addEventListener("cells", (event) => cells(JSON.parse(event.data)));
        stream.addEventListener("news", (event) => news(JSON.parse(event.data)));
        // What is shown stays; the browser tries again by itself. After it the publisher tells its events anew.
        stream.addEventListener("open", () => $("events").replaceChildren());
        stream.addEventListener("error", () => {
          $("link").dataset.state = "away";
          $("link").textContent = "the publisher is away, trying again";
        });

        """#
}
