/// The files of the status page, served as they stand here.
enum PageFiles {
    static let document = #"""
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>Leasehold</title>
        <link rel="stylesheet" href="page.css">
        <script src="page.js" defer></script>
        </head>
        <body>
        <a class="skip" href="#pools">To the pools</a>
        <header>
          <h1>Leasehold</h1>
          <p id="link" class="badge" role="status">connecting</p>
          <dl id="sums" class="sums"></dl>
          <div class="tools">
            <label for="filter">Filter pools</label>
            <input id="filter" type="search" autocomplete="off" spellcheck="false" aria-keyshortcuts="/">
            <button id="theme" type="button" aria-keyshortcuts="t">Theme: system</button>
          </div>
        </header>
        <p id="say" class="hidden" role="status" aria-live="polite"></p>
        <main>
          <section aria-labelledby="processes-title">
            <h2 id="processes-title">Processes</h2>
            <ul id="processes" class="processes"></ul>
          </section>
          <section aria-labelledby="legend-title">
            <h2 id="legend-title" class="hidden">Legend</h2>
            <ul id="legend" class="legend"></ul>
          </section>
          <section id="pools" tabindex="-1" aria-labelledby="pools-title">
            <h2 id="pools-title">Pools</h2>
            <p id="nothing" hidden>Nothing is known yet.</p>
          </section>
          <section aria-labelledby="events-title">
            <h2 id="events-title">Last events</h2>
            <div class="scroll" role="region" aria-labelledby="events-title" tabindex="0">
              <table class="events">
                <thead><tr><th scope="col">Time</th><th scope="col">Process</th><th scope="col">Level</th><th scope="col">What</th></tr></thead>
                <tbody id="events"></tbody>
              </table>
            </div>
          </section>
        </main>
        <footer><p>Keys: <kbd>/</kbd> filter, <kbd>t</kbd> theme. The same as JSON: <a href="statusz">statusz</a>; for scrapers: <a href="metrics">metrics</a>; <a href="readyz">readyz</a>. <span id="version"></span></p></footer>
        <noscript><p>This page needs its script. The same is at <a href="statusz">statusz</a>.</p></noscript>
        </body>
        </html>

        """#
}
