// The list of experiments: filters, order, and any two of them compared by date as factor_metrics.mean_test does it.
(function () {
  "use strict";
  var data = JSON.parse(document.getElementById("board-data").textContent);
  var rows = Array.prototype.slice.call(document.querySelectorAll("#board tbody tr"));
  var byId = function (id) { return document.getElementById(id); };
  var label = byId("board-label"), find = byId("board-find"), forecast = byId("board-forecast");
  var chosen = [], dash = "–";

  function number(value, digits) {
    if (value === null || !isFinite(value)) return dash;
    return (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
  }
  function chance(p) { return !isFinite(p) ? dash : p < 0.001 ? "<0.001" : p.toFixed(3); }

  function filter() {
    var words = find.value.toLowerCase().split(/\s+/).filter(Boolean), shown = 0;
    rows.forEach(function (row) {
      var hit = (!forecast.value || row.dataset.name === forecast.value) &&
        words.every(function (word) { return row.textContent.toLowerCase().indexOf(word) >= 0; });
      row.hidden = !hit;
      if (hit) shown += 1;
    });
    byId("board-count").textContent = shown + " of " + rows.length + " shown";
  }
  function scores() {
    rows.forEach(function (row) {
      var one = data.trials[row.dataset.trial].labels[label.value], cells = row.querySelectorAll("[data-score]");
      [number(one ? one.mean : NaN, 4), one && one.low !== null ? "[" + number(one.low, 4) + ", " + number(one.high, 4) + "]" : dash,
        number(one ? one.t : NaN, 1), one ? String(one.dates) : dash].forEach(function (text, place) { cells[place].textContent = text; });
      row.score = one && one.mean !== null ? one.mean : -Infinity;
    });
  }
  function order(byScore) {
    var body = document.querySelector("#board tbody"), sorted = rows.slice();
    sorted.sort(function (a, b) { return byScore ? b.score - a.score : a.dataset.place - b.dataset.place; });
    sorted.forEach(function (row) { body.appendChild(row); });
  }

  // Student's t, two-sided: the regularised incomplete beta function by its continued fraction (Lentz).
  function logGamma(x) {
    var c = [76.18009172947146, -86.50532032941677, 24.01409824083091, -1.231739572450155, 0.1208650973866179e-2, -0.5395239384953e-5];
    var t = x + 5.5, sum = 1.000000000190015;
    t -= (x + 0.5) * Math.log(t);
    for (var j = 0; j < 6; j += 1) sum += c[j] / (x + 1 + j);
    return -t + Math.log(2.5066282746310005 * sum / x);
  }
  function beta(x, a, b) {
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    if (x > (a + 1) / (a + b + 2)) return 1 - beta(1 - x, b, a);
    var front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log(1 - x)) / a;
    var f = 1, c = 1, d = 0, tiny = 1e-300;
    for (var i = 0; i <= 300; i += 1) {
      var m = Math.floor(i / 2), top;
      if (i === 0) top = 1;
      else if (i % 2 === 0) top = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
      else top = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
      d = 1 + top * d; d = 1 / (Math.abs(d) < tiny ? tiny : d);
      c = 1 + top / c; c = Math.abs(c) < tiny ? tiny : c;
      f *= c * d;
      if (Math.abs(1 - c * d) < 1e-12) break;
    }
    return front * (f - 1);
  }
  function meanTest(values, overlap) {
    var n = values.length, mean = values.reduce(function (a, b) { return a + b; }, 0) / n, spread = 0, found;
    found = { mean: mean, low: NaN, high: NaN, p: NaN, dates: n };
    values.forEach(function (value) { spread += (value - mean) * (value - mean); });
    if (n < 5 * overlap || n < 3 || spread <= 1e-24) return found;
    var count = Math.ceil(0.41 * Math.pow(n, 2 / 3) - 1e-12);
    count = Math.max(1, Math.min(count, n - 1, overlap > 1 ? Math.floor(0.6 * n / overlap) : count));
    var power = 0, seen = 0;
    for (var j = 1; j <= count; j += 1) {
      var angle = Math.PI * j / n, sum = 0, share = 1;
      for (var i = 0; i < n; i += 1) sum += values[i] * Math.cos(angle * (i + 0.5));
      power += 2 / n * sum * sum;
      for (var lag = 1; lag < overlap; lag += 1) share += 2 * Math.cos(angle * lag) * (1 - lag / overlap);
      seen += share / overlap;
    }
    var error = Math.sqrt(power / seen / n);
    if (Math.min(n, spread / (n - 1) / (error * error)) < 3) return found;
    var t = mean / error, half = error * data.quantiles[Math.min(count, data.quantiles.length) - 1];
    found.low = mean - half; found.high = mean + half;
    found.p = beta(count / (count + t * t), count / 2, 0.5);
    return found;
  }
  function paired(a, b) {
    var one = data.trials[a].labels[label.value], two = data.trials[b].labels[label.value];
    if (!one || !two) return { why: "one of them has no label " + label.value };
    if (one.overlap !== two.overlap) return { why: "their labels overlap over " + one.overlap + " and " + two.overlap + " dates" };
    var places = {}, dates = [], values = [], sums = [[], []], total = [0, 0];
    data.dates[two.when].forEach(function (date, place) { places[date] = two.values[place]; });
    data.dates[one.when].forEach(function (date, place) {
      var x = one.values[place], y = places[date];
      if (x === null || y === undefined || y === null) return;
      dates.push(date); values.push((y - x) * data.unit);
      total[0] += x * data.unit; total[1] += y * data.unit;
      sums[0].push(total[0]); sums[1].push(total[1]);
    });
    if (!dates.length) return { why: "they have no date in common" };
    return { test: meanTest(values, one.overlap), dates: dates, sums: sums };
  }
  function draw(found) {
    var all = found.sums[0].concat(found.sums[1], [0]), low = Math.min.apply(null, all), high = Math.max.apply(null, all);
    var span = high - low || 1, last = Math.max(found.dates.length - 1, 1);
    return found.sums.map(function (line, which) {
      return '<path class="line ' + (which ? "s0" : "s1") + '" d="M' + line.map(function (value, place) {
        return (1000 * place / last).toFixed(1) + " " + (1000 * (1 - (value - low) / span)).toFixed(1);
      }).join("L") + '"/>';
    }).join("");
  }
  function compare() {
    var said = byId("board-said"), plot = byId("board-plot");
    plot.hidden = true;
    if (chosen.length < 2) { said.textContent = "Tick two rows to compare them."; return; }
    var found = paired(chosen[0], chosen[1]), names = chosen.map(function (key) { return data.trials[key].name; });
    if (found.why) { said.textContent = "Not compared: " + found.why + "."; return; }
    var test = found.test;
    said.textContent = "B " + names[1] + " less A " + names[0] + " at " + label.value + ": " + number(test.mean, 4) + " [" +
      number(test.low, 4) + ", " + number(test.high, 4) + "], p " + chance(test.p) + ", " +
      test.dates + " dates" + (isFinite(test.p) && test.p > 0.05 ? ": no more than chance would make." : ".");
    plot.querySelector("svg").innerHTML = draw(found);
    byId("board-span").textContent = "Running sum of the rank IC of A (thin) and B (thick), " + found.dates[0] + " to " + found.dates[found.dates.length - 1];
    plot.hidden = false;
  }
  function pick(event) {
    var key = event.target.closest("tr").dataset.trial;
    chosen = chosen.filter(function (one) { return one !== key; });
    if (event.target.checked) chosen.push(key);
    while (chosen.length > 2) {
      var gone = chosen.shift();
      rows.forEach(function (row) { if (row.dataset.trial === gone) row.querySelector("input").checked = false; });
    }
    compare();
  }
  rows.forEach(function (row) { row.querySelector("input").addEventListener("change", pick); });
  find.addEventListener("input", filter);
  forecast.addEventListener("change", filter);
  label.addEventListener("change", function () { scores(); compare(); order(byId("board-order").checked); });
  byId("board-order").addEventListener("change", function (event) { order(event.target.checked); });
  scores(); filter(); compare();
})();
