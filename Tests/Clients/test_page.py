"""The status page in a headless Chromium: light and dark, with a keyboard, for a screen reader, at 8,000 endpoints, without a complaint.

With LEASEHOLD_PICTURES=DIRECTORY the pictures are kept there, for people to look at.
"""
import concurrent.futures
import importlib.util
import os
import pathlib
import signal
import time
import unittest

from browser import PROGRAM, Browser
from station import Station

MISSING = "no chromium" if not PROGRAM else "no Python package websockets" if importlib.util.find_spec("websockets") is None else ""
PICTURES = os.environ.get("LEASEHOLD_PICTURES")
READY = "document.querySelectorAll('.pool').length > 0 && document.getElementById('link').dataset.state === 'live'"


def keep(browser, name):
    if PICTURES:
        pathlib.Path(PICTURES).mkdir(parents=True, exist_ok=True)
        browser.picture(f"{PICTURES}/{name}.png")


# Luminance of every cell's colour as it is drawn, so that a picture that is empty or of one colour is noticed.
COLOURS = """(() => { const c = document.querySelector('.cells'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  const seen = new Set(); for (let i = 0; i < d.length; i += 4) if (d[i + 3] === 255) seen.add(d[i] + ',' + d[i + 1] + ',' + d[i + 2]);
  return seen.size; })()"""
# WCAG 2.2, 1.4.3: contrast of text with what is behind it, at least 4.5.
CONTRAST = """(() => { const bright = (text) => { const [r, g, b] = text.match(/[0-9.]+/g).map((x) => { x = x / 255; return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!c.includes('rgba(0, 0, 0, 0)')) return c; } return 'rgb(255,255,255)'; };
  let least = 99, where = '';
  for (const e of document.querySelectorAll('h1,h2,h3,h4,p,dt,dd,b,span,th,td,small,a,li,button,label,summary')) {
    if (!e.textContent.trim() || e.closest('.hidden,.skip') || !e.getClientRects().length) continue;
    const [a, b] = [bright(getComputedStyle(e).color), bright(ground(e))].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least) { least = ratio; where = e.outerHTML.slice(0, 120); } }
  return [least, where]; })()"""


@unittest.skipIf(MISSING, f"{MISSING} (scripts/bootstrap test installs it)")
class PageTests(unittest.TestCase):
    def begin(self, station, **more):
        browser = Browser(**more)
        self.addCleanup(browser.close)
        browser.open(station.publisher + "/")
        browser.wait(READY)
        return browser

    def test_jobs_show_in_light_and_dark_and_nothing_is_complained_of(self):
        station = Station(least=3, most=6)
        self.addCleanup(station.stop)
        browser = self.begin(station)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            calls = [pool.submit(station.get, "/?ms=700", None, station.caller) for _ in range(60)]
            browser.wait("Number(document.querySelectorAll('.sums dd')[1].textContent) > 0 && Number(document.querySelectorAll('.sums dd')[2].textContent) > 0")
            for scheme in ("light", "dark"):
                browser.scheme(scheme)
                browser.wait(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
                browser.wait(COLOURS + " > 0")
                least, where = browser.evaluate(CONTRAST)
                self.assertGreaterEqual(least, 4.5, f"{scheme}: {where}")
                keep(browser, f"jobs-{scheme}")
            self.assertEqual({call.result()[0] for call in calls}, {200})
        browser.wait("[...document.querySelectorAll('#events td')].some((e) => e.textContent.includes('A worker is ready'))")
        self.assertEqual(browser.complaints, [])

    def test_a_screen_reader_and_a_keyboard_reach_everything(self):
        station = Station()
        self.addCleanup(station.stop)
        browser = self.begin(station)
        browser.wait("document.querySelector('.cells').getAttribute('aria-label').includes('free')")
        names = browser.names()
        for expected in [("heading", "Leasehold"), ("heading", "browsers"), ("image", "browsers: 2 free"), ("table", "Waiting jobs of browsers"),
                         ("searchbox", "Filter pools"), ("button", "Theme: system"), ("region", "Last events")]:
            self.assertIn(expected, names)
        self.assertTrue(any(role == "image" and "of the jobs were held" in (name or "") for role, name in names), names)
        # Everything that can be used is reached with Tab, in the order of reading, and shows that it is.
        seen = []
        for _ in range(12):
            browser.press("Tab")
            seen.append(browser.evaluate(
                "(() => { const e = document.activeElement; return (e.id || e.textContent.trim().slice(0, 30)) + '|' + getComputedStyle(e).outlineStyle; })()"))
        for id in ("To the pools", "filter", "theme", "Workers by state, as a table"):
            self.assertIn(id + "|solid", [s.replace("|auto", "|solid") for s in seen])
        browser.evaluate("document.activeElement.blur()")
        browser.press("t")
        browser.wait("document.documentElement.dataset.theme === 'light'")
        browser.press("t")
        browser.wait("document.documentElement.dataset.theme === 'dark'")
        browser.press("/")
        browser.wait("document.activeElement.id === 'filter'")
        browser.press("x")
        browser.press("x")
        browser.wait("document.querySelector('.pool').hidden")
        self.assertEqual(browser.complaints, [])

    def test_what_goes_away_is_said_and_what_comes_back_too(self):
        station = Station()
        self.addCleanup(station.stop)
        browser = self.begin(station)
        os.kill(station.pid("publisher"), signal.SIGKILL)
        # The stream ends, and the browser finds the next one by itself.
        browser.wait("document.getElementById('link').textContent.includes('trying again')")
        browser.wait(READY)
        os.kill(station.pid("dispatcher"), signal.SIGKILL)
        browser.wait("document.getElementById('processes').textContent.includes('1 restart')")
        self.assertTrue(browser.evaluate("document.getElementById('say').getAttribute('aria-live') === 'polite'"))

    def test_eight_thousand_endpoints_are_drawn_and_cost_little(self):
        station = Station(endpoints=8000)
        self.addCleanup(station.stop)
        station.until("the endpoints are known", lambda: station.metric('leasehold_endpoints{pool="browsers",state="free"}') == 8000 - 1143)
        browser = self.begin(station)
        browser.wait("pools.get('browsers').letters !== null && pools.get('browsers').letters.length === 8000")
        browser.wait(COLOURS + " >= 2")
        took = browser.evaluate("(() => { const begin = performance.now(); for (let i = 0; i < 20; i++) drawCells(pools.get('browsers')); return (performance.now() - begin) / 20; })()")
        print(f"page: 8,000 cells are drawn in {took:.1f} ms", flush=True)
        self.assertLess(took, 100)
        for scheme in ("light", "dark"):
            browser.scheme(scheme)
            browser.wait(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
            keep(browser, f"many-{scheme}")
        self.assertEqual(browser.complaints, [])


if __name__ == "__main__":
    unittest.main()
