"""The last comparisons of a visitor, kept in the browser alone: a click brings one back."""

from __future__ import annotations

import gradio as gr

_KEPT = 10
# A comparison is remembered when its link is there to be copied: once it is complete, and not while blind.
# It takes the place of the one before if only the columns differ: each tick of a box would fill a line.
_REMEMBER = """
const KEY = "rcl-comparisons", fold = element.querySelector("details"), list = fold.querySelector("ol");
let last = "";
function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY)) ?? [];
    return kept.filter(({ link, name }) => typeof name === "string" && /^\\?/.test(link));
  } catch { return []; }
}
function draw() {
  const kept = read().slice(0, LIMIT);
  fold.hidden = !kept.length;
  list.replaceChildren(...kept.map(({ link, name }) => {
    const item = document.createElement("li"), anchor = item.appendChild(document.createElement("a"));
    anchor.href = link;
    anchor.dataset.view = "";
    anchor.textContent = name;
    return item;
  }));
}
function task(link) {
  const query = new URLSearchParams(link);
  query.delete("column");
  return query.toString();
}
function remember() {
  const link = document.querySelector("#panes [data-link]")?.dataset.link;
  if (!link || link === last) return;
  last = link;
  const head = document.querySelector("#panes .answers-to");
  const count = document.querySelectorAll("#panes .pane:not(.reference)").length;
  const family = new URLSearchParams(link).get("family");
  const name = `${head.querySelector("h2").textContent}, ${count} of ${family}`;
  const replaced = (each, at) => each.link === link || (at === 0 && task(each.link) === task(link));
  try {
    const kept = [{ link, name }, ...read().filter((...each) => !replaced(...each))].slice(0, LIMIT);
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch {}
  draw();
}
new MutationObserver(remember).observe(document.body, { childList: true, subtree: true });
draw();
remember();
""".replace("LIMIT", str(_KEPT))


def build() -> None:
    """The list, folded."""
    fold = '<details class="earlier" hidden><summary>Earlier comparisons</summary><ol></ol></details>'
    gr.HTML(fold, js_on_load=_REMEMBER, padding=False)
