// SPDX-License-Identifier: GPL-2.0-or-later
// Draws /api/status, once a second and whenever /api/events says that something changed. Names
// are other people's: they become text, and nothing else.
"use strict";

const EVERY_MS = 1000, RETRY_MS = 3000, EVENTS_MAX = 30, CHIPS_MAX = 40;
const $ = (id) => document.getElementById(id);

/* ---- What the words mean ---- */

const LOOKS = {
	up: "good", idle: "idle", down: "bad", missing: "bad", error: "bad", killed: "bad",
	creating: "busy", deleting: "busy", connecting: "busy", starting: "busy", reconnecting: "busy",
};
const look = (o) => LOOKS[o.condition] ?? "idle";

function bytes(n) {
	if (n === undefined)
		return "–";
	const units = ["B", "kB", "MB", "GB", "TB"];
	let i = 0;
	for (; n >= 999.5 && i + 1 < units.length; i++)
		n /= 1000;
	return `${i && n < 99.95 ? n.toFixed(1) : Math.round(n)} ${units[i]}/s`;
}

/* A workload's address, and the way out that it has of its own. */
const leaving = (o) => [o.address ?? o.address6, o.egress].filter(Boolean).join(" → ");

/* Every object, in the order of the table: {key, kind, name, where, depth, json}. */
function list(doc) {
	const out = [];
	const add = (kind, id, json, depth, name, where) =>
		out.push({key: `${kind} ${id}`, kind, id, json, depth, name: name ?? json.name, where: where ?? ""});
	for (const v of doc.vpcs) {
		add("vpc", v.name, v, 0, v.name, v.cidr ?? v.cidr6);
		if (v.nat)
			add("nat", v.name, v.nat, 1, "way out", v.nat.interface);
		for (const s of v.subnets)
			add("subnet", `${v.name}/${s.name}`, s, 1, s.name, leaving(s));
		for (const p of v.vms)
			add(p.kind === "veth" ? "container" : "vm", `${v.name}/${p.name}`, p, 1, p.name, leaving(p));
		for (const p of v.peers) {
			const other = p.a === v.name ? p.b : p.a;
			add("peer", `${v.name}/${other}`, p, 1, other, p.allow ? p.allow.join(", ") : "");
		}
	}
	for (const h of doc.hosts ?? [])
		add("host", h.name, h, 0, h.name, h.egress);
	for (const e of doc.egresses)
		add("egress", e.name, e, 0, e.name, e.server ?? e.via);
	for (const t of doc.tunnels)
		add("tunnel", t.name, t, 0, t.name, t.server ?? t.proxy);
	for (const s of doc.sessions)
		add("session", s.name, s, 0, s.name, s.server);
	for (const i of doc.interfaces)
		add("interface", i.name, i, 0);
	return out;
}

const kindWord = (o) => o.kind === "vpc" && o.json.flat ? "network" :
	o.kind === "subnet" ? `${o.json.type} subnet` : ["tunnel", "egress"].includes(o.kind) ? `${o.json.kind} ${o.kind}` : o.kind;

/* ---- Elements that stay as long as what they show ---- */

/* The children of parent by key: made when they are new, removed when they were not asked for. */
class Keyed {
	constructor(parent, make) {
		Object.assign(this, {parent, make, now: new Map(), before: new Map()});
	}
	begin() {
		this.before = this.now;
		this.now = new Map();
		this.last = null;
	}
	get(key, ...args) {
		const e = this.before.get(key) ?? this.make(key, ...args);
		this.before.delete(key);
		this.now.set(key, e);
		const next = this.last ? this.last.nextSibling : this.parent.firstChild;
		if (next !== e)
			this.parent.insertBefore(e, next);
		this.last = e;
		return e;
	}
	end() {
		for (const e of this.before.values())
			e.remove();
	}
}

function element(name, attributes = {}, ...children) {
	const e = document.createElement(name);
	for (const [k, v] of Object.entries(attributes))
		e.setAttribute(k, v);
	e.append(...children);
	return e;
}

function shape(name, attributes = {}, ...children) {
	const e = document.createElementNS("http://www.w3.org/2000/svg", name);
	for (const [k, v] of Object.entries(attributes))
		e.setAttribute(k, v);
	e.append(...children);
	return e;
}

function setText(e, text) {
	if (e.textContent !== text)
		e.textContent = text;
}

/* ---- The table ---- */

const rows = new Keyed($("everything").tBodies[0], (key, isError) => isError
	? element("tr", {class: "error"}, element("td", {colspan: 6}))
	: element("tr", {}, element("th", {scope: "row"}), element("td"), element("td"), element("td"),
		element("td", {class: "number"}), element("td", {class: "number"})));

function putRow(o) {
	const [name, kind, state, where, rx, tx] = rows.get(o.key).children;
	rows.last.className = `${o.depth ? "inside" : ""} ${o.json.error ? "wrong" : ""}`;
	setText(name, o.name);
	setText(kind, kindWord(o));
	setText(state, o.json.condition);
	state.className = `state ${look(o.json)}`;
	setText(where, o.where ?? "");
	setText(rx, "rx_bytes" in o.json ? bytes(o.json.rx_rate) : "");
	setText(tx, "tx_bytes" in o.json ? bytes(o.json.tx_rate) : "");
	if (o.json.error) { /* of what is up, it is the last one */
		setText(rows.get(`${o.key} error`, true).firstChild, o.json.error);
		rows.last.className = `error ${o.depth ? "inside" : ""} ${look(o.json) === "good" ? "passed" : ""}`;
	}
}

/* ---- The picture: VPCs to the left, ways out in the middle, the internet to the right ---- */

const BOX = 456, CHIP = 210, CHIP_HIGH = 64, HEAD = 52, GAP = 14, LEFT = 46, NODE = 190, NODE_HIGH = 64;
const svg = $("topology");
const wireLayer = svg.appendChild(shape("g"));
const boxLayer = svg.appendChild(shape("g"));
const nodeLayer = svg.appendChild(shape("g"));
let chosen = null;

function choose(key) {
	chosen = key;
	if (current)
		draw(current);
}

function makeNode(key) {
	const g = shape("g", {tabindex: 0, role: "button", "data-key": key},
		shape("title"), shape("rect", {class: "plate", rx: 10}),
		shape("g", {class: "mark"}, shape("path", {class: "sign"})),
		shape("text", {class: "name"}), shape("text", {class: "soft"}), shape("text", {class: "soft"}));
	g.addEventListener("click", () => choose(key));
	g.addEventListener("keydown", (e) => {
		if (e.key === "Enter" || e.key === " ") {
			e.preventDefault();
			choose(key);
		}
	});
	return g;
}

const boxes = new Keyed(boxLayer, makeNode), nodes = new Keyed(nodeLayer, makeNode);
const wires = new Keyed(wireLayer, (key) => shape("g", {"data-key": key}, shape("path"), shape("path")));

const SIGNS = { /* each of another form, not of another colour alone */
	good: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", idle: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
	busy: "M0-4.5 4.5 4H-4.5Z", bad: "M-3.5-3.5 3.5 3.5M3.5-3.5-3.5 3.5",
};
const short = (text, n) => text.length > n ? `${text.slice(0, n - 1)}…` : text;
const rates = (o) => "rx_rate" in o ? `↓ ${bytes(o.rx_rate)}  ↑ ${bytes(o.tx_rate)}` : "";

function putNode(layer, o, x, y, w, h, extra) {
	const g = layer.get(o.key), [title, plate, mark, name, one, two] = g.children, c = look(o.json);
	const state = c === "good" || extra === "vpc" && c !== "bad" ? "" : o.json.condition;
	g.setAttribute("class", `node ${c} ${extra} ${chosen === o.key ? "chosen" : ""}`);
	g.setAttribute("aria-label", [kindWord(o), o.name, o.json.condition, o.where, o.json.error].filter(Boolean).join(", "));
	g.setAttribute("transform", `translate(${x} ${y})`);
	setText(title, `${kindWord(o)} ${o.id}: ${o.json.condition}`);
	plate.setAttribute("width", w);
	plate.setAttribute("height", h);
	mark.setAttribute("transform", "translate(17 19)");
	mark.firstChild.setAttribute("d", SIGNS[c]);
	const room = Math.floor(w / 8.2) - 4;
	const lines = [[name, short(o.name, room), 30, 23], [one, short(state || o.where || kindWord(o), 26), 30, 40], [two, rates(o.json), 30, 55]];
	if (extra === "vpc")
		lines[2] = [two, rates(o.json), w - 14, 23];
	if (extra === "more")
		lines.splice(0, 3, [name, o.name, 30, 17], [one, "", 0, 0], [two, "", 0, 0]);
	for (const [t, text, tx, ty] of lines) {
		setText(t, text);
		t.setAttribute("x", tx);
		t.setAttribute("y", ty);
	}
	two.setAttribute("text-anchor", extra === "vpc" ? "end" : "start");
	return {right: [x + w, y + h / 2], left: [x, y + h / 2], edge: [LEFT + BOX, y + h / 2]}; /* edge: of the VPC's box */
}

function putWire(key, from, to, kind, o) {
	const [a, b] = wires.get(key).children, back = kind === "peer" || kind === "session"; /* both ends are to the left */
	const d = `M${from} C${from[0] + (back ? -46 : 70)} ${from[1]} ${to[0] - (back ? 46 : 70)} ${to[1]} ${to}`;
	a.setAttribute("d", d);
	b.setAttribute("d", d);
	a.setAttribute("class", `wire ${kind} ${look(o)}`);
	b.setAttribute("class", (o.rx_rate ?? 0) + (o.tx_rate ?? 0) > 0 ? "flow on" : "flow");
}

function putVpc(v, inside, y) {
	const shown = inside.slice(0, CHIPS_MAX), at = new Map();
	const h = HEAD + Math.ceil(shown.length / 2) * (CHIP_HIGH + 8) + (shown.length ? 6 : 0) + (inside.length > shown.length ? 22 : 0);
	at.set(v.key, putNode(boxes, v, LEFT, y, BOX, Math.max(h, 61), "vpc"));
	shown.forEach((o, i) => {
		const x = LEFT + 12 + (i % 2) * (CHIP + 12);
		at.set(o.key, putNode(nodes, o, x, y + HEAD + Math.floor(i / 2) * (CHIP_HIGH + 8), CHIP, CHIP_HIGH, "chip"));
	});
	if (inside.length > shown.length) {
		const more = {key: `more ${v.id}`, kind: "more", id: v.id, name: `and ${inside.length - shown.length} more`, where: "", json: {condition: "idle"}};
		putNode(nodes, more, LEFT + 12, y + h - 26, BOX - 24, 24, "more");
	}
	return {at, high: Math.max(h, 61)};
}

/* One below the other, around the middle. */
function putColumn(objects, x, w, height, at) {
	const all = objects.length * (NODE_HIGH + GAP) - GAP;
	objects.forEach((o, i) => at.set(o.key,
		putNode(nodes, o, x, Math.max(8, (height - all) / 2) + i * (NODE_HIGH + GAP), w, NODE_HIGH, "way")));
}

function putInternet(x, height) {
	let g = svg.querySelector("#internet");
	if (!g) {
		g = shape("g", {id: "internet"}, shape("path", {class: "cloud", d: "M22 52a17 17 0 0 1-2-34a24 24 0 0 1 46-6a19 19 0 0 1 6 40Z"}),
			shape("text", {x: 46, y: 38, "text-anchor": "middle"}, "internet"));
		svg.append(g);
	}
	g.setAttribute("transform", `translate(${x} ${height / 2 - 30})`);
	return [x + 6, height / 2 + 2];
}

function drawPicture(doc, all) {
	const at = new Map(), vpcs = all.filter((o) => o.kind === "vpc");
	const ways = all.filter((o) => o.kind === "interface"), carriers = all.filter((o) => ["egress", "tunnel", "session"].includes(o.kind));
	const column = (n) => n * (NODE_HIGH + GAP) + 8;
	let y = 8;
	for (const layer of [boxes, nodes, wires])
		layer.begin();
	for (const v of vpcs) {
		const inside = all.filter((o) => ["subnet", "vm", "container"].includes(o.kind) && o.id.startsWith(`${v.id}/`));
		const put = putVpc(v, inside, y);
		put.at.forEach((p, k) => at.set(k, p));
		y += put.high + GAP;
	}
	const height = Math.max(y, column(ways.length + carriers.length), 90);
	const x = (vpcs.length ? LEFT + BOX : 0) + 150;
	putColumn([...ways, ...carriers], x, NODE, height, at);
	const internet = putInternet(x + NODE + 130, height);
	svg.setAttribute("viewBox", `0 0 ${x + NODE + 230} ${height + 4}`);
	drawWires(all, at, internet);
	for (const layer of [boxes, nodes, wires])
		layer.end();
	svg.toggleAttribute("hidden", !all.length);
	$("empty").hidden = all.length > 0;
}

function drawWires(all, at, internet) {
	const end = (key, side) => at.get(key)?.[side];
	const join = (key, from, to, kind, o) => from && to && putWire(key, from, to, kind, o);
	const netns = new Map(all.filter((o) => o.kind === "subnet").map((o) => [o.json.namespace, o.key]));
	for (const o of all) {
		if (o.kind === "nat")
			join(o.key, end(`vpc ${o.id}`, "right"), end(`interface ${o.json.interface}`, "left"), "nat",
				{...o.json, ...rateOf(all, `vpc ${o.id}`)});
		if (o.kind === "peer" && o.id.startsWith(`${o.json.a}/`))
			join(o.key, end(`vpc ${o.json.a}`, "left"), end(`vpc ${o.json.b}`, "left"), "peer", o.json);
		if (o.kind === "session")
			join(o.key, end(o.key, "left"), end(`interface ${o.json.interface}`, "left"), "session", o.json);
		if (o.kind === "tunnel") {
			join(`${o.key} in`, end(netns.get(o.id), "edge"), end(o.key, "left"), "tunnel", o.json);
			join(o.key, end(o.key, "right"), internet, "tunnel", o.json);
		}
		if (o.kind === "egress" && (o.json.via || o.json.interface))
			join(o.key, end(o.key, "left"), end(o.json.via ? `egress ${o.json.via}` : `interface ${o.json.interface}`, "left"), "session", o.json);
		for (const way of o.json.egress?.split(",") ?? []) /* the first that is up counts */
			join(`${o.key} by ${way}`, end(o.key, o.kind === "vpc" ? "right" : "edge"), end(`egress ${way}`, "left"), "way", o.json);
		if (o.kind === "interface")
			join(o.key, end(o.key, "right"), internet, "way", o.json);
	}
}

const rateOf = (all, key) => {
	const {rx_rate, tx_rate} = all.find((o) => o.key === key)?.json ?? {};
	return {rx_rate, tx_rate};
};

/* ---- Beside it ---- */

function drawDetail(all) {
	const o = all.find((each) => each.key === chosen), dl = $("detail");
	$("detail-hint").hidden = Boolean(o);
	dl.replaceChildren();
	if (!o)
		return;
	const put = (k, v) => dl.append(element("dt", {}, k), element("dd", {}, v));
	put("kind", kindWord(o));
	for (const [k, v] of Object.entries(o.json)) {
		if (v === null || v === "" || typeof v === "object" && !(Array.isArray(v) && v.length && typeof v[0] === "string"))
			continue;
		put(k.replaceAll("_", " "), k.endsWith("_rate") ? bytes(v) : Array.isArray(v) ? v.join(", ") : String(v));
	}
}

function drawSummary(all) {
	const bad = all.filter((o) => look(o.json) === "bad").length, busy = all.filter((o) => look(o.json) === "busy").length;
	const words = all.length ? [`${all.length} things`] : ["nothing is set up"];
	if (busy)
		words.push(`${busy} changing`);
	words.push(bad ? `${bad} not as it should be` : "nothing is wrong");
	setText($("summary"), words.join(" · "));
	document.title = bad ? `(${bad}) byway` : "byway";
}

let current = null;
function draw(doc) {
	const all = list(doc);
	current = doc;
	rows.begin();
	all.forEach(putRow);
	rows.end();
	drawPicture(doc, all);
	drawDetail(all);
	drawSummary(all);
}

function addEvent(e) {
	const was = e.was?.condition ? `${e.was.condition} → ` : "";
	const item = element("li", {}, element("time", {datetime: e.time}, e.time.slice(11, 19)),
		`${e.kind} ${e.id} ${e.event}, `, element("span", {class: LOOKS[e.condition] ?? "idle"}, `${was}${e.condition}`));
	$("no-events").hidden = true;
	$("events").prepend(item);
	while ($("events").children.length > EVENTS_MAX)
		$("events").lastChild.remove();
}

/* ---- Live ---- */

function setLive(state, text) {
	$("live").dataset.state = state;
	setText($("live-text"), text);
}

let timer = 0, asking = false, again = false;
function soon(ms) {
	clearTimeout(timer);
	timer = setTimeout(refresh, ms);
}

async function refresh() {
	if (asking) {
		again = true;
		return;
	}
	asking = true;
	let wait = EVERY_MS;
	try {
		const response = await fetch("/api/status");
		if (!response.ok)
			throw new Error(await response.text());
		draw(await response.json());
		setLive("live", "live");
	} catch (e) {
		setLive("lost", e instanceof TypeError ? "no connection to byway serve" : e.message);
		wait = RETRY_MS;
	}
	asking = false;
	if (again || !document.hidden)
		soon(again ? 50 : wait);
	again = false;
}

const events = new EventSource("/api/events");
events.addEventListener("message", (m) => {
	addEvent(JSON.parse(m.data));
	soon(50);
});
events.addEventListener("lost", () => soon(50));
document.addEventListener("visibilitychange", () => document.hidden || refresh());
refresh();
