package e2e

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// length is how long an exercise lasts: as told, or with HEARTH_TEST_LONG=1 as the promise was made for.
func length(usual, long time.Duration) time.Duration {
	if os.Getenv("HEARTH_TEST_LONG") != "" {
		return long
	}
	return usual
}

// TestRandomClientsBehindNginx: 300 clients connect, drop and come back at random while 20 conversations are busy. Each
// has a cursor a conversation, and in the end all of it: complete, in order, nothing twice.
func TestRandomClientsBehindNginx(t *testing.T) {
	t.Parallel()
	const clients, perSecond = 300, 300
	s := newStack(t, setup{instances: 3})
	url := "ws://" + s.behindNginx().Addr() + "/v1/ws"
	groups, rooms := names("g", 16), names("r", 4)
	senders := names("s", len(groups)+len(rooms))
	members := make(map[string][]string)
	for n, g := range groups {
		members[g] = []string{senders[n]}
	}
	readers := make([]*reader, clients)
	for n := range readers {
		user := fmt.Sprintf("u%d", n)
		mine := groupsAround(groups, n)
		for _, g := range mine {
			members[g] = append(members[g], user)
		}
		readers[n] = newReader(user, append(mine, rooms[n%len(rooms)])...)
	}
	for _, g := range groups {
		s.createGroup("group", g, members[g]...)
	}
	for _, r := range rooms {
		s.createGroup("room", r)
	}

	l := startTalk(s, senders, slices.Concat(groups, rooms), perSecond)
	roaming, settle := context.WithCancel(t.Context())
	for _, r := range readers {
		r.start(t, func(ctx context.Context) { r.roam(ctx, roaming, url) })
	}
	begun := time.Now()
	for range int(length(12*time.Second, time.Minute).Seconds()) {
		l.awaitMore(perSecond)
	}
	took := time.Since(begun)
	settle()
	acks := l.stop()
	figures := allComplete(t, readers, acks)
	t.Logf("%d messages (%.0f/s), %d clients, %d connects (%d refused), %d pushes, %d messages caught up with, %d resyncs",
		len(acks), float64(len(acks))/took.Seconds(), clients, figures.connects, figures.refused, figures.pushed, figures.caught, figures.resyncs)
	if figures.connects < 3*clients {
		t.Errorf("connects: got %d, want at least 3 a client", figures.connects)
	}
	s.exactlyOnce(acks)
}

// groupsAround are the two or three groups of a client.
func groupsAround(groups []string, n int) []string {
	mine := []string{groups[n%len(groups)], groups[(n+1+n/len(groups)%7)%len(groups)]}
	if n%2 == 0 {
		mine = append(mine, groups[(n+8+n/len(groups)%7)%len(groups)])
	}
	return mine
}

// startTalk is a load on a schedule: each user sends to one of the groups, all together perSecond messages. padding adds
// to a message's text. The senders' own connections meet no fault, so whatever goes wrong with a send is an error.
func startTalk(s *stack, users, groups []string, perSecond int, padding ...func() string) *load {
	ctx, cancel := context.WithCancel(s.t.Context())
	l := &load{s: s, name: fmt.Sprintf("l%d", loads.Add(1)), groups: groups, cancel: cancel}
	s.t.Cleanup(func() { _, _ = l.halt() })
	every := time.Duration(len(users)) * time.Second / time.Duration(perSecond)
	for n, user := range users {
		c, err := s.dial(s.instances[n%len(s.instances)], user, nil)
		if err != nil {
			s.t.Fatalf("connect %s: %v", user, err)
		}
		c.mu.Lock()
		c.deaf = true
		c.mu.Unlock()
		first := every * time.Duration(n) / time.Duration(len(users))
		l.work.Go(func() error { return l.talk(ctx, c, groups[n%len(groups)], first, every, padding) })
	}
	return l
}

func (l *load) talk(ctx context.Context, c *client, group string, first, every time.Duration, padding []func() string) error {
	last, due := int64(0), time.Now().Add(first)
	for n := 0; ; n, due = n+1, due.Add(every) {
		if pause(ctx, time.Until(due)); ctx.Err() != nil {
			return nil
		}
		text := say(c.user, n)
		for _, more := range padding {
			text += more()
		}
		a := ack{From: c.user, ClientID: fmt.Sprintf("%s-%s-%d", l.name, c.user, n), Body: compactText(text), Tries: 1}
		begun := time.Now()
		err := c.try("send", fields{"group": group, "body": textBody(text), "client_id": a.ClientID}, &a.sent)
		if err == nil && a.Seq <= last {
			err = fmt.Errorf("seq: got %d after %d", a.Seq, last)
		}
		if err != nil {
			return fmt.Errorf("%s, message %d to %s: %w", c.user, n, group, err)
		}
		last, a.Took = a.Seq, time.Since(begun)
		l.count.Add(1)
		l.mu.Lock()
		l.acks = append(l.acks, a)
		l.mu.Unlock()
	}
}

// xs is padding of from least to most bytes.
func xs(least, most int) func() string {
	return func() string { return strings.Repeat("x", least+rand.IntN(most-least+1)) }
}

// fingerprint tells messages apart without keeping them.
type fingerprint struct {
	seq int64
	sum uint64
}

var fingerprintSeed = maphash.MakeSeed()

func fingerprintOf(seq, timeMS int64, from, clientID, body string) fingerprint {
	return fingerprint{seq, maphash.String(fingerprintSeed, fmt.Sprint(timeMS, " ", from, " ", clientID, " ", body))}
}

func (m message) fingerprint() fingerprint {
	return fingerprintOf(m.Seq, m.TimeMS, m.From, m.ClientID, string(m.Body))
}

func (a ack) fingerprint() fingerprint {
	return fingerprintOf(a.Seq, a.TimeMS, a.From, a.ClientID, a.Body)
}

// view is what a reader has of a group.
type view struct {
	group string
	last  int64 // everything up to here was seen
	live  bool  // pushes count; false until the last page has come
	seen  []fingerprint
}

// reader is a user who reads his groups by the rules of the protocol, over any number of connections: a page that meets
// the last message seen, then pushes that follow without a gap.
type reader struct {
	user string

	mu      sync.Mutex // guards what follows
	views   map[string]*view
	lastID  int64
	asked   map[int64]*view // subscribes under way, the last one of each view
	delays  []delay
	timed   bool // delays are kept
	figures figures
	err     error // what broke the protocol; nothing is read after it
}

// figures are what a reader has been through.
type figures struct{ connects, refused, pushed, caught, resyncs int }

func (f *figures) add(g figures) {
	f.connects, f.refused = f.connects+g.connects, f.refused+g.refused
	f.pushed, f.caught, f.resyncs = f.pushed+g.pushed, f.caught+g.caught, f.resyncs+g.resyncs
}

// delay is the time from a message's acceptance to its push.
type delay struct {
	at   time.Time // of the acceptance
	took time.Duration
}

func newReader(user string, groups ...string) *reader {
	r := &reader{user: user, views: make(map[string]*view), asked: make(map[int64]*view)}
	for _, g := range groups {
		r.views[g] = &view{group: g}
	}
	return r
}

// start lets the reader run until the end of the test.
func (r *reader) start(t testing.TB, run func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// roam connects, drops (by turns cleanly and by a cut) and comes back at random until roaming ends, then stays.
func (r *reader) roam(ctx, roaming context.Context, url string) {
	for n := rand.IntN(2); ctx.Err() == nil && r.wrong() == nil; n++ {
		b, _, err := dialBare(url, token(r.user), nil)
		r.count(err)
		if err != nil {
			pause(ctx, retryEvery)
			continue
		}
		stay := time.Hour
		if roaming.Err() == nil {
			stay = 200*time.Millisecond + rand.N(3*time.Second)
		}
		leaving := time.AfterFunc(stay, func() { b.leave(n%2 == 0) })
		_ = r.attend(ctx, b) // that it ends is the point
		leaving.Stop()
		if roaming.Err() == nil {
			pause(ctx, rand.N(time.Second))
		}
	}
}

// stay reads one connection for good; that it ends is an error.
func (r *reader) stay(ctx context.Context, url string) {
	b, _, err := dialBare(url, token(r.user), nil)
	r.count(err)
	if err == nil {
		err = r.attend(ctx, b)
	}
	if ctx.Err() == nil {
		r.broken(fmt.Errorf("%s: the connection ended: %w", r.user, err))
	}
}

func (r *reader) count(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.figures.connects++
	if err != nil {
		r.figures.refused++
	}
}

func (r *reader) wrong() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *reader) broken(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// attend reads a connection until it or ctx ends. First it asks for what every view lacks.
func (r *reader) attend(ctx context.Context, b *bare) error {
	stop := context.AfterFunc(ctx, func() { _ = b.ws.Close() })
	defer stop()
	defer b.ws.Close()
	if err := b.write(r.begin()...); err != nil {
		return err
	}
	for {
		f, err := b.next()
		if err != nil {
			return err
		}
		requests, err := r.take(f)
		if err == nil && len(requests) > 0 {
			err = b.write(requests...)
		}
		if err != nil {
			return err
		}
	}
}

// begin is a subscribe for every view. What the new connection pushes before the answers is in them.
func (r *reader) begin() []fields {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.asked)
	var requests []fields
	for _, v := range r.views {
		requests = append(requests, r.subscribe(v))
	}
	return requests
}

// subscribe needs mu.
func (r *reader) subscribe(v *view) fields {
	v.live = false
	maps.DeleteFunc(r.asked, func(_ int64, asked *view) bool { return asked == v })
	r.lastID++
	r.asked[subscribeIDs+r.lastID] = v
	return fields{"id": subscribeIDs + r.lastID, "op": "subscribe", "group": v.group, "after_seq": v.last, "limit": 200}
}

// take puts an object into its view and returns what is to be asked then. An error ends the connection.
func (r *reader) take(f frame) (requests []fields, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.views[f.Group]
	switch {
	case f.Event == "message" && v == nil:
		err = fmt.Errorf("%s: pushed, and not followed: %s", r.user, f.raw)
	case f.Event == "message" && v.live:
		r.figures.pushed++
		err = r.push(v, f)
	case f.Event == "resync":
		r.figures.resyncs++
		for _, g := range f.Groups {
			requests = append(requests, r.subscribe(r.views[g.Group]))
		}
	case f.ID != nil && r.asked[*f.ID] != nil && f.Error != nil && f.Error.Retryable:
		return nil, f.Error // another connection will ask again
	case f.ID != nil && r.asked[*f.ID] != nil:
		v = r.asked[*f.ID]
		delete(r.asked, *f.ID)
		var more bool
		if more, err = r.page(v, f); more {
			requests = append(requests, r.subscribe(v))
		}
	}
	if err != nil {
		r.err = err
	}
	return requests, err
}

func (r *reader) push(v *view, f frame) error {
	if f.Seq != v.last+1 || f.PrevSeq != 0 {
		return fmt.Errorf("%s in %s: push of %d (prev_seq %d) behind %d", r.user, v.group, f.Seq, f.PrevSeq, v.last)
	}
	v.last, v.seen = f.Seq, append(v.seen, f.fingerprint())
	if r.timed {
		at := time.UnixMilli(f.TimeMS)
		r.delays = append(r.delays, delay{at, time.Since(at)})
	}
	return nil
}

func (r *reader) page(v *view, f frame) (more bool, err error) {
	if f.Error != nil {
		return false, fmt.Errorf("%s: subscribe to %s: %w", r.user, v.group, f.Error)
	}
	p, err := parsePage(f.OK)
	if err != nil {
		return false, err
	}
	upTo, err := p.explained(v.last)
	if err == nil && len(p.Holes) > 0 {
		err = errors.New("there is a hole, and nothing was lost")
	}
	if err != nil {
		return false, fmt.Errorf("%s: page of %s: %w; %s", r.user, v.group, err, f.raw[:min(len(f.raw), 500)])
	}
	r.figures.caught += len(p.Messages)
	for _, m := range p.Messages {
		v.seen = append(v.seen, m.fingerprint())
	}
	v.last, v.live = upTo, !p.More
	return p.More, nil
}

// allComplete waits until every reader has seen all acknowledged messages of his groups, and compares.
func allComplete(t testing.TB, readers []*reader, acks []ack) (sum figures) {
	t.Helper()
	want := make(map[string][]fingerprint)
	for _, a := range acks {
		want[a.Group] = append(want[a.Group], a.fingerprint())
	}
	for _, list := range want {
		slices.SortFunc(list, func(a, b fingerprint) int { return int(a.seq - b.seq) })
	}
	for _, r := range readers {
		await(t, 2*patience, r.user+" has everything", func() (bool, any) {
			lacks, err := r.lacks(want)
			if err != nil {
				t.Fatal(err)
			}
			return lacks == "", lacks
		})
	}
	for _, r := range readers {
		sum.add(r.same(t, want))
	}
	return sum
}

// lacks says where the reader is behind.
func (r *reader) lacks(want map[string][]fingerprint) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.views {
		if n := len(want[v.group]); n > 0 && v.last < want[v.group][n-1].seq {
			return fmt.Sprintf("%s at %d of %d (live %v)", v.group, v.last, want[v.group][n-1].seq, v.live), r.err
		}
	}
	return "", r.err
}

// same fails unless every view is what was accepted, and returns what the reader has been through.
func (r *reader) same(t testing.TB, want map[string][]fingerprint) figures {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.views {
		if !slices.Equal(v.seen, want[v.group]) {
			n := 0
			for n < min(len(v.seen), len(want[v.group])) && v.seen[n] == want[v.group][n] {
				n++
			}
			t.Errorf("%s in %s: got %d messages, want %d, and they differ from number %d on", r.user, v.group,
				len(v.seen), len(want[v.group]), n)
		}
	}
	return r.figures
}

// percentile is by nearest rank; 0 of nothing.
func percentile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}
