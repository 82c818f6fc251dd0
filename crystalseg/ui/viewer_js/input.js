// Mouse, touch and keys: their position in the image, and the requests they make.
function input(v) {
  const { data, state, root, canvas, part, tip, tool, width, height, toFull, ratio, um } = v;
  const { setStateValue, setTriggerValue, arrangement, columns, paneWidth, scale, panes, draw } = v;
  const { mark, recolour, showLayer } = v;

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
    else if (name === "click") {
      const role = event.shiftKey ? "outside" : event.ctrlKey || event.metaKey ? "inside" : "new";
      ask("click", { ids: id ? [id] : [], points: [full(where)], role });
    }
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
    const drawing = ["cut", "lasso", "check"].includes(tool()) && event.button === 0;
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
      } else if (drag.moved && tool() === "check") ask("check", { points, ids: [] });
      else if (drag.moved) ask("redraw", { points, ids: state.selected.slice(0, 1) });
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

  return { select, clamp, resize };
}
