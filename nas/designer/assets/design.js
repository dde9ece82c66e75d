// Sends clicks on values, and what is typed into fields, to the page's callback, and keeps undo, redo and the address.

(function () {
  let count = 0;
  const tell = (children) => {
    const props = { children, className: "verdict over", role: "alert" };
    window.dash_clientside.set_props("message", { children: { type: "P", namespace: "dash_html_components", props } });
  };
  const asked = window.fetch;
  // A server that does not answer is told of on the page.
  window.fetch = async (...request) => {
    try {
      return await asked(...request);
    } catch (error) {
      tell("The program that serves this page does not answer: start it again, then reload. The address keeps the network.");
      throw error;
    }
  };
  const send = (text) => window.dash_clientside.set_props("edit", { data: { text, count: ++count } });

  const refuse = (event) => {
    const [file] = (event.dataTransfer || event.target).files || [];
    if (!file || file.size < 1e6 || !event.target.closest("#file")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    tell(`${file.name} is too large for the JSON file of a network.`);
  };
  document.addEventListener("change", refuse, true);
  document.addEventListener("drop", refuse, true);

  // Where a browser gives a page no clipboard, the text is selected, to be copied by hand.
  const take = async (button, shown) => {
    try {
      await navigator.clipboard.writeText(shown.textContent);
      button.textContent = "copied";
    } catch {
      window.getSelection().selectAllChildren(shown);
    }
  };

  document.addEventListener("click", (event) => {
    const value = event.target.closest("[data-edit]");
    if (value && !value.disabled && value.getAttribute("aria-pressed") !== "true") send(value.dataset.edit);
    const copy = event.target.closest("[data-copy]");
    if (copy) take(copy, document.getElementById(copy.dataset.copy));
  });
  document.addEventListener("change", (event) => {
    const entry = event.target.closest("[data-entry]");
    if (entry) send(`${entry.dataset.entry}=${event.target.value.trim()}`);
  });
  document.addEventListener("keydown", (event) => {
    const typed = event.target.matches("input[type=text], textarea") && event.target.value !== event.target.defaultValue;
    if (!(event.ctrlKey || event.metaKey) || typed) return;
    const wanted = { z: event.shiftKey ? "redo" : "undo", y: "redo" }[event.key.toLowerCase()];
    if (wanted) {
      event.preventDefault();
      document.getElementById(wanted).click();
    }
  });
})();

window.dash_clientside = Object.assign({}, window.dash_clientside, {
  design: {
    // Puts the HTML of each part of the page in its place, and leaves pieces as they are that have not changed; what had
    // the focus has it again.
    show: function (parts) {
      if (!parts) return;
      const focused = document.activeElement.closest("[data-edit], [data-entry]");
      const around = focused && focused.closest(Object.keys(parts).map((id) => `#${id}`).join());
      for (const [id, pieces] of Object.entries(parts)) {
        const place = document.getElementById(id);
        while (place.children.length > pieces.length) place.lastChild.remove();
        while (place.children.length < pieces.length) place.append(document.createElement("div"));
        pieces.forEach((html, index) => {
          const piece = place.children[index];
          if (piece.shown !== html) piece.innerHTML = piece.shown = html;
        });
      }
      if (!around || focused.isConnected) return;
      const { edit, entry } = focused.dataset;
      const again = around.querySelector(edit ? `[data-edit="${edit}"]` : `[data-entry="${entry}"] input`);
      (again || [...around.querySelectorAll("[data-edit]:enabled")].pop())?.focus();
    },
    // Which panels are hidden: all but the open tab's.
    turn: function (tab) {
      return window.dash_clientside.callback_context.outputs_list.map(({ id }) => !id.endsWith(`-${tab}`));
    },
    // The networks so far and the place among them; a new network cuts off what was undone.
    remember: function (network, _undo, _redo, past) {
      const none = window.dash_clientside.no_update;
      if (!network) return [none, none, true, true];
      past = past || { networks: [], at: -1 };
      const clicked = (window.dash_clientside.callback_context.triggered[0] || {}).prop_id || "";
      const step = { "undo.n_clicks": -1, "redo.n_clicks": 1 }[clicked];
      let shown = none;
      if (step) {
        const at = Math.min(Math.max(past.at + step, 0), past.networks.length - 1);
        past = { networks: past.networks, at };
        shown = past.networks[at];
      } else if (past.networks[past.at] !== network) {
        past = { networks: [...past.networks.slice(0, past.at + 1), network].slice(-500) };
        past.at = past.networks.length - 1;
      }
      const address = new URL(window.location);
      address.searchParams.set("network", past.networks[past.at]);
      window.history.replaceState(null, "", address);
      return [past, shown, past.at === 0, past.at === past.networks.length - 1];
    },
  },
});
