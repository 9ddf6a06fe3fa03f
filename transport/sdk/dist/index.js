//#region src/error.ts
/** A request that was not done. */
var HearthError = class extends Error {
	/** One of the protocol's codes; or `closed`: the client has ended; or `uncertain`: see Group.send. */
	code;
	/** The same request, with the same client_id, may be sent again. */
	retryable;
	retryAfterMs;
	constructor(reply) {
		super(reply.message);
		this.name = "HearthError";
		this.code = reply.code;
		this.retryable = reply.retryable;
		this.retryAfterMs = reply.retry_after_ms;
	}
};
/** Why a client has ended for good. */
var ClosedError = class extends HearthError {
	/** The close code, 4500 to 4999; 0 when this side ended it. */
	closeCode;
	constructor(closeCode, reason) {
		super({
			code: "closed",
			message: reason,
			retryable: false
		});
		this.name = "ClosedError";
		this.closeCode = closeCode;
	}
};
/** What requests get when the server does not answer. The request may have been done. */
function unanswered(message) {
	return new HearthError({
		code: "unavailable",
		message,
		retryable: true
	});
}
function isRetryable(error) {
	return error instanceof HearthError && error.retryable;
}
function messageOf(error) {
	return error instanceof Error ? error.message : String(error);
}
/** One reader of a group: every seq up to its cursor was handed out, or is a hole. */
var Reader = class {
	/** Pushes were dropped because the reader was full. */
	behind = false;
	cursor;
	#hooks;
	#full;
	#rewound = 0;
	#repairTo = 0;
	#early = /* @__PURE__ */ new Map();
	#begun;
	/** `begun` is told where a reader begins that did not know. */
	constructor(after, hooks, full, begun) {
		this.cursor = after;
		this.#hooks = hooks;
		this.#full = full;
		this.#begun = begun;
	}
	get full() {
		return this.#full();
	}
	/** Begins here, unless it has begun. */
	begin(seq) {
		if (this.cursor !== -1) return;
		this.cursor = seq;
		this.#begun(seq);
	}
	/** Where the next page starts. */
	get position() {
		return this.#repairTo > 0 ? this.#rewound : this.cursor;
	}
	/** A push; false when something before it is missing. */
	push(message, prevSeq) {
		if (this.cursor === -1 || message.seq <= this.cursor) return true;
		if (this.full) {
			this.behind = true;
			return true;
		}
		if (prevSeq > this.cursor) return false;
		if (this.cursor < message.seq - 1) this.#hole({
			from: this.cursor + 1,
			to: message.seq - 1
		});
		this.#handOut(message);
		return true;
	}
	/** A page that starts behind `after`. */
	page(after, page) {
		if (this.cursor === -1) {
			this.begin(page.max_seq);
			return;
		}
		if (after === void 0 || this.position < after) return;
		if (this.full) {
			this.behind = true;
			for (const message of page.messages) if (message.seq <= this.cursor) this.#recalledMeanwhile(message);
			return;
		}
		let holes = page.holes;
		for (const message of page.messages) {
			holes = this.#holesBefore(holes, message.seq);
			this.#message(message);
		}
		if (page.more) return;
		this.#holesBefore(holes, Number.MAX_SAFE_INTEGER);
		this.cursor = Math.max(this.cursor, page.max_seq);
		this.#read(Number.MAX_SAFE_INTEGER);
	}
	/** Makes the next pages start below the cursor, for who wants repairs. */
	rewind(after) {
		if (!this.#hooks.onRepair || after >= this.cursor) return;
		this.#rewound = this.#repairTo > 0 ? Math.min(after, this.#rewound) : after;
		this.#repairTo = this.cursor;
	}
	recall(recall) {
		if (recall.seq <= this.cursor) this.#tell(() => this.#hooks.onRecall?.(recall));
		else if (this.cursor !== -1) this.#early.set(recall.seq, recall);
	}
	recallsLost() {
		this.#tell(() => this.#hooks.onRecallsLost?.());
	}
	live(page) {
		this.#tell(() => this.#hooks.onLive?.(page));
	}
	fail(error) {
		this.#tell(() => this.#hooks.onError?.(error));
	}
	#message(message) {
		if (message.seq > this.cursor) this.#handOut(message);
		else if (message.seq <= this.#repairTo) this.#tell(() => this.#hooks.onRepair?.(message));
		else this.#recalledMeanwhile(message);
		this.#read(message.seq);
	}
	/** Maybe recalled while nobody listened, and not listed: it is behind where the page of another reader starts. */
	#recalledMeanwhile({ group, seq, recalled_by: by, recalled_ms: time_ms }) {
		if (time_ms !== void 0) this.recall({
			group,
			seq,
			by,
			time_ms
		});
	}
	#handOut(message) {
		this.cursor = message.seq;
		const recall = this.#early.get(message.seq);
		this.#early.delete(message.seq);
		const left = recall ? tombstone(message, recall) : message;
		this.#tell(() => this.#hooks.onMessage?.(left));
	}
	#read(seq) {
		if (this.#repairTo === 0) return;
		this.#rewound = Math.max(this.#rewound, seq);
		if (this.#rewound >= this.#repairTo) {
			this.#rewound = 0;
			this.#repairTo = 0;
		}
	}
	/** Tells of the holes before seq that are above the cursor, and returns the others. */
	#holesBefore(holes, seq) {
		let n = 0;
		for (; n < holes.length && holes[n].from < seq; n++) {
			const hole = holes[n];
			const from = Math.max(hole.from, this.cursor + 1);
			if (from <= hole.to) this.#hole({
				...hole,
				from
			});
		}
		return holes.slice(n);
	}
	#hole(hole) {
		this.#tell(() => this.#hooks.onHole?.(hole));
	}
	#tell(hook) {
		safely(hook);
	}
};
/** What a recall leaves of a message. */
function tombstone(message, { by, time_ms }) {
	if (!message.body) return message;
	const { body: _, ...rest } = message;
	return {
		...rest,
		...time_ms !== void 0 && { recalled_ms: time_ms },
		...by !== void 0 && { recalled_by: by }
	};
}
/** Calls what is not ours; what it throws is thrown where nobody catches it. */
function safely(call) {
	try {
		call();
	} catch (error) {
		queueMicrotask(() => {
			throw error;
		});
	}
}
//#endregion
//#region src/abort.ts
/** Why a signal was fired. React Native's signals do not tell. */
function reasonOf(signal) {
	return signal.reason ?? Object.assign(/* @__PURE__ */ new Error("given up"), { name: "AbortError" });
}
/** The promise, or the signal's reason if that comes first. */
function abortable(promise, signal) {
	if (!signal) return promise;
	return new Promise((resolve, reject) => {
		const abort = () => reject(reasonOf(signal));
		if (signal.aborted) abort();
		signal.addEventListener("abort", abort);
		promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
	});
}
/** Resolves after a while, or at once when a signal fires; it never rejects. */
function pause(ms, ...signals) {
	return new Promise((resolve) => {
		const done = () => {
			clearTimeout(timer);
			for (const signal of signals) signal?.removeEventListener("abort", done);
			resolve();
		};
		const timer = setTimeout(done, Math.min(ms, LONGEST_TIMER_MS));
		for (const signal of signals) signal?.addEventListener("abort", done);
		if (signals.some((signal) => signal?.aborted)) done();
	});
}
const LONGEST_TIMER_MS = 2 ** 31 - 1;
//#endregion
//#region src/backoff.ts
const FIRST_MS = 500;
const LONGEST_MS = 15e3;
/**
* Delays between attempts: anything from nothing to a bound that doubles. Without a fixed part, or the clients of a
* server that went away would come back in waves.
*/
var Backoff = class {
	#attempts = 0;
	next() {
		const bound = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#attempts);
		if (this.#attempts < 5) this.#attempts++;
		return Math.random() * bound;
	}
	reset() {
		this.#attempts = 0;
	}
};
/** Tries until there is an answer that stays, or the signal fires. When `left` fires it tries at once. */
async function repeat(attempt, signal, left) {
	const backoff = new Backoff();
	for (;;) {
		if (signal?.aborted) throw reasonOf(signal);
		try {
			return await attempt();
		} catch (error) {
			if (!isRetryable(error)) throw error;
			await pause(error.retryAfterMs ?? backoff.next(), signal, left);
		}
	}
}
//#endregion
//#region src/receipts.ts
/**
* Calls with who has read a message: as the server tells it now and on every later connection, and with those heard of
* between. Who writes behind it has read it, too.
*/
function watchReaders(group, message, connections, listener) {
	const over = new AbortController();
	const heard = /* @__PURE__ */ new Set();
	let told;
	const tell = (readers) => {
		const known = readers.users ?? (readers.read_count === 0 ? [] : void 0);
		const users = known && [...new Set([...known, ...heard])].sort();
		const now = {
			seq: message.seq,
			read_count: users?.length ?? readers.read_count,
			users
		};
		if (JSON.stringify(now) === JSON.stringify(told)) return;
		told = now;
		safely(() => listener(now));
	};
	const hear = (user) => {
		if (user === message.from) return;
		heard.add(user);
		if (told) tell(told);
	};
	const ask = async () => {
		try {
			const readers = await repeat(() => group.readers(message.seq), over.signal);
			if (!over.signal.aborted) tell(readers);
		} catch {}
	};
	const ends = [
		connections(ask),
		group.on("read", ({ user, seq }) => seq >= message.seq && hear(user)),
		group.on("message", ({ from, seq, operator }) => seq > message.seq && operator === void 0 && hear(from)),
		() => over.abort()
	];
	if (group.connected) ask();
	return () => {
		for (const end of ends) end();
	};
}
//#endregion
//#region src/stream.ts
const MOST_WAITING = 1e3;
const asyncIterator = Symbol.asyncIterator ?? "@@asyncIterator";
/**
* Messages that wait for a loop, and what its hooks are told between them. When it is slow the group is read again later,
* from where it is: no more than a thousand and a page wait here.
*/
var Stream = class {
	#waiting = [];
	#wanted = [];
	#error;
	#over = false;
	#taken;
	#stopped;
	#last;
	/** `taken` is called whenever the loop asks for more, with the message it is done with. */
	constructor(taken, stopped) {
		this.#taken = taken;
		this.#stopped = stopped;
	}
	get full() {
		return this.#waiting.length >= MOST_WAITING;
	}
	get hasRoom() {
		return this.#waiting.length <= MOST_WAITING / 2;
	}
	/** Hooks for a reader: what waits here is told to the app's when the loop is done with what came before. */
	hooks(app) {
		const { onRepair } = app;
		return {
			onMessage: (message) => this.#add({ message }),
			onHole: (hole) => this.#add({ tell: () => app.onHole?.(hole) }),
			onRecall: (recall) => this.#recall(recall, () => app.onRecall?.(recall)),
			onRecallsLost: () => this.#add({ tell: () => app.onRecallsLost?.() }),
			onRepair: onRepair && ((message) => this.#add({
				message,
				tell: onRepair
			})),
			onLive: (page) => this.#add({ tell: () => app.onLive?.(page) }),
			onError: (error) => this.end(error)
		};
	}
	#add(entry) {
		if (this.#over) return;
		this.#waiting.push(entry);
		this.#serve();
	}
	/** Nobody gets the body from now on. It is told behind the message, unless that comes without a body anyway. */
	#recall(recall, tell) {
		let comes = false;
		for (const entry of this.#waiting) {
			if (entry.message?.seq !== recall.seq) continue;
			entry.message = tombstone(entry.message, recall);
			comes ||= !entry.tell;
		}
		if (comes) return;
		if (this.#last?.seq !== recall.seq) {
			tell();
			return;
		}
		this.#waiting.unshift({ tell });
		this.#serve();
	}
	/** Hands out what waits as far as the loop wants it; between two messages it is told what is between them. */
	#serve() {
		for (let entry = this.#waiting[0]; entry; entry = this.#waiting[0]) {
			const { message, tell } = entry;
			if (tell) {
				if (this.#last && this.#wanted.length === 0) return;
				this.#waiting.shift();
				safely(() => tell(message));
			} else {
				const wanted = this.#wanted.shift();
				if (!wanted) return;
				this.#waiting.shift();
				this.#last = message;
				wanted.resolve({
					value: message,
					done: false
				});
			}
		}
		if (!this.#over) return;
		for (const { resolve, reject } of this.#wanted.splice(0)) {
			const error = this.#error;
			this.#error = void 0;
			if (error) reject(error);
			else resolve({
				value: void 0,
				done: true
			});
		}
	}
	/** Ends the loop behind what waits. */
	end(error) {
		if (this.#over) return;
		this.#over = true;
		this.#error = error;
		this.#serve();
	}
	next() {
		const handled = this.#last;
		this.#last = void 0;
		const next = new Promise((resolve, reject) => this.#wanted.push({
			resolve,
			reject
		}));
		this.#serve();
		this.#taken(handled);
		return next;
	}
	return() {
		this.#waiting = [];
		this.end();
		this.#stopped();
		return Promise.resolve({
			value: void 0,
			done: true
		});
	}
	[asyncIterator]() {
		return this;
	}
};
//#endregion
//#region src/typing.ts
const KIND = "typing";
const AGAIN_MS$1 = 3e3;
const OVER_MS = 6e3;
/** Who types: signals of the kind `typing`. */
var Typing = class {
	#group;
	#quietUntil = 0;
	constructor(group) {
		this.#group = group;
	}
	typed() {
		const now = Date.now();
		if (now < this.#quietUntil || !this.#group.connected) return;
		this.#quietUntil = now + AGAIN_MS$1;
		this.#group.signal(KIND).catch(() => {});
	}
	/** The others learn by the message that the user is done. */
	sent() {
		this.#quietUntil = 0;
	}
	on(listener) {
		const typing = /* @__PURE__ */ new Map();
		const tell = () => listener([...typing.keys()]);
		const done = (user) => {
			clearTimeout(typing.get(user));
			if (typing.delete(user)) tell();
		};
		const ends = [this.#group.on("signal", ({ kind, from }) => {
			if (kind !== KIND || from === this.#group.user) return;
			const known = typing.has(from);
			clearTimeout(typing.get(from));
			typing.set(from, setTimeout(() => done(from), OVER_MS));
			if (!known) tell();
		}), this.#group.on("message", ({ from }) => done(from))];
		return () => {
			for (const end of ends) end();
			for (const timer of typing.values()) clearTimeout(timer);
		};
	}
};
//#endregion
//#region src/group.ts
/** A room, a group or a direct conversation. */
var Group = class {
	hearth;
	target;
	#typing;
	#wantedMark = 0;
	#marking;
	/** @internal */
	constructor(hearth, target) {
		this.hearth = hearth;
		this.target = target;
		this.#typing = new Typing(this);
	}
	/** The group's id. That of a direct conversation is known with the first connection, if connect was not told the user. */
	get id() {
		if ("group" in this.target) return this.target.group;
		const user = this.hearth.user;
		if (user === void 0) throw new Error("the id of a direct conversation is known when connected");
		return directId(user, this.target.to);
	}
	/** The id, as soon as it is known. */
	async ready() {
		if ("to" in this.target && this.hearth.user === void 0) await this.hearth.online();
		return this.id;
	}
	/**
	* The messages, in order, none missing, none twice, over any number of connections. Leaving the loop ends it. It throws
	* when the group may not be read (any more) or the client has ended.
	*/
	messages(options = {}) {
		let room = () => {};
		const stream = new Stream((handled) => {
			if (handled) this.hearth.handled(handled.group, handled.seq);
			if (stream.hasRoom) room();
		}, () => stop());
		const stop = this.#follow(options, stream.hooks(options), () => stream.full, (drained) => {
			room = drained;
		});
		return stream;
	}
	/** The same with callbacks. Returns what ends it. */
	follow(options) {
		const hooks = {
			...options,
			onMessage: (message) => {
				safely(() => options.onMessage?.(message));
				this.hearth.handled(message.group, message.seq);
			}
		};
		return this.#follow(options, hooks, () => false, () => {});
	}
	#follow(options, hooks, full, room) {
		let stopped = false;
		let stop = () => {};
		const start = async () => {
			const id = await this.ready();
			const stored = options.after === void 0 ? await this.hearth.stored(id) : void 0;
			if (stopped) return;
			const begin = (seq) => this.hearth.handled(id, seq);
			const reader = new Reader(options.after ?? stored?.seq ?? -1, hooks, full, begin);
			room(() => this.hearth.feeds.drained(id, reader));
			stop = () => this.hearth.feeds.remove(id, reader);
			this.hearth.follow(id, reader, {
				patient: id.startsWith("dm:"),
				recalledAfterMs: options.recalledAfterMs ?? stored?.seenMs
			});
		};
		start().catch((error) => stopped || hooks.onError?.(error));
		return () => {
			stopped = true;
			stop();
		};
	}
	/**
	* Sends a text or a body. It is repeated with the same client_id, over other connections too, until the server has said
	* yes or a no that stays; messages of one group go in the order of the calls. After nine minutes without a word about
	* an attempt that may have got there it fails with `uncertain` rather than be sent twice.
	*/
	send(body, options = {}) {
		const elements = typeof body === "string" ? [{
			type: "text",
			text: body
		}] : body;
		this.#typing.sent();
		return this.hearth.send(this.target, elements, options, this.#knownId());
	}
	/** One page of what was before, ascending. */
	async page({ before, beforeMs, limit } = {}) {
		return this.hearth.call("pull", {
			group: await this.ready(),
			before_seq: before,
			before_ms: beforeMs,
			limit
		});
	}
	/** All of what was before, page by page, the newest first. */
	async *history(options = {}) {
		let page = await this.page(options);
		for (;;) {
			yield page;
			const before = page.messages[0]?.seq ?? page.holes[0]?.from;
			if (!page.more || before === void 0) return;
			page = await this.page({
				before,
				limit: options.limit
			});
		}
	}
	/** How far the group and the user are: max_seq, read_seq, unread, persisted_seq. */
	async head() {
		const group = await this.ready();
		const [result] = await this.hearth.heads([group]);
		if (!result || result.error) throw this.hearth.error(result?.error);
		return result;
	}
	/** Moves the user's read mark forward. Calls while one is on its way become one. */
	markRead(seq) {
		this.#wantedMark = Math.max(this.#wantedMark, seq);
		this.#marking ??= this.#mark();
		return this.#marking;
	}
	async #mark() {
		try {
			const group = await this.ready();
			for (;;) {
				const seq = this.#wantedMark;
				const mark = await this.hearth.call("read", {
					group,
					seq
				});
				this.hearth.marked(mark);
				if (this.#wantedMark === seq) return mark;
			}
		} finally {
			this.#marking = void 0;
			this.#wantedMark = 0;
		}
	}
	/** Calls with what is unread here, as it changes; of a room while it is read, and at every connect. Returns what ends it. */
	watchUnread(listener) {
		return this.#withId((id) => this.hearth.watchUnread(id, listener));
	}
	/** Who has read a message. */
	async readers(seq) {
		return this.hearth.http("GET", `/groups/${encodeURIComponent(await this.ready())}/readers?seq=${seq}`);
	}
	/** Calls with who has read a message, as it changes; in groups of over a hundred at every connect. Returns what ends it. */
	watchReaders(message, listener) {
		return watchReaders(this, message, (ask) => this.hearth.on("welcome", ask), listener);
	}
	/** Starts what needs the id, unless it is ended before. */
	#withId(start) {
		let ended = false;
		let end = () => {};
		this.ready().then((id) => {
			if (!ended) end = start(id);
		}, () => {});
		return () => {
			ended = true;
			end();
		};
	}
	/** Takes a message back. */
	async recall(seq) {
		await this.hearth.call("recall", {
			group: await this.ready(),
			seq
		});
	}
	/** Says something to who is subscribed now; it is not stored, and not repeated. */
	async signal(kind, data) {
		await this.hearth.request("signal", {
			...this.target,
			kind,
			data
		});
	}
	/** To be called at every key: tells the others, not too often, that the user types. */
	typing() {
		this.#typing.typed();
	}
	/** Calls with the users who type now, whenever that changes. Returns what ends it. */
	onTyping(listener) {
		return this.#typing.on(listener);
	}
	/**
	* An event of this group as it comes: receipts are `read`. Those that came while there was no connection are not
	* repeated; messages are better read with `messages`.
	*/
	on(name, listener) {
		return this.hearth.on(name, (event) => {
			if (event.group === this.#knownId()) listener(event);
		});
	}
	/** @internal */
	get user() {
		return this.hearth.user;
	}
	/** @internal */
	get connected() {
		return this.hearth.state === "online";
	}
	#knownId() {
		return "to" in this.target && this.hearth.user === void 0 ? void 0 : this.id;
	}
};
/** The id of the conversation of two users. */
function directId(a, b) {
	return a < b ? `dm:${a}:${b}` : `dm:${b}:${a}`;
}
//#endregion
//#region src/conversations.ts
const MOST_HEADS = 200;
/**
* What is unread, as it changes. It is counted here from what is pushed, and asked for where that does not tell: on every
* connection, and when the user has read a part of a group.
*/
var Conversations = class {
	#host;
	#lines = /* @__PURE__ */ new Map();
	#listWatchers = /* @__PURE__ */ new Set();
	#groupWatchers = /* @__PURE__ */ new Map();
	#rank = 0;
	#online = false;
	#listed = false;
	#listDue = false;
	#headsDue = /* @__PURE__ */ new Set();
	#heard;
	#changed = /* @__PURE__ */ new Set();
	#telling = false;
	constructor(host) {
		this.#host = host;
	}
	watchList(watcher) {
		const own = (list) => watcher(list);
		this.#listWatchers.add(own);
		if (this.#listed) queueMicrotask(() => this.#listWatchers.has(own) && safely(() => own(this.#list())));
		else this.#listDue = true;
		this.#ask();
		return () => {
			if (!this.#listWatchers.delete(own) || this.#listWatchers.size > 0) return;
			this.#listed = false;
			this.#listDue = false;
			for (const group of [...this.#lines.keys()]) this.#forget(group);
		};
	}
	watchGroup(group, watcher) {
		const own = (unread) => watcher(unread);
		const watchers = this.#groupWatchers.get(group) ?? /* @__PURE__ */ new Set();
		this.#groupWatchers.set(group, watchers.add(own));
		const line = this.#lines.get(group);
		if (line) queueMicrotask(() => watchers.has(own) && safely(() => own(line.value)));
		else this.#headsDue.add(group);
		this.#ask();
		return () => {
			if (!watchers.delete(own) || watchers.size > 0) return;
			this.#groupWatchers.delete(group);
			const line = this.#lines.get(group);
			if (line && !("type" in line.value)) this.#lines.delete(group);
		};
	}
	welcome() {
		this.#online = true;
		this.#all();
	}
	lost() {
		this.#online = false;
	}
	event(event) {
		if (this.#listWatchers.size === 0 && this.#groupWatchers.size === 0) return;
		this.#heard?.push(event);
		this.#apply(event);
		this.#ask();
	}
	/** The user has read here: that is told to his other connections only. */
	marked({ group, read_seq: seq }) {
		const { user } = this.#host;
		if (user !== void 0) this.event({
			event: "read",
			group,
			user,
			seq
		});
	}
	#all() {
		this.#listDue = this.#listWatchers.size > 0;
		for (const group of this.#groupWatchers.keys()) this.#headsDue.add(group);
		this.#ask();
	}
	#apply(event) {
		switch (event.event) {
			case "message":
				this.#message(event);
				break;
			case "read":
				if (event.user === this.#host.user) this.#read(event.group, event.seq);
				break;
			case "recall":
				this.#recalled(event);
				break;
			case "group":
				this.#groupChanged(event);
				break;
			case "resync":
				this.#all();
				break;
		}
	}
	#message({ prev_seq: _, ...event }) {
		const { event: __, ...message } = event;
		const { group, seq, from } = message;
		const line = this.#lines.get(group);
		if (!line) {
			if (this.#groupWatchers.has(group)) this.#headsDue.add(group);
			if (this.#listWatchers.size > 0 && group.startsWith("dm:")) this.#listDue = true;
			return;
		}
		if (seq <= line.value.max_seq) return;
		const { user } = this.#host;
		const value = {
			...line.value,
			max_seq: seq
		};
		if ("type" in value) value.last_message = message;
		const mentions = message.mentions?.some((m) => m === user || m === "*");
		if (from === user && message.operator === void 0) {
			value.read_seq = seq;
			value.unread = 0;
			value.mentioned_seq = void 0;
		} else {
			value.unread++;
			if (mentions) value.mentioned_seq = seq;
		}
		this.#put(value, ++this.#rank);
	}
	#read(group, seq) {
		const line = this.#lines.get(group);
		if (!line || seq <= line.value.read_seq) return;
		if (seq < line.value.max_seq) this.#headsDue.add(group);
		else this.#put(readUpTo({
			...line.value,
			unread: 0
		}, seq), line.rank);
	}
	#recalled({ group, seq, by, time_ms }) {
		const line = this.#lines.get(group);
		if (!line || !("type" in line.value) || line.value.last_message?.seq !== seq) return;
		const { body: _, ...rest } = line.value.last_message;
		const last_message = {
			...rest,
			recalled_ms: time_ms,
			recalled_by: by
		};
		this.#put({
			...line.value,
			last_message
		}, line.rank);
	}
	#groupChanged({ group, change, user }) {
		const mine = user === void 0 || user === this.#host.user;
		if (!(change === "dismissed" || mine && (change === "left" || change === "removed")) && !(mine && (change === "created" || change === "joined")) && change !== "updated") return;
		this.#listDue = this.#listWatchers.size > 0;
		if (this.#groupWatchers.has(group)) this.#headsDue.add(group);
	}
	/** One question at a time, until nothing is due. */
	async #ask() {
		while (this.#online && !this.#heard && (this.#listDue || this.#headsDue.size > 0)) {
			this.#heard = [];
			try {
				if (this.#listDue) {
					this.#listDue = false;
					this.#setList(await this.#host.conversations());
				} else {
					const groups = [...this.#headsDue].slice(0, MOST_HEADS);
					for (const group of groups) this.#headsDue.delete(group);
					for (const head of await this.#host.heads(groups)) this.#setHead(head);
				}
			} catch {}
			const heard = this.#heard;
			this.#heard = void 0;
			for (const event of heard) this.#apply(event);
		}
	}
	#setList(list) {
		if (this.#listWatchers.size === 0) return;
		this.#listed = true;
		const groups = new Set(list.map(({ group }) => group));
		for (const group of [...this.#lines.keys()]) if (!groups.has(group)) this.#forget(group);
		this.#rank += list.length;
		for (const [i, conversation] of list.entries()) this.#put(conversation, this.#rank - i);
		this.#tellSoon();
	}
	#setHead(head) {
		if (head.error) return;
		const { group, max_seq, read_seq, unread } = head;
		const line = this.#lines.get(group);
		if (!line && !this.#groupWatchers.has(group)) return;
		this.#put(readUpTo({
			...line?.value,
			group,
			max_seq,
			read_seq,
			unread
		}, read_seq), line?.rank ?? 0);
	}
	#put(value, rank) {
		this.#lines.set(value.group, {
			value,
			rank
		});
		this.#changed.add(value.group);
		this.#tellSoon();
	}
	/** It is no line of the list (any more). */
	#forget(group) {
		const line = this.#lines.get(group);
		if (!line) return;
		this.#lines.delete(group);
		if (!this.#groupWatchers.has(group)) return;
		const { max_seq, read_seq, unread, mentioned_seq } = line.value;
		this.#lines.set(group, {
			value: {
				group,
				max_seq,
				read_seq,
				unread,
				mentioned_seq
			},
			rank: 0
		});
	}
	#tellSoon() {
		if (this.#telling) return;
		this.#telling = true;
		queueMicrotask(() => this.#tell());
	}
	#tell() {
		this.#telling = false;
		const changed = [...this.#changed];
		this.#changed.clear();
		for (const group of changed) {
			const line = this.#lines.get(group);
			for (const watcher of [...this.#groupWatchers.get(group) ?? []]) if (line) safely(() => watcher(line.value));
		}
		if (!this.#listed) return;
		const list = this.#list();
		for (const watcher of [...this.#listWatchers]) safely(() => watcher(list));
	}
	#list() {
		return [...this.#lines.values()].filter(({ value }) => "type" in value).sort((a, b) => b.rank - a.rank).map(({ value }) => value);
	}
};
function readUpTo(value, seq) {
	const { mentioned_seq, ...rest } = value;
	const mention = mentioned_seq !== void 0 && mentioned_seq > seq && { mentioned_seq };
	return {
		...rest,
		...mention,
		read_seq: seq
	};
}
//#endregion
//#region src/storage.ts
function seqKey(group) {
	return `seq:${group}`;
}
/** The key of the time, by the server's clock, up to which a group's recalls are known. */
function seenKey(group) {
	return `seen_ms:${group}`;
}
/** Keeps the integers in the page's localStorage. Each user needs a prefix of his own, and so does each server. */
function browserStorage(prefix = "hearth:") {
	return {
		load(key) {
			const value = globalThis.localStorage?.getItem(prefix + key);
			return value ? Number(value) : void 0;
		},
		save(key, value) {
			globalThis.localStorage?.setItem(prefix + key, String(value));
		}
	};
}
//#endregion
//#region src/cursors.ts
const SAVE_MS = 250;
/** The integers in the app's storage. What changes often is written a few times a second. */
var Cursors = class {
	#storage;
	#known = /* @__PURE__ */ new Map();
	#dirty = /* @__PURE__ */ new Map();
	#timer;
	#seen;
	/** `seen` is asked at every write for the times up to which the recalls of groups are known. */
	constructor(storage, seen) {
		this.#storage = storage;
		this.#seen = seen;
	}
	/** The last seq that was handed out; undefined when there is none, or the storage fails. */
	seq(group) {
		return this.#load(seqKey(group));
	}
	seenMs(group) {
		return this.#load(seenKey(group));
	}
	saveSeq(group, seq) {
		this.#put(seqKey(group), seq);
		this.touch();
	}
	/** Time has passed. */
	touch() {
		this.#timer ??= setTimeout(() => this.flush(), SAVE_MS);
	}
	flush() {
		clearTimeout(this.#timer);
		this.#timer = void 0;
		for (const [group, ms] of this.#seen()) this.#put(seenKey(group), ms);
		for (const [key, value] of this.#dirty) this.#write(key, value);
		this.#dirty.clear();
	}
	async #load(key) {
		if (this.#known.has(key)) return this.#known.get(key);
		try {
			const value = await this.#storage.load(key);
			if (!Number.isSafeInteger(value) || value < 0) return void 0;
			this.#known.set(key, Math.max(value, this.#known.get(key) ?? 0));
			return value;
		} catch {
			return;
		}
	}
	/** Only forward: who reads the history again does not bring all of it back at the next visit. */
	#put(key, value) {
		if (value <= (this.#known.get(key) ?? -1)) return;
		this.#known.set(key, value);
		this.#dirty.set(key, value);
	}
	async #write(key, value) {
		try {
			await this.#storage.save(key, value);
		} catch {}
	}
};
//#endregion
//#region src/emitter.ts
/** Listeners by name. */
var Emitter = class {
	#listeners = /* @__PURE__ */ new Map();
	/** Returns what ends the listening. */
	on(name, listener) {
		let set = this.#listeners.get(name);
		if (!set) {
			set = /* @__PURE__ */ new Set();
			this.#listeners.set(name, set);
		}
		const own = (value) => listener(value);
		set.add(own);
		return () => void set.delete(own);
	}
	emit(name, value) {
		for (const listener of [...this.#listeners.get(name) ?? []]) safely(() => listener(value));
	}
};
//#endregion
//#region src/feeds.ts
const MAX_ASKED = 20;
const DEFAULT_PAGE = 200;
const RECALL_MARGIN_MS = 6e4;
var Feed = class {
	readers = /* @__PURE__ */ new Set();
	backoff = new Backoff();
	phase = "idle";
	request;
	again = false;
	timer;
	recallsAfterMs;
	outsider = false;
	constructor(id, patient) {
		this.id = id;
		this.patient = patient;
	}
	/** Where the next page starts; undefined when all wait for what comes. */
	position() {
		let position;
		for (const reader of this.readers) {
			if (reader.full || reader.cursor === -1) continue;
			position = Math.min(position ?? Number.MAX_SAFE_INTEGER, reader.position);
		}
		return position;
	}
};
/**
* The groups that are read. A connection is subscribed to a group by subscribe with after_seq, page after page until
* there is no more. Pushes are handed out whenever they fit behind a reader's cursor. One that does not fit while a page
* is under way is dropped: the server wrote it before the page, so the page, or one behind it, has it. One that does not
* fit in a live group makes the client subscribe again.
*/
var Feeds = class {
	#feeds = /* @__PURE__ */ new Map();
	#seenMs;
	#connection;
	#page = DEFAULT_PAGE;
	#due = [];
	#asked = 0;
	/** `seenMs` is the latest time of the server that was heard of. */
	constructor(seenMs) {
		this.#seenMs = seenMs;
	}
	/** `patient` waits for a conversation that is not there yet. */
	add(group, reader, { patient = false, recalledAfterMs = void 0 } = {}) {
		let feed = this.#feeds.get(group);
		if (!feed) {
			feed = new Feed(group, patient);
			this.#feeds.set(group, feed);
		}
		feed.readers.add(reader);
		if (recalledAfterMs !== void 0) this.#missedRecalls(feed, recalledAfterMs);
		if (feed.phase === "asked") feed.again = true;
		else this.#catchUp(feed);
	}
	remove(group, reader) {
		const feed = this.#feeds.get(group);
		if (!feed?.readers.delete(reader) || feed.readers.size > 0) return;
		this.#drop(feed);
		if (feed.outsider) this.#unsubscribe(group);
	}
	#unsubscribe(group) {
		this.#connection?.ask("unsubscribe", { group }, () => {});
	}
	/** The reader has room again. */
	drained(group, reader) {
		const feed = this.#feeds.get(group);
		if (!feed || !reader.behind) return;
		reader.behind = false;
		if (feed.phase === "asked") feed.again = true;
		else this.#catchUp(feed);
	}
	welcome(connection, page) {
		this.#connection = connection;
		this.#page = page || DEFAULT_PAGE;
		for (const feed of this.#feeds.values()) this.#catchUp(feed);
	}
	lost() {
		if (!this.#connection) return;
		this.#connection = void 0;
		this.#due = [];
		this.#asked = 0;
		for (const feed of this.#feeds.values()) {
			clearTimeout(feed.timer);
			feed.phase = "idle";
			feed.request = void 0;
			feed.again = false;
			this.#missedRecalls(feed);
		}
	}
	end(error) {
		for (const feed of [...this.#feeds.values()]) this.#fail(feed, error);
	}
	message(message) {
		const feed = this.#feeds.get(message.group);
		if (!feed) return;
		if (feed.phase === "absent") this.#catchUp(feed);
		const { prev_seq: prevSeq = message.seq - 1, ...rest } = message;
		const { event: _, ...bare } = rest;
		let fits = true;
		for (const reader of [...feed.readers]) fits = reader.push(bare, prevSeq) && fits;
		if (!fits && feed.phase === "live") this.#catchUp(feed);
	}
	recall({ group, seq, by, time_ms }) {
		this.#recall(this.#feeds.get(group), {
			group,
			seq,
			by,
			time_ms
		});
	}
	resync({ groups }) {
		for (const { group, after_seq: after } of groups) {
			const feed = this.#feeds.get(group);
			if (!feed) continue;
			if (after !== void 0) for (const reader of feed.readers) reader.rewind(after);
			this.#missedRecalls(feed);
			this.#anew(feed);
		}
	}
	/** The subscription may have ended, or the group be there now: the server knows. */
	check(group) {
		const feed = this.#feeds.get(group);
		if (feed) this.#anew(feed);
	}
	/** A direct conversation that is there now. */
	created(group) {
		const feed = this.#feeds.get(group);
		if (feed?.phase === "absent") this.#catchUp(feed);
	}
	/** The groups that have surely heard of every recall up to a time. */
	recallsKnown() {
		const known = /* @__PURE__ */ new Map();
		const seen = this.#surelySeen();
		if (seen === void 0) return known;
		for (const feed of this.#feeds.values()) if (feed.phase === "live" && feed.recallsAfterMs === void 0) known.set(feed.id, seen);
		return known;
	}
	#surelySeen() {
		const seen = this.#seenMs();
		return seen === void 0 ? void 0 : Math.max(0, seen - RECALL_MARGIN_MS);
	}
	#anew(feed) {
		if (feed.phase === "asked") feed.again = true;
		else this.#catchUp(feed);
	}
	#missedRecalls(feed, since) {
		const from = since ?? this.#surelySeen();
		if (from !== void 0) feed.recallsAfterMs = Math.min(feed.recallsAfterMs ?? from, from);
	}
	#recall(feed, recall) {
		for (const reader of [...feed?.readers ?? []]) reader.recall(recall);
	}
	/** Subscribes to a group, in its turn. */
	#catchUp(feed) {
		if (!this.#connection || feed.phase === "due" || feed.phase === "asked" || feed.phase === "waiting") return;
		feed.phase = "due";
		this.#due.push(feed);
		this.#pump();
	}
	#pump() {
		while (this.#asked < MAX_ASKED && this.#due.length > 0) {
			const feed = this.#due.shift();
			if (feed.phase === "due") this.#subscribe(feed);
		}
	}
	#subscribe(feed) {
		const readers = [...feed.readers];
		for (const reader of readers) if (reader.full) reader.behind = true;
		if (readers.every((reader) => reader.full)) {
			feed.phase = "live";
			return;
		}
		const after = feed.position();
		const recalls = after !== void 0 && feed.recallsAfterMs !== void 0;
		const request = {
			after,
			recalls
		};
		feed.phase = "asked";
		feed.request = request;
		feed.again = false;
		this.#asked++;
		const fields = {
			group: feed.id,
			...after !== void 0 && {
				after_seq: after,
				limit: this.#page
			},
			...recalls && { recalled_after_ms: feed.recallsAfterMs }
		};
		this.#connection.ask("subscribe", fields, (error, page) => this.#subscribed(feed, request, error, page));
	}
	#subscribed(feed, request, error, page) {
		if (feed.request !== request) {
			if (page?.role === null && !this.#feeds.has(feed.id)) this.#unsubscribe(feed.id);
			return;
		}
		this.#asked--;
		feed.phase = "idle";
		feed.request = void 0;
		if (page) this.#caughtUp(feed, request, page);
		else this.#refused(feed, request, error);
		this.#pump();
	}
	#refused(feed, request, error) {
		if (isRetryable(error)) this.#later(feed, error.retryAfterMs ?? 0);
		else if (error.code === "too_large" && request.recalls) {
			feed.recallsAfterMs = void 0;
			for (const reader of [...feed.readers]) reader.recallsLost();
			this.#catchUp(feed);
		} else if (error.code === "not_found" && feed.patient) {
			for (const reader of feed.readers) reader.begin(0);
			feed.phase = "absent";
			if (feed.again) this.#catchUp(feed);
		} else this.#fail(feed, error);
	}
	#caughtUp(feed, { after, recalls }, page) {
		feed.outsider = page.role === null;
		if (recalls) {
			feed.recallsAfterMs = void 0;
			for (const seq of page.recalled ?? []) this.#recall(feed, {
				group: feed.id,
				seq
			});
		}
		const before = feed.position();
		for (const reader of [...feed.readers]) reader.page(after, page);
		if (feed.readers.size === 0) return;
		const position = feed.position();
		if (page.more && after !== void 0 && before === after && position === before) this.#later(feed, 0);
		else if (page.more || feed.again || position !== void 0 && position < (after ?? page.max_seq)) this.#catchUp(feed);
		else {
			feed.phase = "live";
			feed.backoff.reset();
			for (const reader of [...feed.readers]) reader.live(page);
		}
	}
	#later(feed, ms) {
		feed.phase = "waiting";
		feed.timer = setTimeout(() => {
			if (feed.phase !== "waiting") return;
			feed.phase = "idle";
			this.#catchUp(feed);
		}, Math.max(ms, feed.backoff.next()));
	}
	#fail(feed, error) {
		this.#drop(feed);
		for (const reader of [...feed.readers]) reader.fail(error);
		feed.readers.clear();
	}
	#drop(feed) {
		this.#feeds.delete(feed.id);
		clearTimeout(feed.timer);
		if (feed.phase === "asked") {
			this.#asked--;
			this.#pump();
		}
		feed.phase = "idle";
		feed.request = void 0;
	}
};
//#endregion
//#region src/hot.ts
const MOST = 50;
const AGAIN_MS = 2e3;
/** Asks for the hot rooms while somebody watches them, on every connection. */
var Hot = class {
	#link;
	#watchers = /* @__PURE__ */ new Set();
	#asked;
	constructor(link) {
		this.#link = link;
	}
	/** Returns what ends it. The server answers every request with the rooms as they are. */
	watch({ ...watcher }) {
		this.#watchers.add(watcher);
		this.#ask();
		return () => {
			if (this.#watchers.delete(watcher)) this.#ask();
		};
	}
	welcome(connection) {
		if (this.#watchers.size > 0) this.#ask(connection);
	}
	#ask(connection = this.#link.connection) {
		const asked = {};
		this.#asked = asked;
		const limits = [...this.#watchers].map(({ limit }) => limit ?? MOST);
		const fields = limits.length > 0 ? {
			watch: true,
			limit: Math.max(...limits)
		} : { watch: false };
		connection?.ask("hot", fields, (error) => {
			if (!error || connection.over || this.#asked !== asked) return;
			if (!error.retryable) {
				for (const { onError } of [...this.#watchers]) safely(() => onError?.(error));
				return;
			}
			pause(error.retryAfterMs ?? AGAIN_MS, this.#link.left).then(() => {
				if (this.#asked === asked && !connection.over) this.#ask();
			});
		});
	}
};
//#endregion
//#region src/http.ts
const ANSWER_MS$1 = 3e4;
/** The HTTP routes, as the user. */
var Http = class {
	#link;
	constructor(link) {
		this.#link = link;
	}
	get left() {
		return this.#link.left;
	}
	/** Asks once; only a token that is refused is replaced. */
	async request(method, path, body, signal) {
		let token = await this.#token(void 0, signal);
		for (let first = true;; first = false) {
			const headers = { Authorization: `Bearer ${token}` };
			if (body !== void 0) headers["Content-Type"] = "application/json";
			const init = {
				method,
				headers,
				body: JSON.stringify(body)
			};
			const { status, answer } = await this.#fetch(this.absolute(`/v1${path}`), init, ANSWER_MS$1, signal);
			if (status < 400) return answer;
			if (status !== 401 || !first) throw problem(status, answer);
			token = await this.#token(token, signal);
		}
	}
	/** The app's no stays; whatever else keeps it from giving a token is no answer. */
	async #token(stale, signal) {
		try {
			return await abortable(this.#link.token(stale), signal);
		} catch (error) {
			if (signal?.aborted || error instanceof HearthError) throw error;
			throw this.left.aborted ? closed() : unanswered(`no token: ${messageOf(error)}`);
		}
	}
	/** Sends bytes to a URL that needs no token. */
	async put(url, headers, bytes, signal) {
		const init = {
			method: "PUT",
			headers,
			body: bytes
		};
		const { status, answer } = await this.#fetch(this.absolute(url), init, 0, signal);
		if (status >= 400) throw problem(status, answer);
	}
	/** The server tells its own URLs as paths. */
	absolute(url) {
		return url.startsWith("/") ? this.#link.url + url : url;
	}
	async #fetch(url, init, timeoutMs, signal) {
		const over = new AbortController();
		const abort = () => over.abort();
		const { left } = this.#link;
		if (left.aborted) throw closed();
		const timer = timeoutMs > 0 ? setTimeout(abort, timeoutMs) : void 0;
		left.addEventListener("abort", abort);
		signal?.addEventListener("abort", abort);
		try {
			return await abortable(fetch(url, {
				...init,
				signal: over.signal
			}).then(async (response) => ({
				status: response.status,
				answer: parsed(await response.text())
			})), signal);
		} catch (error) {
			if (signal?.aborted) throw error;
			throw left.aborted ? closed() : unanswered("no answer from the server");
		} finally {
			clearTimeout(timer);
			left.removeEventListener("abort", abort);
			signal?.removeEventListener("abort", abort);
		}
	}
};
function closed() {
	return new HearthError({
		code: "closed",
		message: "the client was closed",
		retryable: false
	});
}
function parsed(text) {
	try {
		return JSON.parse(text);
	} catch {
		return;
	}
}
/** The server's error, or what the status says when something between answered. */
function problem(status, answer) {
	const told = answer;
	return new HearthError({
		code: told?.code ?? codes[status] ?? (status >= 500 ? "unavailable" : "bad_request"),
		message: told?.detail ?? told?.title ?? `HTTP ${status}`,
		retryable: told?.retryable ?? (status === 429 || status >= 500),
		retry_after_ms: told?.retry_after_ms
	});
}
const codes = {
	401: "unauthorized",
	403: "forbidden",
	404: "not_found",
	413: "too_large",
	429: "rate_limited"
};
//#endregion
//#region src/connection.ts
const LOST = "the connection was lost or refused";
const ANSWER_MS = 2e4;
const WELCOME_MS = 2e4;
const PONG_MS = 1e4;
const MAX_OBJECTS = 100;
const MAX_FRAME_BYTES = 64 * 1024;
const FRAME_INTERVAL_MS = 1e3 / 80;
const FRAME_BURST = 40;
/** One WebSocket: frames, requests and their answers, and whether the other side is still there. */
var Connection = class {
	#socket;
	#hooks;
	#questions = /* @__PURE__ */ new Map();
	#lastId = 0;
	#queue = [];
	#flushing = false;
	#nextTurn = 0;
	#goodbye;
	#over = false;
	#watch;
	#pingMs = 0;
	constructor(socket, hooks) {
		this.#socket = socket;
		this.#hooks = hooks;
		socket.onmessage = (event) => this.#receive(event.data);
		socket.onclose = (event) => this.end({
			code: event.code ?? 0,
			reason: event.reason || LOST
		});
		socket.onerror = () => {
			if (this.#pingMs === 0) this.end({
				code: 0,
				reason: LOST
			});
		};
		this.#watch = setTimeout(() => this.end({
			code: 0,
			reason: "no welcome"
		}), WELCOME_MS);
	}
	/** From the welcome on this side asks, too: it may not see the server's pings. */
	watch(pingMs) {
		this.#pingMs = pingMs > 0 ? pingMs : 25e3;
		this.#heard();
	}
	get over() {
		return this.#over;
	}
	/** Asks; the answer is told in its place among the events. */
	ask(op, fields, answered) {
		if (this.#over) {
			answered(unanswered("the connection was lost"), void 0);
			return;
		}
		const id = ++this.#lastId;
		const object = JSON.stringify({
			id,
			op,
			...fields
		});
		if (utf8Length(object) > MAX_FRAME_BYTES) {
			answered(new HearthError({
				code: "too_large",
				message: "the request is over 64 KiB",
				retryable: false
			}), void 0);
			return;
		}
		const timer = setTimeout(() => this.#answer(id, unanswered("no answer in time"), void 0), ANSWER_MS);
		this.#questions.set(id, {
			answered,
			timer
		});
		this.#queue.push(object);
		this.#flushSoon();
	}
	/** Asks once. Whether it was done is not known after `unavailable`. */
	request(op, fields) {
		return new Promise((resolve, reject) => {
			this.ask(op, fields, (error, ok) => error ? reject(error) : resolve(ok));
		});
	}
	/** Gives the socket up at once: the close of a dead network may take minutes to be noticed. */
	end(loss) {
		if (this.#over) return;
		this.#over = true;
		clearTimeout(this.#watch);
		this.#queue = [];
		const socket = this.#socket;
		socket.onmessage = null;
		socket.onclose = null;
		try {
			socket.close(1e3);
		} catch {}
		this.#hooks.ended(this.#goodbye ?? loss);
		for (const id of [...this.#questions.keys()]) this.#answer(id, unanswered("the connection was lost"), void 0);
	}
	#receive(data) {
		if (typeof data !== "string") return;
		this.#heard();
		this.#hooks.frame("in", data);
		for (const line of data.split("\n")) {
			if (this.#over) return;
			const object = parse(line);
			if (object === void 0) continue;
			if ("event" in object) this.#event(object);
			else this.#reply(object);
		}
	}
	#event(event) {
		if (event.event === "goodbye") this.#goodbye = {
			code: event.code,
			reason: event.reason,
			afterMs: event.reconnect_after_ms
		};
		this.#hooks.event(event);
	}
	#reply({ id, ok, error }) {
		if (id === void 0) return;
		this.#answer(id, error && new HearthError(error), ok);
	}
	#answer(id, error, ok) {
		const question = this.#questions.get(id);
		if (!question) return;
		this.#questions.delete(id);
		clearTimeout(question.timer);
		question.answered(error, ok);
	}
	#heard() {
		if (this.#pingMs === 0) return;
		clearTimeout(this.#watch);
		this.#watch = setTimeout(() => this.#ping(), this.#pingMs);
	}
	/** Asks now whether the other side is still there. */
	check() {
		if (this.#pingMs === 0 || this.#over) return;
		clearTimeout(this.#watch);
		this.#ping();
	}
	#ping() {
		this.#watch = setTimeout(() => this.end({
			code: 0,
			reason: "not a word from the server"
		}), PONG_MS);
		this.ask("ping", {}, (_, ok) => {
			if (ok) this.#hooks.time(ok.time_ms);
		});
	}
	#flushSoon() {
		if (this.#flushing) return;
		this.#flushing = true;
		const delay = this.#turn();
		if (delay > 0) setTimeout(() => this.#flush(), delay);
		else queueMicrotask(() => this.#flush());
	}
	/** Takes the next turn and tells how long to wait for it. */
	#turn() {
		const now = Date.now();
		this.#nextTurn = Math.max(this.#nextTurn, now - FRAME_BURST * FRAME_INTERVAL_MS) + FRAME_INTERVAL_MS;
		return Math.min(this.#nextTurn - now, 1e3);
	}
	#flush() {
		this.#flushing = false;
		if (this.#over || this.#queue.length === 0) return;
		let bytes = 0;
		let n = 0;
		while (n < this.#queue.length && n < MAX_OBJECTS) {
			bytes += utf8Length(this.#queue[n]) + (n > 0 ? 1 : 0);
			if (n > 0 && bytes > MAX_FRAME_BYTES) break;
			n++;
		}
		const frame = this.#queue.splice(0, n).join("\n");
		try {
			this.#socket.send(frame);
		} catch {
			this.end({
				code: 0,
				reason: "the connection was lost"
			});
			return;
		}
		this.#hooks.frame("out", frame);
		if (this.#queue.length > 0) this.#flushSoon();
	}
};
/** One line of a frame; undefined when it is no object. */
function parse(line) {
	if (line.trim() === "") return void 0;
	try {
		const object = JSON.parse(line);
		return typeof object === "object" && object !== null ? object : void 0;
	} catch {
		return;
	}
}
function utf8Length(text) {
	let bytes = text.length;
	for (let i = 0; i < text.length; i++) {
		const unit = text.charCodeAt(i);
		if (unit < 128) continue;
		if (unit < 2048 || unit >= 55296 && unit < 57344) bytes += 1;
		else bytes += 2;
	}
	return bytes;
}
//#endregion
//#region src/link.ts
const TOKEN_MS = 3e4;
const SUBPROTOCOL = /^[\w!#$%&'*+.^`|~-]+$/;
/** The connection that comes back. */
var Link = class {
	#urls;
	#newToken;
	#hooks;
	#leave = new AbortController();
	#wake = new AbortController();
	#state = { state: "connecting" };
	#connection;
	#socket;
	#arrivals = /* @__PURE__ */ new Set();
	#ended;
	#token;
	#asking;
	/** The urls are taken in turn. */
	constructor(urls, newToken, hooks) {
		if (urls.length === 0) throw new Error("url is required");
		this.#urls = urls;
		this.#newToken = newToken;
		this.#hooks = hooks;
	}
	get state() {
		return this.#state;
	}
	get connection() {
		return this.#connection;
	}
	get ended() {
		return this.#ended;
	}
	/** Fires at the end. */
	get left() {
		return this.#leave.signal;
	}
	/** The base URL in use. */
	get url() {
		return this.#state.url ?? this.#urls[0];
	}
	/** Connects, until the end. */
	async run(socket) {
		const backoff = new Backoff();
		for (let turn = 0; !this.#ended; turn++) {
			const url = this.#urls[turn % this.#urls.length];
			this.#wake = new AbortController();
			this.#become({
				state: "connecting",
				url
			});
			const { loss, welcomed, fatal } = await this.#session(socket, url);
			if (this.#ended) return;
			if (fatal || loss.code >= 4500 && loss.code <= 4999) {
				this.end(new ClosedError(loss.code, loss.reason));
				return;
			}
			if (welcomed) backoff.reset();
			const retryInMs = loss.afterMs || backoff.next();
			this.#become({
				state: "waiting",
				url,
				code: loss.code,
				reason: loss.reason,
				retryInMs
			});
			await pause(retryInMs, this.#wake.signal, this.left);
		}
	}
	/** The life of one connection. */
	async #session(socket, url) {
		let token;
		try {
			token = await this.#freshToken();
		} catch (error) {
			const fatal = error instanceof HearthError && !error.retryable;
			return {
				loss: {
					code: 0,
					reason: `no token: ${messageOf(error)}`
				},
				welcomed: false,
				fatal
			};
		}
		return new Promise((resolve) => {
			if (this.#ended) {
				resolve({
					loss: {
						code: 0,
						reason: "closed"
					},
					welcomed: false
				});
				return;
			}
			let welcomed = false;
			let connection;
			try {
				connection = new Connection(new socket(socketUrl(url), ["hearth.v1", `hearth.token.${token}`]), {
					frame: (direction, text) => this.#hooks.frame(direction, text),
					event: (event) => {
						if (event.event === "welcome" && !welcomed) {
							welcomed = true;
							this.#welcomed(connection, event, url);
						}
						if (event.event === "token_expiring") this.#refresh(connection);
						this.#hooks.event(event);
					},
					time: (ms) => this.#hooks.time(ms),
					ended: (loss) => {
						this.#connection = void 0;
						this.#socket = void 0;
						this.#hooks.lost();
						resolve({
							loss,
							welcomed
						});
					}
				});
			} catch {
				resolve({
					loss: {
						code: 0,
						reason: "no WebSocket can be made of this url"
					},
					welcomed,
					fatal: true
				});
				return;
			}
			this.#socket = connection;
		});
	}
	#welcomed(connection, welcome, url) {
		connection.watch(welcome.ping_interval_ms);
		this.#hooks.welcomed(connection, welcome);
		this.#connection = connection;
		this.#arrived(connection);
		this.#become({
			state: "online",
			url
		});
	}
	/** Without a newer token the server closes with 4002, and the next connection has a token of its own. */
	async #refresh(connection) {
		try {
			await connection.request("refresh", { token: await this.#freshToken() });
		} catch {}
	}
	/** The latest token, or one that comes after `stale`. */
	async token(stale) {
		if (this.#token !== stale) return this.#token;
		this.#asking ??= this.#freshToken().finally(() => {
			this.#asking = void 0;
		});
		return this.#asking;
	}
	async #freshToken() {
		const given = new AbortController();
		const late = pause(TOKEN_MS, given.signal, this.left).then(() => {
			throw new Error("not given in time");
		});
		late.catch(() => {});
		try {
			const token = await Promise.race([Promise.resolve().then(this.#newToken), late]);
			if (typeof token !== "string" || !SUBPROTOCOL.test(token)) throw new Error("what was given is none");
			this.#token = token;
			return token;
		} finally {
			given.abort();
		}
	}
	/** Waits for a connection. */
	connected(signal) {
		if (this.#ended) return Promise.reject(this.#ended);
		if (this.#connection) return Promise.resolve(this.#connection);
		return abortable(new Promise((resolve, reject) => {
			this.#arrivals.add((outcome) => outcome instanceof Error ? reject(outcome) : resolve(outcome));
		}), signal);
	}
	#arrived(outcome) {
		const waiting = [...this.#arrivals];
		this.#arrivals.clear();
		for (const tell of waiting) tell(outcome);
	}
	reconnect() {
		if (this.#connection) this.#connection.check();
		else this.#wake.abort();
	}
	drop(retryInMs) {
		this.#socket?.end({
			code: 0,
			reason: "dropped",
			afterMs: retryInMs
		});
	}
	end(error) {
		if (this.#ended) return;
		this.#ended = error;
		this.#leave.abort();
		this.#socket?.end({
			code: 0,
			reason: error.message
		});
		this.#hooks.ended(error);
		this.#arrived(error);
		this.#become({
			state: "closed",
			code: error.closeCode,
			reason: error.message
		});
	}
	#become(state) {
		this.#state = state;
		this.#hooks.state(state);
	}
};
function socketUrl(base) {
	return `${base.replace(/^http/, "ws")}/v1/ws`;
}
//#endregion
//#region src/sender.ts
const REMEMBERED_MS = 9 * 6e4;
/** Sends, one after the other in each group: what was refused and is repeated is not overtaken. */
var Sender = class {
	#connected;
	#left;
	#lanes = /* @__PURE__ */ new Map();
	/** `left` fires when the client ends. */
	constructor(connected, left) {
		this.#connected = connected;
		this.#left = left;
	}
	/** `ids` are those of the group and the user, as far as they are known. */
	send(target, body, options, ids) {
		const clientId = options.clientId ?? newId();
		const fields = {
			...target,
			body,
			client_id: clientId,
			mentions: options.mentions,
			reply_to: options.replyTo,
			ack: options.ack,
			timeout_ms: options.timeoutMs,
			priority: options.priority
		};
		const lane = "to" in target ? `to ${target.to}` : target.group;
		const sent = (this.#lanes.get(lane) ?? Promise.resolve()).then(() => this.#deliver(fields, options.signal));
		const settled = sent.then(() => {}, () => {});
		this.#lanes.set(lane, settled);
		settled.then(() => {
			if (this.#lanes.get(lane) === settled) this.#lanes.delete(lane);
		});
		const { mentions, reply_to } = fields;
		return Object.assign(abortable(sent, options.signal), {
			clientId,
			message: {
				...ids,
				time_ms: Date.now(),
				client_id: clientId,
				body,
				mentions,
				reply_to
			}
		});
	}
	/** Repeats until the server has said yes, or a no that stays. */
	async #deliver(fields, signal) {
		const backoff = new Backoff();
		let uncertainSince;
		for (;;) {
			if (signal?.aborted) throw reasonOf(signal);
			const connection = await this.#connected(signal);
			if (uncertainSince !== void 0 && Date.now() - uncertainSince > REMEMBERED_MS) throw uncertain();
			const asked = Date.now();
			try {
				return await abortable(connection.request("send", fields), signal);
			} catch (error) {
				if (!isRetryable(error)) throw error;
				if (error.code === "unavailable") uncertainSince ??= asked;
				if (!connection.over) await pause(error.retryAfterMs ?? backoff.next(), signal, this.#left);
			}
		}
	}
};
function uncertain() {
	return new HearthError({
		code: "uncertain",
		message: "the message may have been stored, and it is too late to find out by repeating it",
		retryable: false
	});
}
/** 128 random bits. */
function newId() {
	const bytes = new Uint8Array(16);
	if (globalThis.crypto?.getRandomValues) globalThis.crypto.getRandomValues(bytes);
	else for (let i = 0; i < bytes.length; i++) bytes[i] = Math.random() * 256;
	return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
//#endregion
//#region src/upload.ts
/** Uploads, with a place of its own for every attempt, until the server has it or a no that stays. */
async function upload(http, file, options) {
	const blob = "size" in file ? file : void 0;
	const bytes = "size" in file ? file.size : file.byteLength;
	const name = options.name || blob?.name || "file";
	const type = options.type || blob?.type || "application/octet-stream";
	const { signal } = options;
	const attempt = async () => {
		const slot = await http.request("POST", "/uploads", {
			name,
			content_type: type,
			bytes
		}, signal);
		await http.put(slot.upload_url, slot.headers, file, signal);
		return {
			url: slot.url,
			name,
			type,
			bytes
		};
	};
	return repeat(attempt, signal, http.left);
}
//#endregion
//#region src/hearth.ts
/** One user's connection, which comes back by itself. Made by connect. */
var Hearth = class {
	/** @internal For the groups. */
	feeds;
	#link;
	#listeners = new Emitter();
	#sender;
	#http;
	#hot;
	#conversations;
	#cursors;
	#groups = /* @__PURE__ */ new Map();
	#user;
	#seenMs;
	constructor(options) {
		const socket = options.webSocket ?? globalSocket();
		const urls = [options.url].flat().map((url) => url.replace(/^ws/, "http").replace(/\/+$/, ""));
		this.#user = options.user;
		this.feeds = new Feeds(() => this.#seenMs);
		this.#cursors = options.storage && new Cursors(options.storage, () => this.feeds.recallsKnown());
		this.#link = new Link(urls, options.token, {
			state: (state) => this.#listeners.emit("state", state),
			frame: (direction, text) => this.#listeners.emit("frame", {
				direction,
				text
			}),
			welcomed: (connection, welcome) => this.#welcomed(connection, welcome),
			event: (event) => this.#event(event),
			time: (ms) => this.#seen(ms),
			lost: () => {
				this.#cursors?.flush();
				this.feeds.lost();
				this.#conversations.lost();
			},
			ended: (error) => {
				this.feeds.end(error);
				this.#cursors?.flush();
			}
		});
		this.#sender = new Sender((signal) => this.#link.connected(signal), this.#link.left);
		this.#http = new Http(this.#link);
		this.#hot = new Hot(this.#link);
		this.#conversations = new Conversations(this);
		globalThis.addEventListener?.("online", () => this.reconnect(), { signal: this.#link.left });
		this.#link.run(socket);
	}
	get state() {
		return this.#link.state.state;
	}
	/** The user of the token, once connected. */
	get user() {
		return this.#user;
	}
	/** A room or group, or a direct conversation by its id. It asks the server nothing yet. */
	group(id) {
		return this.#group(id, { group: id });
	}
	/** The conversation with a user; the first message opens it. */
	direct(user) {
		return this.#group(`to ${user}`, { to: user });
	}
	/** Always the same one: it knows what it has told of typing and reading. */
	#group(key, target) {
		const group = this.#groups.get(key) ?? new Group(this, target);
		this.#groups.set(key, group);
		return group;
	}
	/** An event of the server as it comes; or `state`, or `frame`. Returns what ends the listening. */
	on(name, listener) {
		return this.#listeners.on(name, listener);
	}
	/** The user's conversations, most recent first, with unread and mentions. */
	async conversations() {
		const pages = [];
		for (let cursor;;) {
			const page = await this.call("sync", { cursor });
			pages.push(page.results);
			cursor = page.cursor;
			if (!cursor) break;
		}
		if (pages.length > 1) pages.unshift((await this.call("sync", {})).results);
		const list = /* @__PURE__ */ new Map();
		for (const conversation of pages.flat()) if (!list.has(conversation.group)) list.set(conversation.group, conversation);
		return [...list.values()];
	}
	/**
	* Calls with the conversations as they change, most recent first. Rooms that the user has joined are up to date while
	* they are read, and at every connect. Returns what ends it.
	*/
	watchConversations(listener) {
		return this.#conversations.watchList(listener);
	}
	/** What is behind a seq in each of up to 200 groups, within a budget of bytes: see `more`. */
	async sync(groups, options = {}) {
		const { limit, maxBytes: max_bytes, recalledAfterMs: recalled_after_ms } = options;
		return (await this.call("sync", {
			groups,
			limit,
			max_bytes,
			recalled_after_ms
		})).results;
	}
	/** @internal How far groups and the user are. */
	heads(groups) {
		return this.sync(Object.fromEntries(groups.map((group) => [group, Number.MAX_SAFE_INTEGER])));
	}
	async presence(users) {
		return (await this.call("presence", { users })).users;
	}
	/** Calls with the hot rooms at most once a second, while they change. Returns what ends it. */
	watchHot(listener, options = {}) {
		const off = this.on("hot", listener);
		const end = this.#hot.watch(options);
		return () => {
			off();
			end();
		};
	}
	/** Asks once. After `unavailable` it may have been done. */
	async request(op, fields) {
		return (await this.#link.connected()).request(op, fields);
	}
	/** Asks until there is an answer that stays: for what may be done twice. */
	async call(op, fields) {
		const backoff = new Backoff();
		for (;;) {
			const connection = await this.#link.connected();
			try {
				return await connection.request(op, fields);
			} catch (error) {
				if (!isRetryable(error)) throw error;
				if (!connection.over) await pause(error.retryAfterMs ?? backoff.next(), this.#link.left);
			}
		}
	}
	/** Resolves when connected; rejects when the client has ended. */
	async online() {
		await this.#link.connected();
	}
	/**
	* One of the HTTP routes, by its path below /v1, as the user: `http('POST', '/groups/tea/join')`. Asked once; after
	* `unavailable` it may have been done.
	*/
	async http(method, path, body, signal) {
		return await this.#http.request(method, path, body, signal);
	}
	/** Uploads a file, to be sent as an element with its url. Repeated until the server has it, or says a no that stays. */
	upload(file, options = {}) {
		return upload(this.#http, file, options);
	}
	/** The URL of an upload as a page of another origin needs it; others stay as they are. */
	absolute(url) {
		return this.#http.absolute(url);
	}
	/** Does not wait for the next attempt; while online, makes sure of the connection. For apps that come to the front. */
	reconnect() {
		this.#link.reconnect();
	}
	/** Cuts the connection, as a bad network would. It comes back by itself, after `retryInMs` if that is given: Infinity waits for reconnect(). */
	drop(retryInMs) {
		this.#link.drop(retryInMs);
	}
	/** Ends the client: loops end, and what was not answered fails with `closed`. */
	close() {
		this.#link.end(new ClosedError(0, "the client was closed"));
	}
	/** @internal For the groups. */
	send(target, body, options, group) {
		const pending = this.#sender.send(target, body, options, {
			group,
			from: this.#user
		});
		if ("to" in target) pending.then(({ group }) => this.feeds.created(group), () => {});
		return pending;
	}
	/** @internal For the groups. */
	watchUnread(group, listener) {
		return this.#conversations.watchGroup(group, listener);
	}
	/** @internal For the groups: the user has read here. */
	marked(mark) {
		this.#conversations.marked(mark);
	}
	/** @internal For the groups. */
	follow(group, reader, options) {
		if (this.#link.ended) reader.fail(this.#link.ended);
		else this.feeds.add(group, reader, options);
	}
	/** @internal For the groups: where an earlier visit was. */
	async stored(group) {
		if (!this.#cursors) return void 0;
		const [seq, seenMs] = await Promise.all([this.#cursors.seq(group), this.#cursors.seenMs(group)]);
		return {
			seq,
			seenMs: seq === void 0 ? void 0 : seenMs ?? 0
		};
	}
	/** @internal For the groups: the app is done with a message. */
	handled(group, seq) {
		this.#cursors?.saveSeq(group, seq);
	}
	/** @internal For the groups. */
	error(reply) {
		return new HearthError(reply ?? {
			code: "internal",
			message: "no such answer",
			retryable: true
		});
	}
	#welcomed(connection, welcome) {
		this.#user = welcome.user;
		this.feeds.welcome(connection, welcome.limits?.page);
		this.#hot.welcome(connection);
		this.#conversations.welcome();
	}
	#event(event) {
		if ("time_ms" in event) this.#seen(event.time_ms);
		switch (event.event) {
			case "message":
				this.feeds.message(event);
				break;
			case "recall":
				this.feeds.recall(event);
				break;
			case "resync":
				this.feeds.resync(event);
				break;
			case "group":
				this.#groupChanged(event);
				break;
		}
		this.#conversations.event(event);
		this.#listeners.emit(event.event, event);
	}
	/** Whoever is out of a group finds out by subscribing again, and so does who is in it now. */
	#groupChanged({ group, change, user }) {
		const mine = user === void 0 || user === this.#user;
		if (change === "dismissed" || mine && (change === "left" || change === "removed")) this.feeds.check(group);
		if (change === "created" || change === "joined") this.feeds.created(group);
	}
	#seen(ms) {
		if (this.#seenMs !== void 0 && ms <= this.#seenMs) return;
		this.#seenMs = ms;
		this.#cursors?.touch();
	}
};
/** Connects, and connects again, until close() or until the server does not want this client back. */
function connect(options) {
	return new Hearth(options);
}
function globalSocket() {
	const socket = globalThis.WebSocket;
	if (!socket) throw new Error("there is no WebSocket here: pass one as webSocket");
	return socket;
}
//#endregion
//#region src/types.ts
/** The texts of a body, line by line: what a plain text client would show. */
function textOf(message) {
	return (message.body ?? []).flatMap((e) => e.type === "text" ? [e.text] : []).join("\n");
}
//#endregion
export { ClosedError, HearthError, browserStorage, connect, directId, textOf };
