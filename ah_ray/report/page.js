// The table of videos and their timelines. Whatever is from data becomes text, never markup.
import DataTable from "datatables";

const data = JSON.parse(document.getElementById("data").textContent);

// A node with properties and children; texts among these stay texts.
const h = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child != null));
  return node;
};

const clock = (seconds) => {
  const tenths = Math.round(seconds * 10);
  const [h_, m, s] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, tenths % 600];
  const two = (n) => String(n).padStart(2, "0");
  return (h_ ? `${h_}:` : "") + `${two(m)}:${two(Math.floor(s / 10))}` + (s % 10 ? `.${s % 10}` : "");
};
const span = ([start, end]) => `${clock(start)}–${clock(end)}`;
const percent = (chance) => (chance == null ? "" : chance.toFixed(2));
const colour = (place) => (place === 0 ? "var(--accent)" : `var(--series-${(place - 1) % 8})`);

// What plays a clip: a command where a player reaches the video, else where it is.
const playing = (row, [start, end], still) => {
  if (still) return row.path ? `ffplay ${row.path}` : row.video;
  return row.path
    ? `ffplay -autoexit -ss ${start} -t ${+(end - start).toFixed(2)} ${row.path}`
    : `${row.video} ${span([start, end])}`;
};

function cell(value, when, position) {
  const [text, isAnswer] = data.texts[value[0]];
  const chance = value[1] == null ? null : value[1] / 100;
  const option = data.options.indexOf(text);
  const node = h("button", { type: "button", style: position });
  if (!isAnswer) {
    node.className = "cell none";
    node.textContent = "–";
  } else if (option < 0) {
    node.className = "cell words";
    node.textContent = text;
  } else {
    const sure = data.options.length === 2 ? (chance ?? (option === 0 ? 1 : 0)) : (chance ?? 1);
    node.className = "cell bar";
    node.style.setProperty("--sure", sure);
    node.style.setProperty("--colour", data.options.length === 2 ? colour(0) : colour(option));
    node.append(h("i"));
    if (data.options.length > 2) node.append(h("span", {}, text));
  }
  node.title = `${when}: ${text}${chance == null ? "" : ` (${percent(chance)})`}`;
  return node;
}

function timeline(row, place) {
  const found = data.timelines[place];
  if (!found)
    return h("div", { className: "timeline" }, row.why ?? "This page has no room for its timeline.");
  const clips = found.clips ?? [];
  const intervals = found.intervals ?? [];
  const lanes = Object.entries(found.lanes ?? {});
  const end = Math.max(1e-9, ...clips.map((clip) => clip[1]), ...intervals.map((one) => one[1]));
  const at = ([from, to]) => `left:${(100 * from) / end}%;width:${(100 * (to - from)) / end}%`;
  const when = found.still ? () => "picture" : span; // which is at no time
  const heading = (text) => h("div", { className: "name" }, text);

  const detail = h("div", { className: "detail" });
  const halves = data.options.length === 2 ? "halves" : "";
  const tracks = h("div", { className: `tracks ${halves}` });
  const select = (index, copy) => {
    const command = playing(row, clips[index], found.still);
    const code = h("code", {}, command);
    const told = h("span", { className: "copied" }, "");
    detail.replaceChildren(
      h("strong", {}, when(clips[index])),
      row.link
        ? h("a", { href: found.still ? row.link : `${row.link}#t=${clips[index].join(",")}` }, "open there")
        : "",
      code,
      told,
      h("dl", {}, ...lanes.flatMap(([name, values]) => {
        const [text] = data.texts[values[index][0]];
        const chance = values[index][1] == null ? "" : ` ${percent(values[index][1] / 100)}`;
        const of = data.options.length === 2 && chance ? ` · P(${data.options[0]})` : "";
        return [h("dt", {}, name), h("dd", {}, `${text}${of}${chance}`)];
      })),
    );
    if (found.subtitles && data.texts[found.subtitles[index]][0])
      detail.append(h("q", {}, data.texts[found.subtitles[index]][0]));
    tracks.querySelectorAll(".chosen").forEach((node) => node.classList.remove("chosen"));
    tracks.querySelectorAll(`[data-clip="${index}"]`).forEach((node) => node.classList.add("chosen"));
    if (copy)
      navigator.clipboard.writeText(command).then(
        () => (told.textContent = "copied"),
        () => getSelection().selectAllChildren(code), // the browser forbids it: ready to copy by hand
      );
  };

  if (intervals.length)
    tracks.append(
      heading("annotated"),
      h("div", { className: "lane annotated" }, ...intervals.map(([from, to, label]) =>
        h("div", { className: "interval", style: at([from, to]), title: `${span([from, to])} ${label}` }, label))),
    );
  lanes.forEach(([name, values]) => {
    const cells = values.map((value, index) => {
      const node = cell(value, when(clips[index]), at(clips[index]));
      node.dataset.clip = index;
      node.setAttribute("aria-label", `${name}, ${node.title}`);
      node.onclick = () => select(index, true);
      return node;
    });
    tracks.append(heading(name), h("div", { className: "lane" }, ...cells));
  });
  const step = Math.ceil(clips.length / 6);
  const marks = found.still ? [] : clips.filter((_, index) => index % step === 0);
  const decisive = (found.evidence ?? []).filter((one) => one[3] != null);
  tracks.append(
    heading(decisive.length ? "decided by" : ""),
    h("div", { className: "lane axis" },
      ...marks.map((clip) => h("span", { style: `left:${(100 * clip[0]) / end}%` }, clock(clip[0]))),
      ...decisive.map(([label, , , index]) =>
        h("div", { className: "evidence", style: at(clips[index]), title: `decides for ${label}` }))),
  );
  const texts = lanes.some(([, values]) => values.some(([text]) => !data.options.includes(data.texts[text][0])));
  tracks.style.setProperty("--wide", `${clips.length * (texts ? 76 : 9)}px`);

  const decided = (ones) =>
    ones.map(([label, chance, by, index]) =>
      [label, percent(chance), by.length ? `by ${by.join(", ")}` : "", index == null ? "" : when(clips[index])]
        .filter(Boolean).join(" · "));
  const says = [
    ["verdict", row.verdict, decided(found.evidence ?? [])],
    ...(found.members ?? []).map(([name, verdict, ones]) => [name, verdict, decided(ones)]),
  ];
  const facts = { participant: row.person, split: row.split, label: row.truth, status: row.status };
  const attributes = Object.entries({ ...facts, ...found.attributes })
    .filter(([, value]) => value != null).map(([key, value]) => `${key}: ${value}`);
  const pictures = data.pictures[place] ?? [];
  const node = h("div", { className: "timeline" },
    pictures.length ? h("div", { className: "pictures" }, ...pictures.map((src) =>
      h("img", { src, alt: `evidence in ${row.video}` }))) : null,
    h("div", { className: "scroll" }, tracks),
    clips.length ? detail : h("p", {}, "No clip of it was scored."),
    data.columns.some((column) => column.data === "verdict")
      ? h("details", {}, h("summary", {}, "who says what"),
          h("ul", {}, ...says.map(([name, verdict, why]) =>
            h("li", {}, h("b", {}, name), ` ${why.length ? why.join("; ") : verdict}`))))
      : null,
    attributes.length ? h("p", { className: "quiet" }, attributes.join(" · ")) : null,
  );
  if (clips.length) select(decisive.length ? decisive[0][3] : 0, false);
  return node;
}

const name = (text, type, row) => {
  if (type !== "display") return text;
  const cut = text.lastIndexOf("/") + 1;
  const file = row.link ? h("a", { href: row.link }, text.slice(cut)) : text.slice(cut);
  return h("span", {},
    h("button", { type: "button", className: "open", ariaLabel: "timeline" }),
    h("span", {}, file, cut ? h("small", {}, text.slice(0, cut)) : ""));
};
const shown = { number: DataTable.render.number("", ".", 2) };
const columns = data.columns.map(({ data: key, kind }) => ({
  data: (row) => row[key] ?? "",
  className: `${kind} ${key}`,
  type: kind === "number" ? "num" : "string",
  columnControl: [[kind === "choice" ? "searchList" : "search"]],
  render: key === "video" ? name : (shown[kind] ?? DataTable.render.text()),
  createdCell: (cell, value) => (cell.dataset.value = value),
}));

const table = new DataTable("#videos", {
  data: data.rows.map((row, place) => Object.assign(row, { place })),
  columns,
  order: [],
  pageLength: 25,
  autoWidth: false,
  layout: { topStart: "search", topEnd: "pageLength", bottomStart: "info", bottomEnd: "paging" },
  language: { search: "", searchPlaceholder: "search all columns", lengthMenu: "_MENU_ a page",
              info: "_START_–_END_ of _TOTAL_ videos", infoFiltered: "(of _MAX_)" },
});
table.on("click", "tbody tr", (event) => {
  if (event.target.closest("a, .timeline")) return;
  const row = table.row(event.target.closest("tr"));
  if (!row.data()) return;
  const isOpen = row.child.isShown();
  if (isOpen) row.child.hide();
  else row.child(timeline(row.data(), row.data().place), "child").show();
  row.node().classList.toggle("shown", !isOpen);
});

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark", dark.matches);
dark.addEventListener("change", follow);
follow();
