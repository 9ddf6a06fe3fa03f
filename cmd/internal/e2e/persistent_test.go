package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// retryEvery is the pause between two tries of what a fault makes fail.
const retryEvery = 50 * time.Millisecond

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// line is a connection that is made anew, on the next instance, whenever it breaks.
type line struct {
	s    *stack
	user string
	home int // instance to try next
	tap  func(frame)
	c    *client
}

// client is a live connection, or nil when ctx ended first.
func (l *line) client(ctx context.Context) *client {
	for l.c == nil && ctx.Err() == nil {
		c, err := l.s.dial(l.s.instances[l.home%len(l.s.instances)], l.user, l.tap)
		if err == nil {
			l.c = c
			break
		}
		l.home++
		pause(ctx, retryEvery)
	}
	return l.c
}

func (l *line) drop() {
	if l.c != nil {
		l.c.close()
		l.c = nil
		l.home++
	}
}

// ack is an acknowledged message.
type ack struct {
	sent
	From     string
	ClientID string
	Body     string
	Took     time.Duration // from the first try to the answer
	Tries    int
}

// load is senders that go on through faults, each repeating a message with its client_id until it is acknowledged.
type load struct {
	s      *stack
	name   string // of this load, in client_ids
	groups []string
	cancel context.CancelFunc
	work   errgroup.Group
	count  atomic.Int64 // acknowledged

	mu   sync.Mutex
	acks []ack
}

var loads atomic.Int64

// startLoad lets each user send to the groups in turn until stop.
func startLoad(s *stack, users, groups []string) *load {
	ctx, cancel := context.WithCancel(s.t.Context())
	l := &load{s: s, name: fmt.Sprintf("l%d", loads.Add(1)), groups: groups, cancel: cancel}
	s.t.Cleanup(func() { _, _ = l.halt() })
	for n, user := range users {
		l.work.Go(func() error { return l.send(ctx, &line{s: s, user: user, home: n}) })
	}
	return l
}

func (l *load) send(ctx context.Context, line *line) error {
	last := make(map[string]int64)
	for n := 0; ctx.Err() == nil; n++ {
		a, err := l.sendOne(ctx, line, l.groups[n%len(l.groups)], n)
		if err != nil || a == nil {
			return err
		}
		if a.Seq <= last[a.Group] {
			return fmt.Errorf("%s: seq in %s: got %d after %d", line.user, a.Group, a.Seq, last[a.Group])
		}
		last[a.Group] = a.Seq
		l.count.Add(1)
		l.mu.Lock()
		l.acks = append(l.acks, *a)
		l.mu.Unlock()
	}
	return nil
}

// sendOne repeats one message until it is acknowledged, also when the load has been stopped meanwhile: whatever was
// begun gets an answer. nil when there is nobody to answer any more.
func (l *load) sendOne(ctx context.Context, line *line, group string, n int) (*ack, error) {
	text := say(line.user, n)
	a := ack{From: line.user, ClientID: fmt.Sprintf("%s-%s-%d", l.name, line.user, n), Body: compactText(text)}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*patience)
	defer cancel()
	for {
		c := line.client(ctx)
		if c == nil {
			return nil, fmt.Errorf("%s: no instance takes connections", line.user)
		}
		a.Tries++
		err := c.try("send", fields{"group": group, "body": textBody(text), "client_id": a.ClientID}, &a.sent)
		var refused *failure
		switch {
		case err == nil:
			a.Took = time.Since(begun)
			return &a, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%s: message %d is not accepted: %w", line.user, n, err)
		case errors.As(err, &refused) && !refused.Retryable:
			return nil, fmt.Errorf("%s: message %d: %w", line.user, n, err)
		case errors.As(err, &refused):
			pause(ctx, retryEvery)
		default:
			line.drop()
			pause(ctx, retryEvery)
		}
	}
}

func (l *load) halt() ([]ack, error) {
	l.cancel()
	err := l.work.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks, err
}

// stop ends the load and returns what was acknowledged.
func (l *load) stop() []ack {
	l.s.t.Helper()
	acks, err := l.halt()
	if err != nil {
		l.s.t.Fatal(err)
	}
	return acks
}

// awaitMore waits until n more messages are acknowledged than now.
func (l *load) awaitMore(n int64) {
	l.s.t.Helper()
	want := l.count.Load() + n
	await(l.s.t, 2*patience, fmt.Sprintf("%d messages acknowledged", want), func() (bool, any) {
		got := l.count.Load()
		return got >= want, got
	})
}

// follower reads a group through faults as the protocol says: pushes in order, and what was missed with subscribe.
type follower struct {
	group string
	line  *line
	stop  func() error

	mu       sync.Mutex // guards what follows
	last     int64      // everything up to here was seen
	live     bool       // pushes count; false while a subscribe is under way
	asked    int64      // id of that subscribe
	messages []message
	holes    []hole
	resyncs  int
	err      error
}

// follow starts a follower; instance is the first one it connects to.
func (s *stack) follow(user, group string, instance int) *follower {
	f := &follower{group: group}
	f.line = &line{s: s, user: user, home: instance, tap: f.take}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.run(ctx)
	}()
	f.stop = func() error {
		cancel()
		<-done
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.err
	}
	s.t.Cleanup(func() { _ = f.stop() })
	return f
}

func (f *follower) run(ctx context.Context) {
	defer f.line.drop()
	for {
		c := f.line.client(ctx)
		if c == nil {
			return
		}
		f.subscribe(c)
		select {
		case <-ctx.Done():
			return
		case <-c.done:
			f.deafen() // the next connection gets pushes before its subscribe
			f.line.drop()
		}
	}
}

func (f *follower) deafen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live = false
}

// subscribe asks for what was missed. It does not wait: the answer comes through take, in order with the pushes.
func (f *follower) subscribe(c *client) {
	f.mu.Lock()
	f.live = false
	f.asked++
	id, after := f.asked, f.last
	f.mu.Unlock()
	request := fmt.Sprintf(`{"id":%d,"op":"subscribe","group":%q,"after_seq":%d,"limit":200}`, subscribeIDs+id, f.group, after)
	_ = c.write(1, []byte(request)) // a broken connection is noticed by its reader
}

// subscribeIDs keeps the follower's ids apart from those of client.
const subscribeIDs = 1 << 40

func (f *follower) take(in frame) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.err != nil:
	case in.Event == "message" && in.Group == f.group && f.live:
		f.push(in)
	case in.Event == "resync":
		f.resyncs++
		f.rewind(in)
		go f.subscribe(f.line.c) // not here: take holds mu
	case in.ID != nil && *in.ID == subscribeIDs+f.asked && in.Error != nil:
		go f.retry(f.line.c)
	case in.ID != nil && *in.ID == subscribeIDs+f.asked:
		f.page(in)
	}
}

// rewind forgets what is read again: history was repaired above the seq that a resync names.
func (f *follower) rewind(in frame) {
	for _, g := range in.Groups {
		if g.Group != f.group || g.AfterSeq == nil || *g.AfterSeq >= f.last {
			continue
		}
		f.live, f.last = false, *g.AfterSeq
		f.asked++ // the answer that is on its way would go on where this follower is no longer
		f.messages = slices.DeleteFunc(f.messages, func(m message) bool { return m.Seq > f.last })
		f.holes = clipped(f.holes, f.last)
	}
}

// clipped are holes up to a seq.
func clipped(holes []hole, upTo int64) (out []hole) {
	for _, h := range holes {
		if h.From <= upTo {
			h.To = min(h.To, upTo)
			out = append(out, h)
		}
	}
	return out
}

// retry subscribes again after an error, on a connection of its own.
func (f *follower) retry(c *client) { _ = c.ws.Close() }

func (f *follower) push(in frame) {
	previous := in.Seq - 1
	if in.PrevSeq != 0 {
		previous = in.PrevSeq
	}
	if previous != f.last {
		f.err = fmt.Errorf("%s: push %d says it follows %d, the last one seen is %d", f.group, in.Seq, previous, f.last)
		return
	}
	if previous < in.Seq-1 {
		f.holes = append(f.holes, hole{From: previous + 1, To: in.Seq - 1, Reason: "lost"})
	}
	f.messages, f.last = append(f.messages, in.message), in.Seq
}

func (f *follower) page(in frame) {
	p, err := parsePage(in.OK)
	if err == nil {
		var upTo int64
		upTo, err = p.explained(f.last)
		if err == nil {
			f.messages, f.holes, f.last = append(f.messages, p.Messages...), append(f.holes, p.Holes...), upTo
		}
	}
	switch {
	case err != nil:
		f.err = fmt.Errorf("%s: subscribe: %w; %s", f.group, err, in.raw[:min(len(in.raw), 500)])
	case p.More:
		go f.subscribe(f.line.c)
	default:
		f.live = true
	}
}

// position is how far the follower has come, and what went wrong.
func (f *follower) position() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.err
}

// finish waits until the follower has seen everything up to a seq, stops it and checks what it has.
func (f *follower) finish(t testing.TB, upTo int64) []message {
	t.Helper()
	await(t, patience, fmt.Sprintf("follower of %s at %d", f.group, upTo), func() (bool, any) {
		last, err := f.position()
		if err != nil {
			t.Fatal(err)
		}
		return last >= upTo, last
	})
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	if err := covered(f.messages, f.holes, 1, f.last); err != nil {
		t.Fatalf("follower of %s: %v", f.group, err)
	}
	return f.messages
}

// exactlyOnce fails unless MySQL has every acknowledged message once, under the seq that was told, and nothing else.
func (s *stack) exactlyOnce(acks []ack) {
	s.t.Helper()
	s.awaitPersisted(patience)
	type id struct{ group, from, clientID string }
	stored := make(map[id][]row)
	for _, r := range s.rows() {
		key := id{r.Group, r.From, r.ClientID}
		stored[key] = append(stored[key], r)
	}
	bad := 0
	for _, a := range acks {
		key := id{a.Group, a.From, a.ClientID}
		want := row{a.Group, a.Seq, a.From, a.ClientID, a.Body}
		if got := stored[key]; !slices.Equal(got, []row{want}) {
			if bad++; bad <= 5 {
				s.t.Errorf("rows of an acknowledged message (%d tries, duplicate %v): got %+v, want %+v", a.Tries, a.Duplicate, got, want)
			}
		}
		delete(stored, key)
	}
	if len(stored) > 0 {
		left := slices.Collect(maps.Values(stored))
		s.t.Errorf("rows that nobody was told of: got %d, want none; such as %+v", len(left), left[0])
	}
	if bad > 0 {
		s.t.Fatalf("%d of %d acknowledged messages are not in MySQL exactly once", bad, len(acks))
	}
}

// ofGroup are the acknowledged messages of a group by seq.
func ofGroup(acks []ack, group string) []ack {
	var list []ack
	for _, a := range acks {
		if a.Group == group {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b ack) int { return int(a.Seq - b.Seq) })
	return list
}

// sameMessages fails unless the messages are the acknowledged ones.
func sameMessages(t testing.TB, what string, got []message, want []ack) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %d messages, want %d", what, len(got), len(want))
	}
	for i, m := range got {
		a := want[i]
		if m.Seq != a.Seq || m.From != a.From || m.ClientID != a.ClientID || string(m.Body) != a.Body || m.TimeMS != a.TimeMS {
			t.Fatalf("%s: message %d: got %+v %s, want %+v", what, i, m, m.Body, a)
		}
	}
}

func names(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return list
}
