package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"hearth/domain"
	"hearth/transport/auth"
	"hearth/transport/wire"
)

// step is one thing that happens in the life of a feed.
type step struct {
	Do    string // accept, hole, confirm, subscribe, unsubscribe, join, leave, drop, fail, late
	N     int    // how many messages or seqs or failures
	Fates []int  // of each push: 0 lost, 1 in time, 2 twice, n > 2 late by n-2 steps
	Conn  int
	After int // subscribe: 0 without after_seq, 1 with the last seq seen, 2 with 0; join: so far below the head
	Limit int
	Sleep int  // ms until the next step
	Read  bool // the clients read what is queued behind this step
}

const walkers = 3

var steps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
	s := step{
		Do: rapid.SampledFrom([]string{
			"accept", "accept", "accept", "accept", "subscribe", "subscribe", "hole", "confirm", "unsubscribe", "join", "leave", "drop", "fail", "late",
		}).Draw(t, "do"),
		N: rapid.IntRange(1, 4).Draw(t, "n"), Conn: rapid.IntRange(0, walkers-1).Draw(t, "conn"),
		After: rapid.IntRange(0, 2).Draw(t, "after"), Limit: rapid.IntRange(1, 6).Draw(t, "limit"), Sleep: rapid.IntRange(0, 8).Draw(t, "sleep"),
		Read: rapid.SampledFrom([]bool{true, true, true, false}).Draw(t, "read"),
	}
	s.Fates = rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 1, 1, 1, 2, 3, 4, 6}), s.N, s.N).Draw(t, "fates")
	return s
}), 1, 40)

// Whatever is lost, repeated, late or refused on the way, a subscriber sees each seq once, in order, and hears of
// every hole. What it does not see it is told of: with resync, or because its user is not a member any more.
func TestFeedGivesEverySeqOnceInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		script := steps.Draw(r, "steps")
		delays := rapid.SliceOfN(rapid.IntRange(0, 6), 1, 10).Draw(r, "delays of reads, ms")
		queue := rapid.SampledFrom([]int{3, 10, 1 << 30}).Draw(r, "queue")
		var err error
		synctest.Test(t, func(t *testing.T) { err = newWalk(t, queue, delays).run(script) })
		if err != nil {
			r.Fatalf("%v", err)
		}
	})
}

// walk plays a script on a server without sockets: connections whose queue is read straight away.
type walk struct {
	*fixture
	conns   []*walker
	late    map[int][]domain.Push // by step
	failing int
}

// walker is a connection and what its client has understood so far.
type walker struct {
	*walk
	conn       *Conn
	asked      map[int64]string // op by id, answered or not
	afters     map[int64]int64  // after_seq of a subscribe by id; -1: none
	nextID     int64
	subscribed bool
	left       bool  // it was told that its user has left, and not of a subscription since
	last       int64 // everything up to here was seen, or is a hole, or is from before the subscription
}

func newWalk(t *testing.T, queue int, delays []int) *walk {
	w := &walk{fixture: newFixture(t, func(o *options) { o.cfg.QueueFrames, o.cfg.QueueBytes = queue, 1<<30 }), late: map[int][]domain.Push{}}
	reads := 0
	w.b.before = func(_ context.Context, method string) error {
		w.b.mu.Lock()
		reads++
		delay := time.Duration(delays[reads%len(delays)]) * time.Millisecond
		fail := w.failing > 0 && slices.Contains([]string{"Recent", "Roles", "Since"}, method)
		if fail {
			w.failing--
		}
		w.b.mu.Unlock()
		time.Sleep(delay)
		if fail {
			return errDown
		}
		return nil
	}
	for i := range walkers {
		id := fmt.Sprint("walker", i)
		c := newConn(w.Server, nil, auth.Claims{User: id}, domain.Session{Conn: id}, domain.Admission{})
		c.writing = true // the walker reads the queue
		w.hub.add(c)
		w.conns = append(w.conns, &walker{walk: w, conn: c, asked: map[int64]string{}, afters: map[int64]int64{}})
	}
	return w
}

func (w *walk) run(script []step) error {
	defer func() {
		for _, c := range w.conns {
			c.conn.mu.Lock()
			c.conn.gone = true
			c.conn.mu.Unlock()
			c.conn.work.Wait()
			c.conn.leaveAll()
		}
		w.hub.Close()
		w.ch.confirmed.Wait()
	}()
	for i, s := range script {
		for _, p := range w.late[i] {
			w.hub.Published(p)
		}
		if err := w.play(i, s); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		time.Sleep(time.Duration(s.Sleep) * time.Millisecond)
		for n, c := range w.conns {
			if !s.Read {
				break
			}
			if err := c.take(); err != nil {
				return fmt.Errorf("step %d, connection %d: %w", i, n, err)
			}
		}
	}
	for n, c := range w.conns {
		if err := c.take(); err != nil {
			return fmt.Errorf("behind the steps, connection %d: %w", n, err)
		}
	}
	w.b.change(func(b *backend) { w.failing = 0; clear(b.groups["r"].hidden) })
	if err := w.hub.checkNotes(context.Background()); err != nil {
		return err
	}
	for range 100 { // what is under way ends; at a queue of 3, a read at a time
		w.hub.Confirmed("r")
		time.Sleep(time.Second)
		for n, c := range w.conns {
			if err := c.take(); err != nil {
				return fmt.Errorf("at the end, connection %d: %w", n, err)
			}
		}
	}
	for n, c := range w.conns {
		if err := c.complete(); err != nil {
			return fmt.Errorf("at the end, connection %d: %w", n, err)
		}
	}
	return nil
}

func (w *walk) play(i int, s step) error {
	user := w.conns[s.Conn].conn.claims.User
	switch s.Do {
	case "accept":
		for j, p := range w.b.accept("r", s.N) {
			switch fate := s.Fates[j]; fate {
			case 0:
			case 1:
				w.hub.Published(p)
			case 2:
				w.hub.Published(p)
				w.hub.Published(p)
			default:
				w.late[i+fate-2] = append(w.late[i+fate-2], p)
			}
		}
	case "late": // accepted, but for a while no read finds it, and its push is lost
		seq := w.b.accept("r", 1)[0].Seq
		w.b.change(func(b *backend) { b.groups["r"].hidden[seq] = true })
		time.AfterFunc(time.Duration(s.N)*20*time.Millisecond, func() {
			w.b.change(func(b *backend) { delete(b.groups["r"].hidden, seq) })
		})
	case "hole":
		w.b.skip("r", s.N)
	case "confirm":
		w.hub.Confirmed("r")
	case "fail":
		w.b.change(func(*backend) { w.failing = s.N })
	case "subscribe":
		return w.conns[s.Conn].subscribe(s)
	case "unsubscribe":
		return w.conns[s.Conn].ask("unsubscribe", `"group":"r"`)
	case "join":
		w.b.change(func(b *backend) {
			after := max(0, b.groups["r"].maxSeq-int64(s.After))
			event := fmt.Appendf(nil, `{"event":"group","group":"r","change":"joined","seq":%d}`, after)
			b.tell(map[string]domain.Note{user: {Kind: domain.NoteJoined, Group: "r", Version: newer(), After: after, Event: event}})
		})
	case "leave":
		w.b.note(user, domain.Note{Kind: domain.NoteLeft, Group: "r", Version: newer(), Event: leftEvent(user)})
	case "drop":
		n := domain.Notice{Event: leftEvent(user), Gone: user, Version: newer()}
		w.hub.Noticed("r", n)
		w.b.note(user, domain.Note{Kind: domain.NoteLeft, Group: "r", Version: n.Version, Event: n.Event})
	}
	return nil
}

func leftEvent(user string) []byte {
	return domain.GroupEvent{Group: "r", Change: domain.ChangeLeft, User: user}.JSON()
}

func (c *walker) ask(op, fields string) error {
	c.nextID++
	c.asked[c.nextID] = op
	r, _, err := wire.ParseRequest(fmt.Appendf(nil, `{"id":%d,"op":"%s",%s}`, c.nextID, op, fields))
	if err != nil {
		return err
	}
	c.conn.request(r)
	return nil
}

func (c *walker) subscribe(s step) error {
	after := []int64{-1, c.last, 0}[s.After]
	c.afters[c.nextID+1] = after
	if after < 0 {
		return c.ask("subscribe", `"group":"r"`)
	}
	return c.ask("subscribe", fmt.Sprintf(`"group":"r","after_seq":%d,"limit":%d`, after, s.Limit))
}

// take reads what is queued.
func (c *walker) take() error {
	c.conn.mu.Lock()
	queue := c.conn.queue
	c.conn.clearQueue()
	c.conn.overflowed = time.Time{} // what comes now may be a resync again
	c.conn.room.Broadcast()
	c.conn.mu.Unlock()
	for _, q := range queue {
		o, err := parseObject(q.object)
		if err != nil {
			return err
		}
		if err := c.see(o); err != nil {
			return fmt.Errorf("%w: %s", err, o.raw)
		}
	}
	return nil
}

func (c *walker) see(o object) error {
	switch {
	case o.Event == "message":
		return c.seeMessage(o)
	case o.Event == "group":
		return c.seeChange(o)
	case o.Event == "resync":
		return c.seeResync(o)
	case o.Event == "goodbye" && o.Code == domain.CloseTooSlow: // twice without a look
		c.subscribed = false
		return nil
	case o.Event != "":
		return errors.New("not expected")
	case o.Error != nil: // what was before goes on
		return nil
	case c.asked[*o.ID] == "unsubscribe":
		c.subscribed = false
		return nil
	default:
		return c.seePage(o)
	}
}

// seeChange follows what the user is told of his place.
func (c *walker) seeChange(o object) error {
	switch {
	case o.Change == domain.ChangeJoined && c.subscribed: // it goes on
	case o.Change == domain.ChangeJoined:
		c.subscribed, c.left, c.last = true, false, o.Seq
	case o.User == c.conn.claims.User:
		c.subscribed, c.left = false, true
	}
	return nil
}

func (c *walker) seeResync(o object) error {
	switch {
	case len(o.Groups) != 1 || o.Groups[0].Group != "r":
		return errors.New("a resync of something else")
	case !c.subscribed && !c.left:
		return errors.New("a resync without a subscription")
	case o.Groups[0].AfterSeq != 0 && o.Groups[0].AfterSeq != c.last:
		return fmt.Errorf("at %d: a resync from elsewhere", c.last)
	}
	c.subscribed = false
	return nil
}

func (c *walker) seeMessage(o object) error {
	prev := o.Seq - 1
	if o.PrevSeq != nil {
		if *o.PrevSeq >= prev {
			return errors.New("prev_seq without a hole")
		}
		prev = *o.PrevSeq
	}
	switch {
	case !c.subscribed:
		return errors.New("a push without a subscription")
	case o.Seq <= c.last:
		return fmt.Errorf("at %d: out of order, or twice", c.last)
	case prev > c.last:
		return fmt.Errorf("at %d: something is missing", c.last)
	case string(o.Body) != string(textOf(o.Seq)):
		return errors.New("not the message of this seq")
	}
	if err := c.onlyHoles(c.last+1, o.Seq-1); err != nil {
		return err
	}
	c.last = o.Seq
	return nil
}

// onlyHoles fails unless no seq of the range has a message.
func (c *walker) onlyHoles(from, to int64) error {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if n := c.b.groups["r"].holes.Count(from-1, to); n != to-from+1 {
		return fmt.Errorf("%d…%d is not a hole", from, to)
	}
	return nil
}

func (c *walker) seePage(o object) error {
	var p page
	if err := json.Unmarshal(o.OK, &p); err != nil {
		return err
	}
	c.b.mu.Lock()
	top := c.b.groups["r"].maxSeq
	c.b.mu.Unlock()
	if p.MaxSeq > top {
		return fmt.Errorf("max_seq above %d", top)
	}
	after := c.afters[*o.ID]
	c.subscribed, c.left = true, false
	if after < 0 {
		c.last = p.MaxSeq
		return nil
	}
	seqs := p.seqs()
	if p.More { // the client pulls the rest; pushes go on behind max_seq
		last := after
		if len(seqs) > 0 {
			last = seqs[len(seqs)-1]
		}
		rest, err := c.pull(last, p.MaxSeq)
		if err != nil {
			return err
		}
		seqs = append(seqs, rest...)
	}
	if want := c.messages(after, p.MaxSeq); !slices.Equal(want, seqs) {
		return fmt.Errorf("got %v, want %v", seqs, want)
	}
	c.last = max(after, p.MaxSeq)
	return nil
}

// messages are the seqs in (after, to] that have a message.
func (c *walker) messages(after, to int64) (seqs []int64) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	for _, r := range c.b.groups["r"].records {
		if after < r.Seq && r.Seq <= to {
			seqs = append(seqs, r.Seq)
		}
	}
	return seqs
}

// pull reads on until nothing more comes up to the seq; what is not explained yet is asked for again.
func (c *walker) pull(after, to int64) (seqs []int64, err error) {
	for range 1000 {
		_, p, err := c.history.Pull(context.Background(), domain.Actor{User: c.conn.claims.User}, domain.PullQuery{Group: "r", After: &after, Limit: 3})
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		for _, r := range p.Messages {
			if r.Seq > to {
				return seqs, nil
			}
			seqs, after = append(seqs, r.Seq), r.Seq
		}
		if !p.More {
			return seqs, nil
		}
		if len(p.Messages) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil, errors.New("pulls do not come to an end")
}

// complete fails unless a subscriber has seen all there is.
func (c *walker) complete() error {
	if !c.subscribed {
		return nil
	}
	c.b.mu.Lock()
	top := c.b.groups["r"].maxSeq
	c.b.mu.Unlock()
	if missing := c.messages(c.last, top); len(missing) > 0 {
		return fmt.Errorf("at %d: never saw %v", c.last, missing)
	}
	return nil
}
