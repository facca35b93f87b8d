"use strict";
// Search in the browser: the data is loaded when the search field is first used, and stays on this machine.
(() => {
  const LEVELS = ["sure", "fair", "unsure", "unknown", "stale", "failed", "none"];
  const SHOWN = 40;
  const root = document.currentScript.dataset.root;
  const form = document.querySelector(".search");
  const input = document.getElementById("query");
  const found = document.getElementById("found");
  const count = document.getElementById("count");
  const list = document.getElementById("results");
  const rows = [];
  let waiting = null;  // shards that are not loaded yet; null before the first use
  let failed = false;

  const wordsOf = (text) => text.replace(/([a-z0-9])([A-Z])/g, "$1 $2").toLowerCase().split(/[^\p{L}\p{N}]+/u).join(" ");

  const script = (name) => {
    const element = document.createElement("script");
    element.src = `${root}assets/search/${name}`;
    element.onerror = () => { failed = true; show(); };
    document.head.append(element);
  };

  window.dobbySite = {
    load(json) {
      const names = JSON.parse(json);
      waiting = names.length;
      names.forEach(script);
    },
    add(json) {
      for (const [path, records] of JSON.parse(json)) {
        for (const [name, summary, kind, level, anchor, place] of records) {
          const plain = name.toLowerCase();
          rows.push({ path, name, summary, kind, level, anchor, place, plain, names: ` ${wordsOf(name)} ${plain} `, text: ` ${wordsOf(summary)} ${wordsOf(place)} ` });
        }
      }
      waiting -= 1;
      if (waiting === 0) show();
    },
  };

  const STOP = new Set("a an and are as at be by do does for from how i in is it of on or that the this to what where which with".split(" "));
  const ENDING = /(?<=\p{L}{3})(?:ing|ed|es|s|e)$/u;

  // The words to look for, without those that say nothing, unless there are no others; each with its stem.
  const wanted = (text) => {
    const all = [...new Set(wordsOf(text).split(" ").filter(Boolean))];
    const telling = all.filter((word) => !STOP.has(word));
    return (telling.length ? telling : all).map((word) => [word, word.replace(ENDING, "")]);
  };

  const valueOf = (row, word, stem) =>
    row.names.includes(` ${word} `) ? 12 : row.names.includes(` ${word}`) ? 8
      : row.text.includes(` ${word} `) ? 5 : row.text.includes(` ${word}`) ? 3
      : row.names.includes(` ${stem}`) ? 2.5 : row.text.includes(` ${stem}`) ? 2 : 0;

  // More words before fewer, but at least half of them; whole words before beginnings, names before summaries.
  const score = (row, words, query) => {
    let sum = row.plain === query ? 50 : row.plain.startsWith(query) ? 15 : 0;
    let there = 0;
    for (const [word, stem] of words) {
      const value = valueOf(row, word, stem);
      if (value > 0) there += 1;
      sum += value;
    }
    if (there * 2 < words.length || there === 0) return 0;
    if (words.length > 1 && row.names.includes(` ${words.map(([word]) => word).join(" ")}`)) sum += 10;
    return 100 * there + sum - row.level / 4 - Math.min(row.name.length, 80) / 80;
  };

  const element = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };

  const result = (row) => {
    const link = element("a");
    link.href = `${root}${row.path}${row.anchor ? `#${row.anchor}` : ""}`;
    const name = element("b", row.name);
    name.dir = "auto";
    name.append(" ", element("span", row.kind));
    const summary = element("p", row.summary);
    summary.dir = "auto";
    link.append(element("span", "", `mark ${LEVELS[row.level]}`), name, summary, element("p", row.place, "where"));
    const item = element("li");
    item.append(link);
    return item;
  };

  const show = () => {
    const query = input.value.trim().toLowerCase();
    found.hidden = query === "";
    if (query === "") return;
    if (failed || waiting !== 0) {
      count.textContent = failed ? "The search data can't be loaded." : "Loading…";
      list.replaceChildren();
      return;
    }
    const words = wanted(input.value);
    const matches = [];
    if (words.length) {
      for (const row of rows) {
        const value = score(row, words, query);
        if (value > 0) matches.push([value, row]);
      }
    }
    matches.sort((one, other) => other[0] - one[0]);
    const shown = matches.slice(0, SHOWN);
    list.replaceChildren(...shown.map(([, row]) => result(row)));
    count.textContent = matches.length === 0 ? "Nothing found" : matches.length === 1 ? "1 result"
      : `${matches.length.toLocaleString("en")} results${matches.length > SHOWN ? `, the first ${SHOWN} of them` : ""}`;
  };

  const start = () => {
    if (waiting === null) {
      waiting = -1;
      script("shards.js");
    }
  };

  const move = (step) => {
    const links = [...list.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement) + step;
    if (at < 0) input.focus();
    else links[Math.min(at, links.length - 1)]?.focus();
  };

  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    list.querySelector("a")?.click();
  });
  input.addEventListener("focus", start);
  input.addEventListener("input", () => { start(); show(); });
  form.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === "Escape") {
      input.value = "";
      show();
      input.focus();
    }
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(input|textarea|select)$/i.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
    }
  });
  document.addEventListener("click", (event) => { if (!form.contains(event.target)) found.hidden = true; });
  input.addEventListener("click", show);
})();
