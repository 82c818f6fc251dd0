// Crystals and layers: convert what the server sent to what is drawn.
function crystals({ data, state, root, part, width, height, load, draw }) {
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

  // A foreground layer holds the logit from -6 to 6 as 0 to 255. Pixels above the threshold are coloured here.
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
      if (!image) return draw(); // it belonged to a previous state of the page; the next update brings the new one
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

  return { readSet, mark, recolour, showLayer };
}
