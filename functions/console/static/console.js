// Makes pages livelier; every page is whole without it.
"use strict";

// Fetches a page and takes one element out of it; null if that cannot be had now.
async function piece(url, id, signal) {
  try {
    const answer = await fetch(url, { credentials: "same-origin", cache: "no-store", signal });
    if (!answer.ok) return null;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    return page.getElementById(id);
  } catch {
    return null;
  }
}

// A run under way: its picture anew each second, until it has ended; then the whole page once.
async function follow(live) {
  const said = document.getElementById("said");
  let before = "";
  while (live.dataset.ended === "no") {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    if (document.hidden) continue;
    const next = await piece(live.dataset.url, "live");
    if (!next) continue;
    const focused = live.contains(document.activeElement);
    live.replaceWith(next);
    live = next;
    if (focused) live.querySelector("[tabindex]")?.focus({ preventScroll: true });
    // Times change each second; who listens hears of states alone.
    const states = live.dataset.words.replace(/ [0-9][^,]*/g, "");
    if (said && states !== before) said.textContent = before ? states : "";
    before = states;
  }
  const main = await piece(location.href, "main");
  if (main) document.getElementById("main").replaceChildren(...main.childNodes);
}

// A filter that answers while one types; its button and its links do the same without a script.
function filter(form) {
  const target = form.dataset.target;
  let waiting = 0;
  let asked = null;
  async function show(url) {
    asked?.abort();
    asked = new AbortController();
    const mine = asked;
    const next = await piece(url, target, mine.signal);
    if (mine.signal.aborted) return;
    if (!next) return location.assign(url);
    document.getElementById(target).replaceWith(next);
    history.replaceState(null, "", url);
  }
  function address() {
    const given = [...new FormData(form)].filter(([, value]) => value !== "");
    return `${form.action}?${new URLSearchParams(given)}`;
  }
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => show(address()), 150);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    show(address());
  });
}

const live = document.getElementById("live");
if (live && live.dataset.ended === "no") follow(live);
for (const form of document.querySelectorAll("form[data-target]")) filter(form);
