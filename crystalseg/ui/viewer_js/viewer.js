// Image viewer: one zoom and position for all panes; layers, outlines, figures on hover, and correction tools.
// Everything except corrections and selections happens here, so looking around never waits for the server.
// Coordinates: the picture sent is `size` px wide and high; coordinates sent to the server are px of the image, `full`.
export default function (component) {
  const { data, parentElement, setStateValue, setTriggerValue } = component;
  const root = parentElement.querySelector(".viewer");
  const part = (name) => root.querySelector(`.${name}`);
  const canvas = root.querySelector("canvas");
  const state = (root._state ??= { zoom: 1, x: 0, y: 0, swipe: 0.5, sets: [], layers: {}, selected: [], points: [] });
  state.data = data;
  const [width, height] = data.size;
  const toFull = data.full[0] / width;

  const load = (source) =>
    new Promise((done, failed) => {
      const image = new Image();
      image.onload = () => done(image);
      image.onerror = failed;
      image.src = source;
    });

  // Dependencies between the parts of the viewer: drawing has none, crystals uses drawing, input uses both.
  const v = {
    data, state, root, canvas, part, width, height, toFull, load, setStateValue, setTriggerValue,
    context: canvas.getContext("2d"),
    tip: part("tip"),
    tool: () => part("tool.active")?.dataset.tool ?? "select",
    ratio: window.devicePixelRatio || 1,
    um: data.um_per_px ? data.um_per_px * toFull : null, // µm per px of the picture
  };
  Object.assign(v, drawing(v));
  Object.assign(v, crystals(v));
  Object.assign(v, input(v));
  const { arrangement, paneWidth, scale, readSet, mark, showLayer, select, clamp, resize } = v;

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
  // A missing file belongs to a previous state of the page; the next update brings the current one.
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
