// Image viewer: one zoom and position for all panes; layers, outlines, figures on hover, and the tools of correction.
// Everything but a correction or a selection happens here, so that looking around never waits for the server.
// Coordinates: the picture sent is `size` px wide and high; what goes to the server is in px of the image, `full`.
export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component;
  const root = parentElement.querySelector(".viewer");
  const part = (name) => root.querySelector(`.${name}`);
  const canvas = root.querySelector("canvas");
  const context = canvas.getContext("2d");
  const tip = part("tip");
  const state = (root._state ??= { zoom: 1, x: 0, y: 0, swipe: 0.5, sets: [], layers: {}, selected: [], points: [] });
  state.data = data;
  const [width, height] = data.size;
  const toFull = data.full[0] / width;
  const ratio = window.devicePixelRatio || 1;
  const um = data.um_per_px ? data.um_per_px * toFull : null; // µm per px of the picture
  const tool = () => part("tool.active")?.dataset.tool ?? "select";

  const load = (source) =>
    new Promise((done, failed) => {
      const image = new Image();
      image.onload = () => done(image);
      image.onerror = failed;
      image.src = source;
    });

  // ---- panes: one picture over all, side by side, or two on both sides of a line that can be dragged ----------------

  const arrangement = () => (data.arrangements.length > 1 ? part("arrangement").value : data.arrangements[0]);
  const columns = () => (arrangement() === "side" ? Math.max(2, data.sets.length) : 1);
  const paneWidth = () => canvas.width / columns();
  const scale = () => (paneWidth() / width) * state.zoom;

  function panes() {
    const sets = state.sets;
    const layer = part("layer").value;
    if (arrangement() === "one") return [{ set: sets[+part("shown").value || 0], layer }];
    if (sets.length > 1) return sets.map((set) => ({ set, layer }));
    return [{ set: sets[0], layer: "" }, { set: sets[0], layer }];
  }

  function draw() {
    if (!state.image) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const all = panes();
    const middle = state.swipe * canvas.width;
    all.slice(0, arrangement() === "swipe" ? 2 : undefined).forEach((pane, i) => {
      const left = arrangement() === "side" ? i * paneWidth() : 0;
      const [from, to] =
        arrangement() === "swipe" ? (i ? [middle, canvas.width] : [0, middle]) : [left, left + paneWidth()];
      context.save();
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.beginPath();
      context.rect(from, 0, to - from, canvas.height);
      context.clip();
      drawPane(pane, left);
      if (all.length > 1 && pane.set?.title) drawTitle(pane.set.title, i && arrangement() === "swipe" ? to : from, i);
      context.restore();
    });
    if (arrangement() !== "one") {
      context.fillStyle = "#fff";
      if (arrangement() === "swipe") context.fillRect(middle - ratio, 0, 2 * ratio, canvas.height);
      else for (let i = 1; i < columns(); i++) context.fillRect(i * paneWidth() - ratio, 0, 2 * ratio, canvas.height);
    }
    if (um) drawScaleBar(scale());
    root.dataset.layer = part("layer").value;
  }

  function drawPane({ set, layer }, left) {
    const s = scale();
    context.setTransform(s, 0, 0, s, left - state.x * s, -state.y * s);
    context.imageSmoothingEnabled = s < 2;
    context.imageSmoothingQuality = "medium";
    context.drawImage(state.image, 0, 0, width, height);
    const shown = state.layers[layer];
    if (shown?.sheet) {
      context.globalAlpha = part("opacity").value / 100;
      context.drawImage(shown.sheet, 0, 0, width, height);
      context.globalAlpha = 1;
    }
    if (set?.fill && part("fill").value > 0) {
      context.globalAlpha = part("fill").value / 100;
      context.drawImage(set.fill, 0, 0, width, height);
      context.globalAlpha = 1;
    }
    if (set?.edges && part("outline").checked) {
      // Where the image is shown small, a line of one of its pixels would fade to dots: it is drawn wider.
      const wide = Math.min(3, Math.max(1, Math.round(ratio / s)));
      for (let i = 0; i < wide * wide; i++) {
        context.drawImage(set.edges, (i % wide) - (wide - 1) / 2, Math.floor(i / wide) - (wide - 1) / 2, width, height);
      }
    }
    if (set?.marked) context.drawImage(set.marked, 0, 0, width, height);
    if (part("tiles").value !== "") drawTiles(data.tiles[+part("tiles").value].boxes, s);
    data.paths.forEach((path) => drawLine(path.points, path.colour, s, true));
    if (state.points.length) drawLine(state.points, "#ff3fd0", s, tool() === "split");
    if (set?.places && part("numbers").checked) drawNumbers(set, s);
  }

  function drawLine(points, colour, s, dots) {
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = (2.5 * ratio) / s;
    context.beginPath();
    if (!dots || tool() !== "split") {
      points.forEach(([y, x]) => context.lineTo(x / toFull, y / toFull));
      context.stroke();
    }
    if (!dots) return;
    (tool() === "split" && state.points === points ? points : [points[0], points.at(-1)]).forEach(([y, x], i) => {
      context.beginPath();
      context.arc(x / toFull, y / toFull, ((i ? 5 : 3) * ratio) / s, 0, 7);
      context.fill();
    });
  }

  function drawTiles(boxes, s) {
    context.strokeStyle = "rgba(0, 230, 255, 0.8)";
    context.lineWidth = ratio / s;
    boxes.forEach(([top, left, bottom, right]) =>
      context.strokeRect(left / toFull, top / toFull, (right - left) / toFull, (bottom - top) / toFull)
    );
  }

  function drawNumbers(set, s) {
    context.font = `${(12 * ratio) / s}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = (3 * ratio) / s;
    set.places.forEach(([x, y, area], id) => {
      if (Math.sqrt(area) * s < 16 * ratio) return;
      context.strokeStyle = "rgba(0,0,0,0.75)";
      context.strokeText(id, x, y);
      context.fillStyle = "#fff";
      context.fillText(id, x, y);
    });
  }

  function drawTitle(words, x, right) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.font = `${13 * ratio}px sans-serif`;
    context.textAlign = arrangement() === "swipe" && right ? "right" : "left";
    context.textBaseline = "alphabetic";
    const away = (context.textAlign === "right" ? -8 : 8) * ratio;
    const long = context.measureText(words).width;
    context.fillStyle = "rgba(20,24,28,0.8)";
    context.fillRect(x + (away > 0 ? 0 : -long - 16 * ratio), 0, long + 16 * ratio, 24 * ratio);
    context.fillStyle = "#fff";
    context.fillText(words, x + away, 16 * ratio);
    context.textAlign = "left";
  }

  function drawScaleBar(s) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    const target = ((paneWidth() / s) * um) / 5;
    const power = 10 ** Math.floor(Math.log10(target));
    const length = [5, 2, 1].map((m) => m * power).find((l) => l <= target) ?? power;
    const pixels = (length / um) * s;
    const words = length >= 1000 ? `${length / 1000} mm` : `${+length.toPrecision(3)} µm`;
    const [x, y] = [14 * ratio, canvas.height - 16 * ratio];
    context.fillStyle = "rgba(255,255,255,0.85)";
    context.fillRect(x - 6 * ratio, y - 24 * ratio, Math.max(pixels, 60 * ratio) + 12 * ratio, 34 * ratio);
    context.fillStyle = "#000";
    context.fillRect(x, y, pixels, 4 * ratio);
    context.font = `${13 * ratio}px sans-serif`;
    context.textAlign = "left";
    context.textBaseline = "alphabetic";
    context.fillText(words, x, y - 7 * ratio);
  }

  // ---- crystals and layers -------------------------------------------------------------------------------------------

  function raw(image, w, h) {
    const pen = new OffscreenCanvas(w, h).getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0);
    return pen.getImageData(0, 0, w, h).data;
  }

  function sheetOf(w, h, colour) {
    const sheet = new OffscreenCanvas(w, h);
    const pen = sheet.getContext("2d");
    const picture = pen.createImageData(w, h);
    const words = new Uint32Array(picture.data.buffer);
    for (let i = 0; i < words.length; i++) words[i] = colour(i);
    pen.putImageData(picture, 0, 0);
    return sheet;
  }

  // Crystal numbers come as the colours of a PNG: id = r + 256 g + 65536 b.
  function readSet(set, image) {
    const bytes = raw(image, width, height);
    const ids = new Uint32Array(width * height);
    const sums = new Map();
    let sum, last = 0;
    for (let i = 0; i < ids.length; i++) {
      const id = (ids[i] = bytes[4 * i] | (bytes[4 * i + 1] << 8) | (bytes[4 * i + 2] << 16));
      if (!id) continue;
      if (id !== last) {
        last = id;
        sum = sums.get(id);
        if (!sum) sums.set(id, (sum = [0, 0, 0]));
      }
      sum[0] += i % width;
      sum[1] += (i / width) | 0;
      sum[2]++;
    }
    set.ids = ids;
    set.places = new Map([...sums].map(([id, [x, y, n]]) => [id, [x / n, y / n, n]]));
    const edge = (i) => {
      const id = ids[i];
      const x = i % width;
      return (
        id &&
        ((x > 0 && ids[i - 1] !== id) ||
          (x < width - 1 && ids[i + 1] !== id) ||
          (i >= width && ids[i - width] !== id) ||
          (i < ids.length - width && ids[i + width] !== id))
      );
    };
    set.edge = edge;
    set.fill = sheetOf(width, height, (i) => {
      const c = ids[i] && set.colours[ids[i]];
      return c ? (255 << 24) | (c[2] << 16) | (c[1] << 8) | c[0] : 0;
    });
    set.edges = sheetOf(width, height, (i) => (edge(i) ? 0xff0ad6ff : 0));
    mark();
  }

  function mark() {
    for (const set of state.sets) {
      const chosen = new Set(set.places ? state.selected.filter((id) => set.places.has(id)) : []);
      set.marked = chosen.size
        ? sheetOf(width, height, (i) => (chosen.has(set.ids[i]) ? (set.edge(i) ? 0xffffffff : 0x66ffffff) : 0))
        : null;
    }
    root.dataset.selected = state.selected.join(",");
  }

  // A foreground layer holds the logit from -6 to 6 as 0 to 255: what lies above the threshold is coloured here.
  function recolour(layer) {
    if (!layer.level) return;
    const limit = ((+part("threshold").value + 6) / 12) * 255;
    const [w, h] = layer.extent;
    layer.sheet = sheetOf(w, h, (i) => {
      const v = layer.level[4 * i];
      return v > limit ? (255 << 24) | (20 << 16) | ((90 + v / 2) << 8) | 230 : (255 << 24) | ((60 + v / 3) << 16) | (v / 3 << 8) | 0;
    });
  }

  async function showLayer() {
    const chosen = data.layers.find((l) => l.name === part("layer").value);
    part("threshold-box").hidden = chosen?.kind !== "foreground";
    part("opacity-box").hidden = !chosen;
    legend(chosen);
    if (chosen && state.layers[chosen.name]?.url !== chosen.url) {
      const image = await load(chosen.url).catch(() => null);
      if (!image) return draw(); // gone with a state that the page has left; the next update brings it
      const layer = { url: chosen.url, sheet: image, extent: [image.width, image.height] };
      if (chosen.kind === "foreground") layer.level = raw(image, image.width, image.height);
      state.layers[chosen.name] = layer;
    }
    if (chosen) recolour(state.layers[chosen.name]);
    draw();
  }

  function legend(layer) {
    const box = part("legend");
    box.replaceChildren();
    if (!layer) return;
    if (layer.wheel) box.append(Object.assign(new Image(), { src: layer.wheel, width: 56, alt: "colour wheel of directions" }));
    for (const [colour, words] of layer.legend) {
      const key = Object.assign(document.createElement("span"), { className: "key" });
      key.style.background = `rgb(${colour})`;
      const entry = Object.assign(document.createElement("span"), { className: "entry" });
      entry.append(key, words);
      box.append(entry);
    }
    box.append(layer.note);
  }

  // ---- mouse, fingers and keys -----------------------------------------------------------------------------------------

  function place(event) {
    const box = canvas.getBoundingClientRect();
    const px = ((event.clientX - box.left) * canvas.width) / box.width;
    const py = ((event.clientY - box.top) * canvas.height) / box.height;
    const pane = arrangement() === "side" ? Math.min(columns() - 1, Math.max(0, Math.floor(px / paneWidth()))) : 0;
    const s = scale();
    return { x: (px - pane * paneWidth()) / s + state.x, y: py / s + state.y, px, pane };
  }

  function setAt({ px, pane }) {
    const all = panes();
    return arrangement() === "swipe" ? all[px < state.swipe * canvas.width ? 0 : 1]?.set : all[pane]?.set;
  }

  function idAt(set, { x, y }) {
    if (!set?.ids || x < 0 || y < 0 || x >= width || y >= height) return 0;
    return set.ids[Math.floor(y) * width + Math.floor(x)];
  }

  function zoomAt({ x, y }, factor) {
    const before = state.zoom;
    state.zoom = Math.min(40, Math.max(1, state.zoom * factor));
    state.x = x - (x - state.x) * (before / state.zoom);
    state.y = y - (y - state.y) * (before / state.zoom);
    clamp();
    draw();
  }

  function clamp() {
    const s = scale();
    state.x = Math.min(Math.max(state.x, 0), Math.max(0, width - paneWidth() / s));
    state.y = Math.min(Math.max(state.y, 0), Math.max(0, height - canvas.height / s));
  }

  const full = ({ x, y }) => [y * toFull, x * toFull];

  function ask(kind, more = {}) {
    if (!data.tools.length) return;
    state.points = [];
    setTriggerValue("edit", { kind, ids: state.selected, points: [], mark: "crystal", ...more });
  }

  function choose(name) {
    root.querySelectorAll(".tool[data-tool]").forEach((b) => {
      b.classList.toggle("active", b.dataset.tool === name);
      b.setAttribute("aria-pressed", b.dataset.tool === name);
    });
    state.points = [];
    draw();
  }

  function click(where, event) {
    const id = idAt(setAt(where), where);
    const name = tool();
    if (name === "split") {
      if (!id && !state.points.length) return;
      if (!state.points.length) select([id]);
      state.points.push(full(where));
      if (state.points.length === 2) ask("split", { points: state.points });
      else draw();
    } else if (name === "join") ask("join", { ids: [], points: [full(where)] });
    else if (name === "add") ask("add", { ids: [], points: [full(where)] });
    else if (name === "select") {
      const more = event.shiftKey || event.ctrlKey || event.metaKey;
      const has = state.selected.includes(id);
      select(more && data.many ? (has ? state.selected.filter((n) => n !== id) : [...state.selected, id]) : has && state.selected.length === 1 ? [] : [id]);
      if (data.reports) setStateValue("selected", { ids: state.selected, point: full(where) });
    }
  }

  function select(ids) {
    state.selected = ids.filter(Boolean);
    mark();
    draw();
  }

  let drag = null;
  canvas.onpointerdown = (event) => {
    canvas.focus({ preventScroll: true });
    const at = place(event);
    const divider = arrangement() === "swipe" && Math.abs(at.px - state.swipe * canvas.width) < 12 * ratio;
    const drawing = ["cut", "lasso"].includes(tool()) && event.button === 0;
    drag = { at, moved: false, divider, drawing };
    if (drawing) state.points = [full(at)];
    canvas.setPointerCapture(event.pointerId);
  };
  canvas.onpointermove = (event) => {
    const now = place(event);
    part("where").textContent =
      `x ${Math.round(now.x * toFull)}, y ${Math.round(now.y * toFull)} px` +
      (um ? ` · ${(now.x * um).toPrecision(4)}, ${(now.y * um).toPrecision(4)} µm` : "");
    if (drag?.divider) {
      state.swipe = Math.min(0.98, Math.max(0.02, now.px / canvas.width));
      draw();
      return;
    }
    if (drag) {
      if (Math.hypot(now.x - drag.at.x, now.y - drag.at.y) * scale() > 4 * ratio) drag.moved = true;
      if (drag.drawing) {
        state.points.push(full(now));
        draw();
        return;
      }
      if (drag.moved) {
        state.x += drag.at.x - now.x;
        state.y += drag.at.y - now.y;
        clamp();
        draw();
      }
    }
    const set = setAt(now);
    const id = idAt(set, now);
    tip.hidden = !id || !set.tips[id];
    if (tip.hidden) return;
    const box = root.getBoundingClientRect();
    tip.replaceChildren(...set.tips[id].map((line) => Object.assign(document.createElement("div"), { textContent: line })));
    tip.style.left = `${Math.min(event.clientX - box.left + 14, box.width - 190)}px`;
    tip.style.top = `${event.clientY - box.top + 14}px`;
  };
  canvas.onpointerup = (event) => {
    if (drag?.drawing) {
      const points = state.points;
      if (drag.moved && tool() === "cut") {
        // the crystal under the middle of the line, unless one is chosen
        const [y, x] = points[points.length >> 1];
        const under = idAt(setAt(drag.at), { x: x / toFull, y: y / toFull });
        ask("cut", { points, ids: under ? [under] : state.selected.slice(0, 1) });
      } else if (drag.moved) ask("redraw", { points, ids: state.selected.slice(0, 1) });
      state.points = [];
      draw();
    } else if (drag && !drag.moved && !drag.divider) click(place(event), event);
    drag = null;
  };
  canvas.onpointerleave = () => (tip.hidden = true);
  canvas.onwheel = (event) => {
    event.preventDefault();
    zoomAt(place(event), event.deltaY < 0 ? 1.25 : 0.8);
  };
  canvas.ondblclick = () => tool() === "select" && reset();
  canvas.onkeydown = (event) => {
    const s = scale();
    const middle = { x: state.x + paneWidth() / s / 2, y: state.y + canvas.height / s / 2 };
    const step = paneWidth() / s / 8;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const button = data.tools.length && root.querySelector(`.tool[data-key="${CSS.escape(key)}"]`);
    if (key === "+") zoomAt(middle, 1.25);
    else if (key === "-") zoomAt(middle, 0.8);
    else if (key === "0") reset();
    else if (key === "Escape") {
      state.points = [];
      select([]);
    } else if ((event.ctrlKey || event.metaKey) && key === "z") ask(event.shiftKey ? "redo" : "undo");
    else if (moves[key]) {
      state.x += moves[key][0];
      state.y += moves[key][1];
      clamp();
      draw();
    } else if (button && !event.ctrlKey && !event.metaKey && !event.altKey) button.click();
    else return;
    event.preventDefault();
  };

  root.querySelectorAll(".tool[data-tool]").forEach((b) => (b.onclick = () => choose(b.dataset.tool)));
  root.querySelectorAll(".tool[data-ask]").forEach((b) => (b.onclick = () => ask(b.dataset.ask, b.dataset.mark ? { mark: b.dataset.mark } : {})));
  ["outline", "numbers", "tiles", "shown"].forEach((name) => (part(name).onchange = draw));
  ["fill", "opacity"].forEach((name) => (part(name).oninput = draw));
  part("layer").onchange = showLayer;
  part("arrangement").onchange = () => {
    part("shown").hidden = data.sets.length < 2 || arrangement() !== "one";
    resize();
  };
  part("threshold").oninput = () => {
    part("threshold-value").textContent = (+part("threshold").value).toFixed(1);
    recolour(state.layers[part("layer").value]);
    draw();
  };
  part("reset").onclick = reset;

  function reset() {
    Object.assign(state, { zoom: 1, x: 0, y: 0 });
    draw();
  }

  function resize() {
    const room = root.clientWidth || 800;
    // tall images are limited by the window, wide ones by the column
    const shown = Math.min(room, (window.innerHeight * 0.72 * width * columns()) / height);
    canvas.style.width = `${shown}px`;
    canvas.style.height = `${(shown / columns() / width) * height}px`;
    canvas.width = Math.round(shown * ratio);
    canvas.height = Math.round((shown / columns() / width) * height * ratio);
    clamp();
    draw();
  }

  // ---- what changed since the last time ---------------------------------------------------------------------------------

  function options(select, entries) {
    const now = select.value;
    const text = JSON.stringify(entries);
    if (select.dataset.entries === text) return;
    select.dataset.entries = text;
    select.replaceChildren(...entries.map(([value, words]) => new Option(words, value)));
    select.value = entries.some(([value]) => value === now) ? now : entries[0]?.[0] ?? "";
  }

  options(part("layer"), [["", "no layer"], ...data.layers.map((l) => [l.name, l.name])]);
  if (data.layer !== state.asked) {
    state.asked = data.layer;
    if (data.layers.some((l) => l.name === data.layer)) part("layer").value = data.layer;
  }
  options(part("tiles"), [["", "no tiles"], ...data.tiles.map((t, i) => [`${i}`, t.name])]);
  options(part("arrangement"), data.arrangements.map((a) => [a, { one: "one view", side: "side by side", swipe: "swipe" }[a]]));
  options(part("shown"), data.sets.map((set, i) => [`${i}`, set.title]));
  part("layer-box").hidden = !data.layers.length;
  part("tiles").hidden = !data.tiles.length;
  part("arrangement").hidden = data.arrangements.length < 2;
  part("shown").hidden = data.sets.length < 2 || arrangement() !== "one";
  part("crystal-box").hidden = !data.sets.length;
  part("toolbox").hidden = !data.tools.length;
  root.querySelectorAll(".tool").forEach((b) => (b.hidden = !data.tools.includes(b.dataset.tool ?? b.dataset.ask)));
  const watch = new ResizeObserver(resize);
  watch.observe(root);
  const jobs = [];
  // A file that is gone belongs to a state that the page has left meanwhile: the next update brings the present one.
  let gone = false;
  const again = (forget) => () => {
    forget();
    gone = true;
  };
  if (state.picture !== data.picture) {
    state.picture = data.picture;
    Object.assign(state, { zoom: 1, x: 0, y: 0, selected: [], points: [], layers: {} });
    jobs.push(load(data.image).then((image) => (state.image = image), again(() => (state.picture = null))));
  }
  data.sets.forEach((set, i) => {
    if (state.sets[i]?.version === set.version) {
      Object.assign(state.sets[i], { title: set.title });
      return;
    }
    const colours = {};
    const tips = {};
    set.names.forEach((id, k) => ((colours[id] = set.colours[k]), (tips[id] = set.tips[k])));
    const made = { ...state.sets[i], title: set.title, version: set.version, colours, tips };
    state.sets[i] = made;
    jobs.push(load(set.ids).then((image) => readSet(made, image), again(() => (made.version = null))));
  });
  state.sets.length = data.sets.length;
  if (data.focus && data.focus.token !== state.focus) {
    state.focus = data.focus.token;
    state.goTo = data.focus;
  }
  if (data.picked && data.picked.token !== state.picked) {
    state.picked = data.picked.token;
    select(data.picked.ids);
  }
  Promise.all(jobs).then(async () => {
    if (gone) return;
    if (state.goTo) {
      const { id, box } = state.goTo;
      state.goTo = null;
      const [top, left, bottom, right] = box.map((v) => v / toFull);
      state.zoom = Math.min(12, Math.max(1, Math.min(width / (right - left), height / (bottom - top)) / 4));
      const s = scale();
      state.x = (left + right) / 2 - paneWidth() / s / 2;
      state.y = (top + bottom) / 2 - canvas.height / s / 2;
      clamp();
      state.selected = [id];
    }
    state.selected = state.selected.filter((id) => !state.sets[0]?.places || state.sets[0].places.has(id));
    mark();
    await showLayer();
    resize();
    root.dataset.ready = data.sets.map((set) => set.version).join(" ") || data.picture;
  });
  return () => watch.disconnect();
}
