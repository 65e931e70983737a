"""Opens tabs with views: from links between tabs, from the address, and from Back and Forward."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, cast

import gradio as gr

from pipeline.schema import LabError
from ui.callbacks import QUIET, inform
from ui.views import KEYS, TABS, TabName, View, from_query, to_query

Updates = Mapping[Any, Any]
"""New values by component."""

# ``put`` writes a view into the address, beside the parameters that are not the page's: another tab is a new
# entry of the browser's history, another view of the same tab replaces its entry. ``note`` remembers what a
# tab shows, so that a click on the tab leads back to it. The address changes with the click, not when the
# server has answered: ``set`` writes what was picked in a list before that. A link with ``data-view`` opens a
# view without loading the page again. A click on its tab lets Dataset follow Compare to another family, if
# its own is the one that it took from there: ``family`` gives it that one, else the one that it has.
_SCRIPT = """
const tabs = TABS, keys = KEYS, views = {};
const tabOf = (params) => tabs.includes(params.get("tab")) ? params.get("tab") : "compare";
const shows = (tab) => tabOf(new URL(location).searchParams) === tab;
function put(query) {
  const wanted = new URLSearchParams(query), url = new URL(location);
  const same = tabOf(url.searchParams) === tabOf(wanted);
  views[tabOf(wanted)] = query;
  for (const key of keys) url.searchParams.delete(key);
  wanted.forEach((value, key) => url.searchParams.append(key, value));
  if (url.href !== location.href) history[same ? "replaceState" : "pushState"](null, "", url);
  if (!same) scrollTo(0, 0);
}
function note(query) {
  const tab = tabOf(new URLSearchParams(query));
  views[tab] = query;
  if (shows(tab)) put(query);
}
let followed = FAMILY;
const familyOf = (query) => new URLSearchParams(query).get("family");
function entered(tab) {
  const query = new URLSearchParams(views[tab] ?? (tab === "compare" ? "" : `tab=${tab}`));
  if (tab === "dataset" && [null, followed].includes(query.get("family"))) {
    followed = familyOf(views.compare) ?? FAMILY;
    query.set("family", followed);
  }
  return query.toString();
}
const family = (own) => shows("dataset") && familyOf(location.search) === followed ? followed : own;
function set(key, value) {
  const query = new URLSearchParams();
  new URL(location).searchParams.forEach((value, each) => keys.includes(each) && query.append(each, value));
  query.set(key, value);
  put(query.toString());
}
document.addEventListener("click", (event) => {
  const tab = event.target.closest("[role=tab]")?.dataset.tabId;
  if (tabs.includes(tab)) put(entered(tab));
  const link = event.target.closest("a[data-view]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  put(link.search.slice(1));
  trigger("click", { query: link.search });
}, true);  // before Gradio selects the tab
addEventListener("popstate", () => trigger("click", { query: location.search }));
window.labViews = { put, note, set, shows, family };
""".replace("TABS", json.dumps(TABS)).replace("KEYS", json.dumps(KEYS))
# Ends the wait of a page that was opened by a link (``assets/head.html``).
_OPENED = "document.dispatchEvent(new Event('lab-opened'))"


class Navigation:
    """Collects tabs and links while the page is built; ``connect`` then joins them.

    Args:
        tabs: of the page.
        family: the model family that the page opens with.
    """

    def __init__(self, tabs: gr.Tabs, family: str) -> None:
        self.tabs = tabs
        self._family = family
        self._open: dict[TabName, Callable[[View], Updates]] = {}
        self._outputs: list[Any] = [tabs]
        self._links: list[tuple[Callable[..., Any], Callable[..., View], Sequence[Any]]] = []
        self._timers: list[tuple[gr.Tab, gr.Timer]] = []
        self._next: list[tuple[Callable[..., Any], Sequence[Any], Sequence[Any], bool]] = []

    def add_tab(
        self, name: TabName, open_view: Callable[[View], Updates] | None = None, outputs: Sequence[Any] = ()
    ) -> None:
        """Make a tab one that links lead to.

        Args:
            name: its id too.
            open_view: gives new values of components for a view; may raise ``LabError``.
            outputs: all components that it may change.
        """
        self._open[name] = open_view or (lambda _: {})
        self._outputs += outputs

    def add_link(self, event: Callable[..., Any], view: Callable[..., View], inputs: Sequence[Any]) -> None:
        """Open a view when an event happens.

        Args:
            event: a listener, such as a button's ``click``.
            view: makes the view of the inputs' values; may raise ``LabError``.
            inputs: components.
        """
        self._links.append((event, view, inputs))

    def run_in(self, tab: gr.Tab, timer: gr.Timer) -> None:
        """Let a timer, which is not active at first, run only while its tab is shown."""
        self._timers.append((tab, timer))

    def after_opening(
        self,
        callback: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        shows: bool = False,
    ) -> None:
        """Call something once the address is read: what it then sees is the view of the address.

        ``shows`` says that the first tab shows that view only after this call.
        """
        self._next.append((callback, inputs, outputs, shows))

    def address(self) -> gr.Textbox:
        """A component that puts the query of a view into the address, if its tab is the one that is shown."""
        address = gr.Textbox(visible="hidden", container=False)
        address.change(None, address, js="(query) => labViews.note(query)", **QUIET)
        return address

    def connect(self, page: gr.Blocks) -> None:
        """Wire every link, the address that the page was opened with, and Back and Forward."""
        address = gr.Textbox(visible="hidden", container=False)
        with_family = _SCRIPT.replace("FAMILY", json.dumps(self._family))
        script = gr.HTML(js_on_load=with_family, visible="hidden", padding=False)
        outputs = [*self._outputs, address]

        def from_address(request: gr.Request) -> Updates:
            query = str(request.query_params)
            # Without a view nothing may change: the visitor can be in another tab before this answer comes.
            if from_query(query) == (View(), []):
                return {address: ""}
            return self._show_or_warn(query, address)

        def from_history(event: gr.EventData) -> Updates:
            return self._show_or_warn(event.query, address)

        # The history selects tabs too, and then each tab has the event, but not the row of tabs. In the
        # browser: answers of the server to two quick clicks can come in the wrong order. Not before the
        # address is read: the page selects its first tab by itself, with the family that it was made with.
        for owner, timer in self._timers:
            for tab in cast(list[gr.Tab], self.tabs.children):
                active = "!!window.labViews?.opened" if tab is owner else "false"
                tab.select(None, None, timer, js=f"() => ({{__type__: 'update', active: {active}}})", **QUIET)
        for event, view, inputs in self._links:
            opened = event(self._opener(view, address), inputs, outputs, **QUIET)
            opened.success(None, address, js="(query) => labViews.put(query)", **QUIET)
        script.click(from_history, None, outputs, **QUIET)
        opened = page.load(from_address, None, outputs, **QUIET)
        opened.then(None, js=f"() => labViews.shows({json.dumps(TABS[0])}) || {_OPENED}")
        for owner, timer in self._timers:
            shown = f"labViews.opened = true, labViews.shows({json.dumps(owner.id)})"
            opened.then(None, None, timer, js=f"() => ({{__type__: 'update', active: ({shown})}})", **QUIET)
        for callback, inputs, changed, shows in self._next:
            called = opened.then(callback, inputs, changed, **QUIET)
            if shows:
                called.then(None, js=f"() => {_OPENED}")

    def _opener(self, view: Callable[..., View], address: gr.Textbox) -> Callable[..., Updates]:
        @wraps(view)
        def opener(*given: Any) -> Updates:
            return self._show(view(*given), address)

        return opener

    def _show(self, view: View, address: gr.Textbox) -> Updates:
        updates = {} if view == View(view.tab) else self._open[view.tab](view)
        return {**updates, self.tabs: gr.Tabs(selected=view.tab), address: to_query(view)}

    def _show_or_warn(self, query: str, address: gr.Textbox) -> Updates:
        """Open the view of an address; where that is gone, the tab alone, with a word."""
        view, refused = from_query(query)
        if refused:
            inform(f"The address has values that this page does not know: {', '.join(refused)}.")
        try:
            return self._show(view, address)
        except LabError as error:
            inform(str(error))
            return self._show(View(view.tab), address)
