package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"hearth/domain/testserver"
)

// size is how much load a run has.
type size struct {
	senders, groups, readers int
	perSecond                int
}

// usual is the load of a run.
func usual() size {
	if long() {
		return size{senders: 40, groups: 30, readers: 12, perSecond: 400}
	}
	return size{senders: 24, groups: 20, readers: 9, perSecond: 250}
}

// run is load on a stack, with everything that its clients do and see.
type run struct {
	*stack
	size  size
	seed  uint64
	rand  *rand.Rand
	begun time.Time

	names   []string
	senders []*sender
	readers []*reader

	resyncs atomic.Int64
	mu      sync.Mutex // guards what follows
	last    map[string]time.Duration
	acks    map[messageID]struct{}
	notes   []string

	quiet, settled          chan struct{} // closed: no new messages; nobody drops connections any more
	stop                    context.CancelFunc
	sending, reading        sync.WaitGroup
	sendCtx, readCtx        context.Context
	stopReading             context.CancelFunc
	firstFault, healed, end time.Duration
	stored                  time.Duration // from the last answer to the last row
}

// startRun makes the groups and starts the clients, but for those who come late.
func startRun(t testing.TB, s *stack, z size, seed uint64) *run {
	t.Helper()
	r := &run{
		stack: s, size: z, seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), begun: time.Now(),
		last: make(map[string]time.Duration), acks: make(map[messageID]struct{}),
		quiet: make(chan struct{}), settled: make(chan struct{}),
	}
	members := make(map[string][]string)
	for n := range z.groups {
		r.names = append(r.names, groupName(n))
	}
	r.sendCtx, r.stop = context.WithCancel(context.Background())
	r.readCtx, r.stopReading = context.WithCancel(context.Background())
	t.Cleanup(r.halt)
	for n := range z.senders {
		var groups []string
		for _, step := range []int{0, 7, 13} {
			g := r.names[(n+step)%z.groups]
			groups = append(groups, g)
			members[g] = append(members[g], senderName(n))
		}
		r.senders = append(r.senders, &sender{
			run: r, user: senderName(n), groups: groups, at: n, rand: rand.New(rand.NewPCG(seed, uint64(n)+1)),
			every: time.Duration(z.senders) * time.Second / time.Duration(z.perSecond), stopping: r.quiet, next: time.Now(),
		})
	}
	for n := range z.readers {
		var groups []string
		for k := range 8 {
			g := r.names[(5*n+k*z.groups/8)%z.groups]
			groups = append(groups, g)
			members[g] = append(members[g], readerName(n))
		}
		r.readers = append(r.readers, newReader(r, readerName(n), habitOf(n, z.readers), n, groups))
	}
	for n, g := range r.names {
		typ := "room"
		if n%3 == 2 {
			typ = "group"
		}
		if err := s.createGroup(g, typ, members[g]); err != nil {
			t.Fatal(err)
		}
	}
	for _, reader := range r.readers {
		if reader.kind != isLate {
			r.startReader(reader)
		}
	}
	for _, sender := range r.senders {
		r.sending.Go(func() { sender.work(r.sendCtx) })
	}
	return r
}

func groupName(n int) string  { return fmt.Sprint("g", n) }
func senderName(n int) string { return fmt.Sprint("s", n) }
func readerName(n int) string { return fmt.Sprint("r", n) }

// habitOf makes half of the readers stay, a third roam and the others come late.
func habitOf(n, readers int) habit {
	switch {
	case n < readers/2:
		return stays
	case n < readers*5/6:
		return roams
	}
	return isLate
}

func (r *run) startReader(reader *reader) {
	r.reading.Go(func() { reader.work(r.readCtx, r.settled) })
}

// comeLate starts the readers who find a history.
func (r *run) comeLate() {
	for _, reader := range r.readers {
		if reader.kind == isLate {
			r.startReader(reader)
		}
	}
}

func (r *run) now() time.Duration { return time.Since(r.begun) }

func (r *run) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.notes) < 20 {
		r.notes = append(r.notes, fmt.Sprintf(format, args...))
	}
}

func (r *run) acked(group string, a *Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[group] = max(r.last[group], a.Sent)
	r.acks[messageID{group, a.ClientID}] = struct{}{}
}

// lookUp asks MySQL at once, not through a proxy, whether it has a message.
func (r *run) lookUp(a *Attempt) Lookup {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	var n int
	err := r.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM group_msg WHERE group_id=? AND msg_seq=? AND INSTR(msg_body, ?) > 0",
		a.Group, a.Seq, `"`+words+a.ClientID+`"`).Scan(&n)
	switch {
	case err != nil:
		return NotAsked
	case n == 0:
		return Missing
	}
	return Found
}

// flows waits until every group has acknowledged a message that was sent from now on.
func (r *run) flows() {
	r.t.Helper()
	if r.setup.broken {
		r.goOn(2 * time.Second)
		return
	}
	since := r.now()
	await(r.t, patience, "every group takes messages", func() (bool, any) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, g := range r.names {
			if r.last[g] < since {
				return false, fmt.Sprintf("%s: none since %v, it is %v", g, r.last[g], r.now())
			}
		}
		return true, nil
	})
}

// goOn lets the load run for a while, between faults.
func (r *run) goOn(d time.Duration) { pause(context.Background(), d) }

// halt ends all clients.
func (r *run) halt() {
	r.stop()
	r.stopReading()
	r.sending.Wait()
	r.reading.Wait()
}

// finish ends the load, lets everything come to rest, and returns what happened.
func (r *run) finish() *History {
	r.t.Helper()
	r.end = r.now()
	close(r.quiet)
	close(r.settled)
	answered := make(chan struct{})
	go func() { r.sending.Wait(); close(answered) }()
	select {
	case <-answered:
	case <-time.After(r.patience()):
		r.note("some sends were not answered within %v", patience)
		r.stop()
		<-answered
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	r.awaitRows(ctx)
	h := &History{}
	rows, err := r.rows(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	r.awaitReaders(rows)
	r.stopReading()
	r.reading.Wait()
	r.awaitRanking(ctx, h, rows)
	r.askMarks(h)
	if h.Rows, err = r.rows(ctx); err != nil { // again: nothing should have come meanwhile
		r.t.Fatal(err)
	}
	if h.Holes, err = r.holes(ctx); err != nil {
		r.t.Fatal(err)
	}
	for _, s := range r.senders {
		for _, a := range s.attempts {
			h.Attempts = append(h.Attempts, *a)
		}
	}
	for _, reader := range r.readers {
		for _, f := range reader.views {
			h.Views = append(h.Views, f.View)
		}
		for _, m := range reader.marks {
			h.Reads = append(h.Reads, *m)
		}
	}
	return h
}

func (r *run) patience() time.Duration {
	if r.setup.broken {
		return 10 * time.Second
	}
	return patience
}

// awaitRows waits until MySQL has everything that was acknowledged, or nothing is on the way to it any more.
func (r *run) awaitRows(ctx context.Context) {
	r.mu.Lock()
	want := len(r.acks)
	r.mu.Unlock()
	last, begun, since := -1, time.Now(), time.Now()
	for ctx.Err() == nil {
		n, err := r.countRows(ctx)
		if err != nil || n != last {
			last, since = n, time.Now()
		}
		still := time.Since(since)
		if n >= want && still > 500*time.Millisecond {
			break
		}
		if still > 4*time.Second && (r.backlog(ctx) == 0 || still > r.patience()) {
			break
		}
		pause(ctx, 50*time.Millisecond)
	}
	r.stored = since.Sub(begun)
}

// backlog is how many messages lie in the logs of all Redis servers that answer.
func (s *stack) backlog(ctx context.Context) (n int64) {
	servers := s.nodes
	if !s.setup.cluster {
		servers = []*testserver.Server{s.redis}
	}
	for _, server := range servers {
		c := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
		keys, _ := c.Keys(ctx, "hearth:{*}:log:*").Result() // a server that does not answer has none
		for _, key := range keys {
			length, _ := c.XLen(ctx, key).Result()
			n += length
		}
		_ = c.Close()
	}
	return n
}

// awaitReaders waits until all readers have got as far as MySQL; who does not is found by the checks.
func (r *run) awaitReaders(rows []Row) {
	tops := make(map[string]int64)
	for _, row := range rows {
		tops[row.Group] = max(tops[row.Group], row.Seq)
	}
	for _, reader := range r.readers {
		ok, got := awaitOK(15*time.Second, func() (bool, any) {
			behind := reader.behind(tops)
			return behind == "", behind
		})
		if !ok {
			r.note("behind in the end: %v", got)
		}
	}
}

// awaitRanking waits for a snapshot that is younger than the last message.
func (r *run) awaitRanking(ctx context.Context, h *History, rows []Row) {
	var last int64
	for _, row := range rows {
		last = max(last, row.TimeMS)
	}
	ok, got := awaitOK(10*time.Second, func() (bool, any) {
		ranking, err := r.ranking(ctx)
		if err != nil {
			return false, err
		}
		h.Ranking = ranking
		return ranking.TimeMS > last+1, fmt.Sprint("a ranking of ", ranking.TimeMS, ", the last message is of ", last)
	})
	if !ok {
		r.note("no fresh ranking: %v", got)
	}
}

// askMarks asks what every user is told about his groups.
func (r *run) askMarks(h *History) {
	for n, reader := range r.readers {
		groups := make([]string, 0, len(reader.views))
		for g := range reader.views {
			groups = append(groups, g)
		}
		if !r.askMarksOf(h, n, reader.user, groups) {
			return // it would be so for all
		}
	}
	for n, sender := range r.senders {
		if !r.askMarksOf(h, n, sender.user, sender.groups) {
			return
		}
	}
}

func (r *run) askMarksOf(h *History, n int, user string, groups []string) bool {
	ok, got := awaitOK(10*time.Second, func() (bool, any) {
		marks, err := r.marksOf(r.instances[n%len(r.instances)], user, groups)
		h.Marks = append(h.Marks, marks...)
		return err == nil, err
	})
	if !ok {
		r.note("the marks of %s are not told: %v", user, got)
	}
	return ok
}

func (r *run) marksOf(i *instance, user string, groups []string) (marks []Mark, err error) {
	sock, err := dial(i.ws(), user, true)
	if err != nil {
		return nil, err
	}
	defer sock.close()
	cursors := make(map[string]int64)
	for _, g := range groups {
		cursors[g] = 1 << 50
	}
	id, err := sock.ask(fields{"op": "sync", "groups": cursors})
	if err != nil {
		return nil, err
	}
	answer, err := sock.answer(id)
	if err != nil {
		return nil, err
	}
	for _, p := range answer {
		if p.Error != nil {
			return nil, fmt.Errorf("sync of %s: %s", p.Group, p.Error.Code)
		}
		marks = append(marks, Mark{user, p.Group, p.ReadSeq, p.Unread})
	}
	return marks, nil
}

// figures counts what happened.
func (r *run) figures(h *History) Figures {
	f := FiguresOf(h, r.firstFault, r.healed, r.end)
	f.Stored = max(0, r.stored)
	f.Resyncs = int(r.resyncs.Load())
	f.Notes = slices.Clone(r.notes)
	return f
}
