// The page works without this; it adds the label switch, values under the pointer, and lines that can be hidden.
(function () {
  "use strict";
  var data = JSON.parse(document.getElementById("report-data").textContent), charts = data.charts;
  var each = function (selector, act, root) { Array.prototype.forEach.call((root || document).querySelectorAll(selector), act); };

  function text(value, unit) {
    if (value === null) return "–";
    var shown = unit === "share" ? 100 * value : value;
    var digits = unit === "share" ? 2 : 4;
    return (shown > 0 ? "+" : shown < 0 ? "−" : "") + Math.abs(shown).toFixed(digits) + (unit === "share" ? " %" : "");
  }
  function element(tag, content, parent) {
    var made = document.createElement(tag);
    made.textContent = content;
    parent.appendChild(made);
    return made;
  }

  function attach(plot, chart) {
    var cursor, tip, current = -1, names = data.names[chart.names];
    var places = chart.x || names.map(function (_, index) { return names.length > 1 ? index / (names.length - 1) : 0.5; });
    function clear() {
      if (cursor) { cursor.remove(); tip.remove(); cursor = tip = null; }
      current = -1;
    }
    function show(index) {
      clear();
      current = index;
      cursor = element("div", "", plot);
      cursor.className = "cursor";
      cursor.style.left = 100 * places[index] + "%";
      tip = element("div", "", plot);
      tip.className = "tip";
      element("b", names[index].replace("T", " "), tip);
      chart.lines.forEach(function (line, position) {
        var path = plot.querySelector('path[data-line="' + position + '"]');
        if (path && path.classList.contains("off")) return;
        var row = element("div", "", tip);
        element("span", line.name, row);
        element("span", text(line.values[index], chart.unit), row);
      });
      if (places[index] > 0.5) tip.style.right = 100 * (1 - places[index]) + 1.5 + "%";
      else tip.style.left = 100 * places[index] + 1.5 + "%";
    }
    function nearest(event) {
      var box = plot.getBoundingClientRect(), at = (event.clientX - box.left) / box.width, best = -1, least = 2;
      places.forEach(function (x, index) {
        if (x !== null && Math.abs(x - at) < least) { least = Math.abs(x - at); best = index; }
      });
      if (best >= 0 && best !== current) show(best);
    }
    plot.addEventListener("pointermove", nearest);
    plot.addEventListener("pointerdown", nearest);
    plot.addEventListener("pointerleave", clear);
    plot.addEventListener("blur", clear);
    plot.addEventListener("keydown", function (event) {
      var step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      var from = current < 0 ? (step > 0 ? -1 : places.length) : current;
      show(Math.max(0, Math.min(places.length - 1, from + step)));
    });
  }
  each(".plot", function (plot) { if (charts[plot.id]) attach(plot, charts[plot.id]); });

  each(".legend", function (legend) {
    var plot = document.getElementById(legend.dataset.chart);
    each("button", function (button) {
      button.addEventListener("click", function () {
        var off = button.getAttribute("aria-pressed") === "true";
        button.setAttribute("aria-pressed", String(!off));
        plot.querySelector('path[data-line="' + button.dataset.line + '"]').classList.toggle("off", off);
      });
    }, legend);
  });

  function choose(label) {
    each("[data-label]", function (view) { view.hidden = view.dataset.label !== label; });
    each(".labels button", function (button) { button.setAttribute("aria-pressed", String(button.value === label)); });
  }
  each(".labels", function (picker) {
    picker.hidden = false;
    each("button", function (button) { button.addEventListener("click", function () { choose(button.value); }); }, picker);
    choose(picker.querySelector("button").value);
  });

  var box = document.querySelector(".links"), links = box ? box.querySelectorAll("a") : [];
  function here() {
    var found = links[0];
    each(".links a", function (link) {
      var section = document.getElementById(link.getAttribute("href").slice(1));
      if (section && section.getBoundingClientRect().top < 120) found = link;
    });
    each(".links a", function (link) { link.classList.toggle("here", link === found); });
    if (found) box.scrollLeft = found.offsetLeft - box.clientWidth / 2 + found.offsetWidth / 2;
  }
  window.addEventListener("scroll", here, { passive: true });
  here();
})();
