package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

const partitions = 4

var (
	errCut    = errors.New("connection reset")
	errFenced = fencedError{}
	errTaken  = errors.New("the seq has another message")
	errLeft   = errors.New("its log is not empty")
	errPassed = errors.New("the row has another generation")
)

// world is a model of one Redis and one MySQL: what redisrepo's scripts and mysqlrepo's transactions do, in maps.
// It notes each request that arrived, and each time that a promise was broken.
type world struct {
	mu sync.Mutex // guards all below; each request is one atomic step

	aside      []domain.LogEntry // of logs that were set aside
	logs       map[domain.LogRange][]domain.LogEntry
	sent       map[domain.LogRange][]domain.Message // everything that was ever in the log
	seqs       map[domain.LogRange]map[string]int64
	watermarks map[domain.LogRange]map[string]int64
	reads      map[domain.LogRange]map[domain.GroupUser]int64
	dirty      map[domain.LogRange]map[domain.GroupUser]int64 // of reads, what MySQL has not got
	older      map[int][]int64
	leases     map[int]lease
	lastID     int
	marksPage  int // how many marks DirtyMarks returns at most

	rows    map[place]domain.Message
	settled map[int]int64
	refused map[place]bool  // what MySQL refuses
	strange map[string]bool // users whose marks it refuses
	letters map[place]domain.Message
	holes   map[string]domain.Holes // that Redis was told of
	marks   map[domain.GroupUser]int64

	requests []request
	broken   []string
}

type place struct {
	group string
	seq   int64
}

type lease struct {
	holder string
	until  time.Time
}

// request is one that arrived.
type request struct {
	name string // of the method, in a word or two
	at   time.Time
	by   string
	of   []domain.LogRange
	n    int // entries, rows or marks
}

func newWorld() *world {
	return &world{
		logs:       map[domain.LogRange][]domain.LogEntry{},
		sent:       map[domain.LogRange][]domain.Message{},
		seqs:       map[domain.LogRange]map[string]int64{},
		watermarks: map[domain.LogRange]map[string]int64{},
		reads:      map[domain.LogRange]map[domain.GroupUser]int64{},
		dirty:      map[domain.LogRange]map[domain.GroupUser]int64{},
		older:      map[int][]int64{},
		leases:     map[int]lease{},
		marksPage:  1000,
		rows:       map[place]domain.Message{},
		settled:    map[int]int64{},
		refused:    map[place]bool{},
		strange:    map[string]bool{},
		letters:    map[place]domain.Message{},
		holes:      map[string]domain.Holes{},
		marks:      map[domain.GroupUser]int64{},
	}
}

func logOf(partition int, gen int64) domain.LogRange {
	return domain.LogRange{Partition: partition, Gen: gen}
}

// groupIn is the i-th group of a partition.
func groupIn(partition, i int) string {
	for n := 0; ; n++ {
		if id := "g" + strconv.Itoa(n); domain.Partitions(partitions).Of(id) == partition {
			if i == 0 {
				return id
			}
			i--
		}
	}
}

// send appends messages to a log, as append.lua does.
func (w *world) send(log domain.LogRange, group string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seqs := field(w.seqs, log)
	for range n {
		seqs[group] = max(seqs[group], firstSeq(log.Gen)-1) + 1
		w.lastID++
		m := domain.Message{
			Group: group, Seq: seqs[group], TimeMS: time.Now().UnixMilli(), Gen: log.Gen, GroupType: domain.Room,
			Header: domain.Header{From: "ann"}, Hash: fmt.Sprintf("%032x", w.lastID),
		}
		w.logs[log] = append(w.logs[log], domain.LogEntry{ID: strconv.Itoa(w.lastID) + "-0", Message: m})
		w.sent[log] = append(w.sent[log], m)
	}
}

// firstSeq is where groups start in a generation, see DESIGN.md §4.4.
func firstSeq(gen int64) int64 { return (gen-1)*1_000_000 + 1 }

// read moves a read mark forward, as read.lua does.
func (w *world) read(log domain.LogRange, group, user string, seq int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	who := domain.GroupUser{Group: group, User: user}
	if seq > field(w.reads, log)[who] {
		w.reads[log][who], field(w.dirty, log)[who] = seq, seq
	}
}

func field[K comparable, F comparable, V any](m map[K]map[F]V, key K) map[F]V {
	if m[key] == nil {
		m[key] = map[F]V{}
	}
	return m[key]
}

// breaks notes a broken promise.
func (w *world) breaks(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf(format, args...))
}

// requireKept fails if a promise was broken on the way.
func (w *world) requireKept(t require.TestingT) {
	w.mu.Lock()
	defer w.mu.Unlock()
	requireNone(t, w.broken, "promises broken")
}

// requireNone fails with the first few of what should not be there: whole logs would bury the reason.
func requireNone[T any](t require.TestingT, list []T, what string, args ...any) {
	if len(list) > 0 {
		require.FailNow(t, fmt.Sprintf("%d %s, first of them: %v", len(list), fmt.Sprintf(what, args...), list[:min(3, len(list))]))
	}
}

// requireAllStored fails unless every message that was ever in a log is a row once, nothing else is, the logs are
// empty and the watermarks are the last seqs, except those of forgotten generations; and unless marks that are no
// longer dirty are in MySQL.
func (w *world) requireAllStored(t require.TestingT) {
	w.requireKept(t)
	w.mu.Lock()
	defer w.mu.Unlock()
	want := map[place]domain.Message{}
	for log, messages := range w.sent {
		for _, m := range messages {
			want[place{m.Group, m.Seq}] = m
		}
		requireNone(t, w.logs[log], "entries in log %v", log)
		if w.seqs[log] != nil {
			require.Equal(t, w.lastSeqs(log), w.watermarks[log], "watermarks of %v", log)
		}
	}
	for log, reads := range w.reads {
		for who, seq := range reads {
			if w.dirty[log][who] == 0 {
				require.GreaterOrEqual(t, w.marks[who], seq, "mark of %v, read in %v", who, log)
			}
		}
	}
	requireNone(t, differences(want, w.rows), "rows of %d are wrong", len(w.rows))
}

func differences(want, got map[place]domain.Message) (list []string) {
	for at, m := range want {
		if row, ok := got[at]; !ok {
			list = append(list, fmt.Sprintf("%s/%d is missing", at.group, at.seq))
		} else if !reflect.DeepEqual(m, row) {
			list = append(list, fmt.Sprintf("%s/%d is %v, was sent as %v", at.group, at.seq, row, m))
		}
	}
	for at := range got {
		if _, ok := want[at]; !ok {
			list = append(list, fmt.Sprintf("%s/%d was never sent", at.group, at.seq))
		}
	}
	slices.Sort(list)
	return list
}

func (w *world) lastSeqs(log domain.LogRange) map[string]int64 {
	last := map[string]int64{}
	for _, m := range w.sent[log] {
		last[m.Group] = max(last[m.Group], m.Seq)
	}
	return last
}

// stored is the number of rows, backlog that of log entries.
func (w *world) stored() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.rows)
}

func (w *world) backlog() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, entries := range w.logs {
		n += len(entries)
	}
	return n
}

func (w *world) dirtyMarks() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, marks := range w.dirty {
		n += len(marks)
	}
	return n
}

func (w *world) storedMarks() map[domain.GroupUser]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.marks)
}

// arrived lists the requests with one of these names, all without any.
func (w *world) arrived(names ...string) (list []request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		if len(names) == 0 || slices.Contains(names, r.name) {
			list = append(list, r)
		}
	}
	return list
}

func (w *world) steps() (names []string) {
	for _, r := range w.arrived() {
		names = append(names, r.name)
	}
	return names
}

// outcome is what becomes of a request.
type outcome int

const (
	answered outcome = iota
	requestLost
	replyLost // it is done, the caller sees a failure
)

// gate decides about a request; it may block, or change the world first.
type gate func(ctx context.Context, name string, of []domain.LogRange) outcome

// client is one instance's way to the world: the Log, Rows and LeaseStore of this package.
type client struct {
	*world
	name string
	mu   sync.Mutex // guards gate; not held while it is called
	gate gate
}

func (w *world) client(name string) *client { return &client{world: w, name: name} }

// through sets the gate; nil lets everything pass.
func (c *client) through(g gate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gate = g
}

func (c *client) request(ctx context.Context, name string, of []domain.LogRange, effect func() (n int, err error)) error {
	c.mu.Lock()
	gate := c.gate
	c.mu.Unlock()
	out := answered
	if gate != nil {
		out = gate(ctx, name, of)
	}
	cut := errCut
	if ctx.Err() != nil {
		cut = ctx.Err()
	}
	if out == requestLost || out == answered && ctx.Err() != nil {
		return fmt.Errorf("%s: %w", name, cut)
	}
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	n, err := effect()
	c.requests = append(c.requests, request{name: name, at: time.Now(), by: c.name, of: of, n: n})
	if out == replyLost {
		return fmt.Errorf("%s: %w", name, cut)
	}
	return err
}

func (c *client) ReadLogs(ctx context.Context, logs []domain.LogRange, limit int) (read [][]domain.LogEntry, err error) {
	err = c.request(ctx, "read logs", logs, func() (int, error) {
		for _, log := range logs {
			entries := c.logs[log]
			read = append(read, slices.Clone(entries[:min(limit, len(entries))]))
		}
		return limit, nil
	})
	if err != nil {
		return nil, err
	}
	return read, nil
}

func (c *client) Committed(ctx context.Context, batches []domain.LogBatch) error {
	var logs []domain.LogRange
	for _, b := range batches {
		logs = append(logs, b.LogRange)
	}
	return c.request(ctx, "committed", logs, func() (n int, err error) {
		for _, b := range batches {
			c.commit(b)
			n += len(b.Entries)
		}
		return n, nil
	})
}

// commit is commit.lua, and looks whether it may be done.
func (w *world) commit(b domain.LogBatch) {
	log, entries := b.LogRange, b.Entries
	marks, gone, dead := field(w.watermarks, log), map[string]bool{}, map[string]bool{}
	for _, e := range b.Dead {
		dead[e.ID] = true
		if _, ok := w.holes[e.Group].At(e.Seq); !ok {
			w.breaks("%s/%d is dead, and Redis does not know the hole", e.Group, e.Seq)
		}
	}
	for _, e := range entries {
		gone[e.ID] = true
		if e.Recall != nil {
			if m, ok := w.rows[place{e.Recall.Group, e.Recall.Seq}]; ok && m.RecalledMS == 0 {
				w.breaks("the recall of %s/%d leaves the log, and the row has its content", e.Recall.Group, e.Recall.Seq)
			}
			continue
		}
		if at := (place{e.Group, e.Seq}); !w.accounted(at) || dead[e.ID] != w.isDead(at) {
			w.breaks("%s/%d leaves the log and is not in MySQL, or as dead %v", e.Group, e.Seq, dead[e.ID])
		}
		for seq := max(marks[e.Group]+1, firstSeq(log.Gen)); seq <= e.Seq; seq++ {
			if !w.accounted(place{e.Group, seq}) {
				w.breaks("watermark %d is above %s/%d, which is not in MySQL", e.Seq, e.Group, seq)
			}
			marks[e.Group] = seq
		}
	}
	w.logs[log] = slices.DeleteFunc(w.logs[log], func(e domain.LogEntry) bool { return gone[e.ID] })
}

func (w *world) isDead(at place) bool {
	_, dead := w.letters[at]
	return dead
}

// accounted tells whether MySQL has a message in one form or the other.
func (w *world) accounted(at place) bool {
	_, row := w.rows[at]
	return row || w.isDead(at)
}

// refusedError is mysqlrepo's: the values are at fault.
type refusedError struct{}

func (refusedError) Error() string   { return "the values are refused" }
func (refusedError) Refused() string { return "refused" }

func (c *client) AddDeadLetter(ctx context.Context, m *domain.Message, reason string) (dead bool, err error) {
	err = c.request(ctx, "dead letter", nil, func() (int, error) {
		at := place{m.Group, m.Seq}
		if w := c.world; w.settled[domain.Partitions(partitions).Of(m.Group)] > m.Gen {
			return 1, errFenced
		}
		if _, stored := c.rows[at]; stored {
			return 1, nil
		}
		if !c.refused[at] || reason != "refused" {
			c.breaks("%v becomes a dead letter because of %q", at, reason)
		}
		dead, c.letters[at] = true, *m
		return 1, nil
	})
	return dead && err == nil, err
}

func (c *client) CountDeadLetters(ctx context.Context) (n int64, err error) {
	err = c.request(ctx, "count", nil, func() (int, error) {
		n = int64(len(c.letters))
		return 0, nil
	})
	return n, err
}

// Holes are those of dead letters.
func (c *client) Holes(ctx context.Context, group string) (holes domain.Holes, err error) {
	err = c.request(ctx, "holes", nil, func() (int, error) {
		for at := range c.letters {
			if at.group == group {
				holes = append(holes, domain.Hole{From: at.seq, To: at.seq, Reason: domain.HoleLost})
			}
		}
		slices.SortFunc(holes, func(a, b domain.Hole) int { return int(a.From - b.From) })
		return len(holes), nil
	})
	return holes, err
}

func (c *client) SetHoles(ctx context.Context, group string, holes domain.Holes) error {
	return c.request(ctx, "set holes", nil, func() (int, error) {
		c.world.holes[group] = holes
		return len(holes), nil
	})
}

func (c *client) Backlog(ctx context.Context, logs []domain.LogRange) (n int64, err error) {
	err = c.request(ctx, "backlog", logs, func() (int, error) {
		for _, log := range logs {
			n += int64(len(c.logs[log]))
		}
		return int(n), nil
	})
	return n, err
}

func (c *client) OldestLogged(ctx context.Context, logs []domain.LogRange) (ms int64, err error) {
	err = c.request(ctx, "oldest", logs, func() (int, error) {
		for _, log := range logs {
			if entries := c.logs[log]; len(entries) > 0 && (ms == 0 || entries[0].TimeMS < ms) {
				ms = entries[0].TimeMS
			}
		}
		return 1, nil
	})
	return ms, err
}

func (c *client) OlderGenerations(ctx context.Context, partition int, gen int64) (older []int64, err error) {
	err = c.request(ctx, "older", []domain.LogRange{logOf(partition, gen)}, func() (int, error) {
		for _, g := range c.older[partition] {
			if g < gen {
				older = append(older, g)
			}
		}
		return len(older), nil
	})
	return older, err
}

// fencedError is mysqlrepo's: the store may no longer take these rows.
type fencedError struct{}

func (fencedError) Error() string { return "a newer generation is settled" }
func (fencedError) Fenced() int   { return 0 }

// SetAside renames the log.
func (c *client) SetAside(ctx context.Context, partition int, gen int64) error {
	log := logOf(partition, gen)
	return c.request(ctx, "set aside", []domain.LogRange{log}, func() (int, error) {
		n := len(c.logs[log])
		c.aside = append(c.aside, c.logs[log]...)
		delete(c.logs, log)
		return n, nil
	})
}

// ForgetGeneration is forget.lua.
func (c *client) ForgetGeneration(ctx context.Context, partition int, gen int64) error {
	log := logOf(partition, gen)
	return c.request(ctx, "forget", []domain.LogRange{log}, func() (int, error) {
		if len(c.logs[log]) > 0 || len(c.dirty[log]) > 0 {
			return 0, errLeft
		}
		delete(c.logs, log)
		delete(c.dirty, log)
		delete(c.seqs, log)
		delete(c.watermarks, log)
		c.older[partition] = slices.DeleteFunc(c.older[partition], func(g int64) bool { return g == gen })
		return 0, nil
	})
}

// DirtyMarks returns the first marks in an order of its own, as HSCAN does.
func (c *client) DirtyMarks(ctx context.Context, log domain.LogRange) (map[domain.GroupUser]int64, error) {
	page := map[domain.GroupUser]int64{}
	err := c.request(ctx, "dirty marks", []domain.LogRange{log}, func() (int, error) {
		order := slices.SortedFunc(maps.Keys(c.dirty[log]), func(a, b domain.GroupUser) int {
			return slices.Compare([]string{a.Group, a.User}, []string{b.Group, b.User})
		})
		for _, who := range order[:min(c.marksPage, len(order))] {
			page[who] = c.dirty[log][who]
		}
		return len(page), nil
	})
	return page, err
}

// MarksWritten is marked.lua.
func (c *client) MarksWritten(ctx context.Context, log domain.LogRange, marks map[domain.GroupUser]int64) error {
	return c.request(ctx, "marks written", []domain.LogRange{log}, func() (int, error) {
		for who, seq := range marks {
			if c.marks[who] < seq {
				c.breaks("mark %v is forgotten at %d, MySQL has %d", who, seq, c.marks[who])
			}
			if c.dirty[log][who] == seq {
				delete(c.dirty[log], who)
			}
		}
		return len(marks), nil
	})
}

// InsertMessages checks the fence, stores what is not there and does recalls, all or nothing.
func (c *client) InsertMessages(ctx context.Context, gens map[int]int64, messages []domain.Message, recalls ...domain.Recall) error {
	var of []domain.LogRange
	for _, p := range slices.Sorted(maps.Keys(gens)) {
		of = append(of, logOf(p, gens[p]))
	}
	return c.request(ctx, "insert", of, func() (int, error) {
		err := c.insert(gens, messages)
		if err == nil {
			c.recallRows(recalls)
		}
		return len(messages), err
	})
}

func (w *world) insert(gens map[int]int64, messages []domain.Message) error {
	for p, gen := range gens {
		if w.settled[p] > gen {
			return errFenced
		}
	}
	batch := map[place]bool{}
	for _, m := range messages {
		at := place{m.Group, m.Seq}
		if gen, ok := gens[domain.Partitions(partitions).Of(m.Group)]; !ok || gen != m.Gen || batch[at] {
			w.breaks("%v is inserted with generations %v, twice in the batch: %v", at, gens, batch[at])
		}
		batch[at] = true
		if old, ok := w.rows[at]; ok && old.Hash != m.Hash {
			return errTaken
		}
		if w.refused[at] {
			return refusedError{}
		}
	}
	for _, m := range messages {
		if _, ok := w.rows[place{m.Group, m.Seq}]; !ok {
			w.rows[place{m.Group, m.Seq}] = m
		}
	}
	return nil
}

// recallRows empties rows that are there.
func (w *world) recallRows(recalls []domain.Recall) {
	for _, r := range recalls {
		if m, ok := w.rows[place{r.Group, r.Seq}]; ok && m.RecalledMS == 0 {
			r.ApplyTo(&m)
			w.rows[place{r.Group, r.Seq}] = m
		}
	}
}

func (c *client) RecallMessages(ctx context.Context, recalls []domain.Recall) error {
	return c.request(ctx, "recall", nil, func() (int, error) {
		for _, r := range recalls {
			if c.strange[r.By] {
				return 0, refusedError{}
			}
		}
		c.recallRows(recalls)
		return len(recalls), nil
	})
}

func (c *client) SaveReadMarks(ctx context.Context, marks map[domain.GroupUser]int64) error {
	return c.request(ctx, "save marks", nil, func() (int, error) {
		for who := range marks {
			if c.strange[who.User] {
				return 0, refusedError{}
			}
		}
		for who, seq := range marks {
			c.marks[who] = max(c.marks[who], seq)
		}
		return len(marks), nil
	})
}

func (c *client) Lease(ctx context.Context, partition int, holder string, ttl time.Duration) (ok bool, err error) {
	err = c.request(ctx, "lease", []domain.LogRange{{Partition: partition}}, func() (int, error) {
		now := time.Now()
		l := c.leases[partition]
		if ok = l.holder == holder || !now.Before(l.until); ok {
			c.leases[partition] = lease{holder, now.Add(ttl)}
		}
		return 0, nil
	})
	return ok && err == nil, err
}

func (c *client) Unlease(ctx context.Context, partition int, holder string) error {
	return c.request(ctx, "unlease", []domain.LogRange{{Partition: partition}}, func() (int, error) {
		if c.leases[partition].holder == holder {
			delete(c.leases, partition)
		}
		return 0, nil
	})
}

// lose makes a gate that loses requests or replies with this name.
func lose(name string, out outcome) gate {
	return func(_ context.Context, n string, _ []domain.LogRange) outcome {
		if n == name {
			return out
		}
		return answered
	}
}

// down is the gate of an instance that reaches nobody.
func down(context.Context, string, []domain.LogRange) outcome { return requestLost }

// withoutMySQL lets only Redis answer.
func withoutMySQL(_ context.Context, name string, _ []domain.LogRange) outcome {
	switch name {
	case "insert", "save marks", "dead letter", "holes", "count":
		return requestLost
	}
	return answered
}
