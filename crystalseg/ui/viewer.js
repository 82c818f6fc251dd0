// Image viewer: zoom, pan, outlines, fill by size, figures on hover, click to select, scale bar.
// Everything but a selection happens here, so that looking around never waits for the server.
export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector(".viewer");
  const canvas = root.querySelector("canvas");
  const context = canvas.getContext("2d");
  const tip = root.querySelector(".tip");
  const outline = root.querySelector(".outline");
  const fill = root.querySelector(".fill");
  const state = (root._state ??= { zoom: 1, x: 0, y: 0, selected: 0 });
  const [width, height] = data.size;

  const load = (source) =>
    new Promise((done) => {
      const image = new Image();
      image.onload = () => done(image);
      image.src = source;
    });

  function scale() {
    return (canvas.width / width) * state.zoom;
  }

  function draw() {
    const s = scale();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(s, 0, 0, s, -state.x * s, -state.y * s);
    context.imageSmoothingEnabled = s < 2;
    if (state.image) context.drawImage(state.image, 0, 0, width, height);
    if (state.fill && fill.value > 0) {
      context.globalAlpha = fill.value / 100;
      context.drawImage(state.fill, 0, 0, width, height);
      context.globalAlpha = 1;
    }
    if (state.edges && outline.checked) context.drawImage(state.edges, 0, 0, width, height);
    if (state.marked && state.selected) context.drawImage(state.marked, 0, 0, width, height);
    context.setTransform(1, 0, 0, 1, 0, 0);
    if (data.um_per_px) drawScaleBar(s);
  }

  function drawScaleBar(s) {
    const target = (canvas.width / s) * data.um_per_px / 5;
    const power = 10 ** Math.floor(Math.log10(target));
    const length = [5, 2, 1].map((m) => m * power).find((l) => l <= target) ?? power;
    const pixels = (length / data.um_per_px) * s;
    const ratio = window.devicePixelRatio || 1;
    const words = length >= 1000 ? `${length / 1000} mm` : `${+length.toPrecision(3)} µm`;
    const [x, y] = [14 * ratio, canvas.height - 16 * ratio];
    context.fillStyle = "rgba(255,255,255,0.85)";
    context.fillRect(x - 6 * ratio, y - 24 * ratio, Math.max(pixels, 60 * ratio) + 12 * ratio, 34 * ratio);
    context.fillStyle = "#000";
    context.fillRect(x, y, pixels, 4 * ratio);
    context.font = `${13 * ratio}px sans-serif`;
    context.fillText(words, x, y - 7 * ratio);
  }

  // Crystal numbers come as the colours of a PNG: id = r + 256 g + 65536 b.
  function readIds(image) {
    const sheet = new OffscreenCanvas(width, height);
    const pen = sheet.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0);
    const raw = pen.getImageData(0, 0, width, height).data;
    const ids = new Uint32Array(width * height);
    for (let i = 0; i < ids.length; i++) ids[i] = raw[4 * i] | (raw[4 * i + 1] << 8) | (raw[4 * i + 2] << 16);
    state.ids = ids;
  }

  function sheetOf(colour) {
    const sheet = new OffscreenCanvas(width, height);
    const pen = sheet.getContext("2d");
    const picture = pen.createImageData(width, height);
    const words = new Uint32Array(picture.data.buffer);
    for (let i = 0; i < words.length; i++) words[i] = colour(i);
    pen.putImageData(picture, 0, 0);
    return sheet;
  }

  function isEdge(i) {
    const id = state.ids[i];
    if (!id) return false;
    const x = i % width;
    return (
      (x > 0 && state.ids[i - 1] !== id) ||
      (x < width - 1 && state.ids[i + 1] !== id) ||
      state.ids[i - width] !== id && i >= width ||
      state.ids[i + width] !== id && i < state.ids.length - width
    );
  }

  function buildSheets() {
    const colours = new Uint32Array(data.colours.length + 1);
    data.colours.forEach(([r, g, b], i) => (colours[i + 1] = (255 << 24) | (b << 16) | (g << 8) | r));
    state.fill = sheetOf((i) => (state.ids[i] ? colours[state.ids[i]] : 0));
    state.edges = sheetOf((i) => (isEdge(i) ? 0xff0ad6ff : 0));
    mark(state.selected);
  }

  function mark(id) {
    state.selected = id;
    state.marked = id && state.ids ? sheetOf((i) => (state.ids[i] === id ? (isEdge(i) ? 0xffffffff : 0x66ffffff) : 0)) : null;
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    const s = scale() / (canvas.width / box.width);
    return [(event.clientX - box.left) / s + state.x, (event.clientY - box.top) / s + state.y];
  }

  function idAt([x, y]) {
    if (!state.ids || x < 0 || y < 0 || x >= width || y >= height) return 0;
    return state.ids[Math.floor(y) * width + Math.floor(x)];
  }

  function zoomAt([x, y], factor) {
    const before = state.zoom;
    state.zoom = Math.min(40, Math.max(1, state.zoom * factor));
    state.x = x - (x - state.x) * (before / state.zoom);
    state.y = y - (y - state.y) * (before / state.zoom);
    clamp();
    draw();
  }

  function clamp() {
    const s = scale();
    state.x = Math.min(Math.max(state.x, 0), Math.max(0, width - canvas.width / s));
    state.y = Math.min(Math.max(state.y, 0), Math.max(0, height - canvas.height / s));
  }

  let drag = null;
  canvas.onpointerdown = (event) => {
    drag = { at: place(event), moved: false };
    canvas.setPointerCapture(event.pointerId);
  };
  canvas.onpointermove = (event) => {
    const now = place(event);
    if (drag) {
      if (Math.hypot(now[0] - drag.at[0], now[1] - drag.at[1]) * scale() > 4) drag.moved = true;
      if (drag.moved) {
        state.x += drag.at[0] - now[0];
        state.y += drag.at[1] - now[1];
        clamp();
        draw();
      }
    }
    const id = idAt(now);
    tip.hidden = !id;
    if (!id) return;
    const box = root.getBoundingClientRect();
    tip.replaceChildren(...data.tips[id - 1].map((line) => Object.assign(document.createElement("div"), { textContent: line })));
    tip.style.left = `${Math.min(event.clientX - box.left + 14, box.width - 190)}px`;
    tip.style.top = `${event.clientY - box.top + 14}px`;
  };
  canvas.onpointerup = (event) => {
    if (drag && !drag.moved && data.colours.length) {
      const id = idAt(place(event));
      mark(id === state.selected ? 0 : id);
      draw();
      setStateValue("selected", state.selected);
    }
    drag = null;
  };
  canvas.onpointerleave = () => (tip.hidden = true);
  canvas.onwheel = (event) => {
    event.preventDefault();
    zoomAt(place(event), event.deltaY < 0 ? 1.25 : 0.8);
  };
  canvas.ondblclick = () => reset();
  canvas.onkeydown = (event) => {
    const middle = [state.x + canvas.width / scale() / 2, state.y + canvas.height / scale() / 2];
    const step = canvas.width / scale() / 8;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key === "+") zoomAt(middle, 1.25);
    else if (event.key === "-") zoomAt(middle, 0.8);
    else if (event.key === "0") reset();
    else if (moves[event.key]) {
      state.x += moves[event.key][0];
      state.y += moves[event.key][1];
      clamp();
      draw();
    } else return;
    event.preventDefault();
  };
  outline.onchange = draw;
  fill.oninput = draw;
  root.querySelector(".reset").onclick = reset;

  function reset() {
    Object.assign(state, { zoom: 1, x: 0, y: 0 });
    draw();
  }

  function resize() {
    const ratio = window.devicePixelRatio || 1;
    const room = root.clientWidth || 800;
    // tall images are limited by the window, wide ones by the column
    const shown = Math.min(room, (window.innerHeight * 0.75 * width) / height);
    canvas.style.width = `${shown}px`;
    canvas.style.height = `${(shown * height) / width}px`;
    canvas.width = Math.round(shown * ratio);
    canvas.height = Math.round(((shown * height) / width) * ratio);
    clamp();
    draw();
  }

  const watch = new ResizeObserver(resize);
  watch.observe(root);
  root.querySelector(".tools").hidden = !data.colours.length;
  if (state.picture !== data.picture) {
    state.picture = data.picture;
    Object.assign(state, { zoom: 1, x: 0, y: 0 });
    load(data.image).then((image) => {
      state.image = image;
      resize();
    });
  }
  if (state.version !== data.version) {
    state.version = data.version;
    Object.assign(state, { ids: null, fill: null, edges: null, marked: null, selected: data.selected });
    if (data.ids)
      load(data.ids).then((image) => {
        readIds(image);
        buildSheets();
        draw();
        root.dataset.ready = data.version;
      });
  } else if (data.selected !== state.selected) {
    mark(data.selected);
  }
  resize();
  return () => watch.disconnect();
}
