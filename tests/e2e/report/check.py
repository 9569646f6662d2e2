#!/usr/bin/env python3
"""Looks at the HTML report as a browser shows it.

check.py REPORT_DEMO FOLDER: makes the demonstration database and its report in FOLDER, opens the report in headless
Chromium and checks what is on the page. Exit 77, loudly, where there is no Chromium. Leaves FOLDER/report.png to look at.
"""
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIP = 77

# Runs in the page before everything else: what goes wrong is written down.
WATCH = """<script>
window.seen = {errors: [], blocked: [], alerts: 0};
window.addEventListener("error", (e) => seen.errors.push(String(e.message)));
document.addEventListener("securitypolicyviolation", (e) => seen.blocked.push(e.blockedURI));
window.alert = () => { seen.alerts++; };
</script>"""

# Runs after everything else: uses the page as a person would, and writes what it saw into the DOM.
PROBE = """<script>
setTimeout(() => {
  const rows = () => [...document.querySelectorAll("#results tbody tr.case")];
  const cell = (row, i) => row.children[i].textContent;
  const canvas = (id) => {
    const c = document.getElementById(id);
    if (c.hidden || !c.width) return {drawn: false, url: 0, colours: 0};
    const pixels = new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer);
    const blank = document.createElement("canvas");
    blank.width = c.width; blank.height = c.height;
    return {drawn: c.toDataURL() !== blank.toDataURL(), url: c.toDataURL().length, colours: new Set(pixels).size};
  };
  const head = (title) => [...document.querySelectorAll("#results th button")].find((b) => b.textContent.startsWith(title));
  const column = (title) => [...document.querySelectorAll("#results th")].findIndex((h) => h.textContent.startsWith(title));
  const texts = (title) => rows().map((r) => cell(r, column(title)));
  const out = {latency: canvas("latency-chart"), energy: canvas("energy-chart"), rows: rows().length};
  head("p50").click();
  out.p50_up = texts("p50");
  head("p50").click();
  out.p50_down = texts("p50");
  head("Energy").click();
  out.energy_up = texts("Energy");
  rows()[0].click();
  out.detail = document.querySelectorAll("tr.detail").length;
  out.detail_text = document.querySelector("tr.detail").textContent;
  rows()[0].click();
  document.getElementById("history").click();
  out.with_history = rows().length;
  out.problems = document.querySelectorAll("#problems li").length;
  out.last_words = [...document.querySelectorAll("#problems pre")].map((p) => p.textContent);
  out.rankings = [...document.querySelectorAll("#rankings h3")].map((h) => h.textContent);
  out.roofs = document.querySelectorAll("#roofline line[stroke-width]").length;
  out.roofed = [...document.querySelectorAll("#roofline circle title")].map((t) => t.textContent);
  out.training = [...document.querySelectorAll("#training tbody td")].map((c) => c.textContent);
  out.saved = texts("Time, FLOPs saved");
  out.ridges = document.querySelectorAll("#spread path").length;
  const scenario = document.getElementById("scenario");
  scenario.value = "offline";
  scenario.dispatchEvent(new Event("change"));
  out.offline_rows = rows().length;
  out.offline_energy = canvas("energy-chart");
  out.offline_note = document.querySelector("#energy-chart + .none").textContent;
  document.getElementById("theme").click();
  out.theme = document.documentElement.dataset.theme;
  out.body = document.body.innerText.includes("NaN") || document.body.innerText.includes("undefined") || document.body.innerText.includes("[object");
  out.width = document.documentElement.scrollWidth <= window.innerWidth;
  Object.assign(out, window.seen);
  const pre = document.createElement("pre");
  pre.id = "probe";
  pre.textContent = JSON.stringify(out);
  document.body.append(pre);
}, 200);
</script>"""


def browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path:
            return path
    return None


def chromium(path, *arguments):
    with tempfile.TemporaryDirectory() as profile:
        command = [path, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
                   "--window-size=1280,2900", f"--user-data-dir={profile}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def look(path, page, folder):
    """What the probe saw on a page, or None when it never got to the end."""
    page = page.replace("<head>", "<head>" + WATCH, 1)
    end = page.rindex("</body>")
    page = page[:end] + PROBE + page[end:]
    probed = os.path.join(folder, "probed.html")
    with open(probed, "w", encoding="utf-8") as file:
        file.write(page)
    dom = chromium(path, "--virtual-time-budget=5000", "--dump-dom", "file://" + probed)
    found = re.search(r'<pre id="probe">(.*?)</pre>', dom, re.S)
    return json.loads(html.unescape(found.group(1))) if found else None


def little(folder, page):
    """A page that says in its DOM which errors it had."""
    page = page.replace("<head>", "<head>" + WATCH, 1)
    end = page.rindex("</body>")
    tell = """<script>const p = document.createElement("pre"); p.id = "little";
if (document.body.innerText.includes("NaN") || document.body.innerText.includes("Infinity")) seen.errors.push("NaN");
p.textContent = JSON.stringify(seen.errors); document.body.append(p);</script>"""
    path = os.path.join(folder, "little.html")
    with open(path, "w", encoding="utf-8") as file:
        file.write(page[:end] + tell + page[end:])
    return path


def in_ns(text):
    number, unit = text.replace("◆", "").split()
    return float(number) * {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}[unit]


def check(seen):
    """The sentences of what is wrong."""
    wrong = []

    def expect(true, sentence):
        if not true:
            wrong.append(sentence)

    if seen is None:
        return ["the page's script did not come to its end"]
    for chart in ("latency", "energy"):
        expect(seen[chart]["drawn"] and seen[chart]["colours"] > 30, f"the {chart} chart is blank: {seen[chart]}")
    expect(seen["rows"] == 16, f"{seen['rows']} rows instead of 16")
    expect(seen["with_history"] == 17, f"{seen['with_history']} rows with history instead of 17")
    known = [in_ns(text) for text in seen["p50_up"] if text != "–"]
    expect(len(known) == 12 and known == sorted(known), f"not sorted by p50: {seen['p50_up']}")
    expect(seen["p50_up"][-4:] == ["–"] * 4, "unknown latencies are not last")
    falling = [in_ns(text) for text in seen["p50_down"] if text != "–"]
    expect(falling == sorted(known, reverse=True), f"not sorted the other way: {seen['p50_down']}")
    kinds = ["est" in text for text in seen["energy_up"][:11]]
    expect(kinds == [False] * 8 + [True] * 3, f"estimates are mixed with measurements: {seen['energy_up']}")
    expect(all(text.startswith("~") == ("est" in text) for text in seen["energy_up"]), "an estimate without its mark")
    expect(seen["detail"] == 1 and "sha256" in seen["detail_text"], "a row does not open to its provenance")
    expect(seen["problems"] == 5, f"{seen['problems']} cases without a result instead of 5")
    expect(any("</script><script>" in text for text in seen["last_words"]), "last words are not shown as they are")
    expect(seen["rankings"] == ["Measured", "Estimatedest"], f"rankings: {seen['rankings']}")
    expect(seen["training"][5:8] == ["20.5 mJ", "8.78 million", "950 thousand"], f"training is not set against queries: {seen['training']}")
    expect(seen["saved"].count("45.0 % of 50.0 %") == 4 and seen["saved"].count("–") == len(seen["saved"]) - 4, f"savings: {seen['saved']}")
    expect(seen["ridges"] == 11, f"{seen['ridges']} distributions instead of 11")
    expect(seen["roofs"] == 4, f"{seen['roofs']} roofs instead of 4")
    expect(seen["roofed"] and all("cpu ×1" in text for text in seen["roofed"]) and all(re.search(r"[0-9.]+ % of what (fp32|int8|L2|DRAM) allows", text) for text in seen["roofed"]),
           f"no points under the roof: {seen['roofed']}")
    expect(seen["offline_rows"] == 2, f"{seen['offline_rows']} offline rows instead of 2")
    expect(not seen["offline_energy"]["drawn"] and "no sensor" in seen["offline_note"], "no word about a missing sensor")
    expect(seen["theme"] == "dark", "the theme does not change")
    expect(not seen["body"], "NaN, undefined or [object] on the page")
    expect(seen["width"], "the page is wider than its window")
    expect(seen["errors"] == [], f"errors: {seen['errors']}")
    expect(seen["blocked"] == [], f"the page asked for {seen['blocked']}")
    expect(seen["alerts"] == 0, "a row's text was run as a script")
    return wrong


def main():
    demo, folder = sys.argv[1:3]
    path = browser()
    if path is None:
        print("SKIPPED: no Chromium found, the report was NOT looked at (apt install chromium)")
        return SKIP
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    report = os.path.join(folder, "report.html")
    subprocess.run([demo, os.path.join(folder, "demo.db"), report], check=True, stdout=subprocess.DEVNULL)
    with open(report, encoding="utf-8") as file:
        page = file.read()
    wrong = check(look(path, page, folder))
    # The check itself must be able to fail: on a page whose charts draw nothing.
    broken = page.replace("new Chart(canvas, {", "({ destroy() {}, canvas }, {", 1)
    if broken == page or not any("blank" in sentence for sentence in check(look(path, broken, folder))):
        wrong.append("a page without drawn charts was not noticed")
    # Few rows, and none, are no reason to fail.
    for count in (0, 1):
        few = os.path.join(folder, f"few{count}.html")
        subprocess.run([demo, os.path.join(folder, f"few{count}.db"), few, str(count)], check=True,
                       stdout=subprocess.DEVNULL)
        with open(few, encoding="utf-8") as file:
            dom = chromium(path, "--dump-dom", "file://" + little(folder, file.read()))
        if dom.count('<tr class="case"') != count:
            wrong.append(f"the report of {count} rows shows {dom.count('<tr class=%scase%s' % (chr(34), chr(34)))}")
        if '<pre id="little">[]</pre>' not in dom:
            wrong.append(f"the report of {count} rows has errors: {re.findall('<pre id=.little.>.*?</pre>', dom)}")
    chromium(path, f"--screenshot={os.path.join(folder, 'report.png')}", "file://" + os.path.abspath(report))
    for sentence in wrong:
        print("report:", sentence)
    print("report: looks as it should" if not wrong else f"report: {len(wrong)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
