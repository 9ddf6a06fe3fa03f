package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestRollingRestart: three instances behind nginx are restarted one after the other under load. Clients who do as
// goodbye says lose nothing, are sent away once a restart at most, and never without an answer to what they had sent.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	const clients, every = 60, 400 * time.Millisecond // 150 messages a second in all
	s := newStack(t, setup{instances: 3, env: map[string]string{"HEARTH_DRAIN_LB_DELAY": "500ms", "HEARTH_DRAIN_SPREAD": "2s"}})
	lb := s.behindNginx().Addr()
	groups := names("g", 6)
	members := make(map[string][]string)
	all := &commuters{url: "ws://" + lb + "/v1/ws"}
	for n := range clients {
		user := fmt.Sprintf("u%d", n)
		mine := groupsAround(groups, n)
		for _, g := range mine {
			members[g] = append(members[g], user)
		}
		all.list = append(all.list, &commuter{reader: newReader(user, mine...), all: all, groups: mine, pending: make(map[int64]draft)})
	}
	for _, g := range groups {
		s.createGroup("group", g, members[g]...)
	}
	talking, hush := context.WithCancel(t.Context())
	for _, c := range all.list {
		c.start(t, c.commute)
		c.start(t, func(ctx context.Context) { c.talk(ctx, talking, every) })
	}
	all.awaitConnected(t, clients)
	for step, i := range s.instances {
		all.awaitMore(t, 100)
		all.step.Store(int64(step))
		begun := time.Now()
		i.stop()
		out := time.Since(begun)
		i.up()
		s.awaitReached(lb, i)
		all.awaitConnected(t, int(length(clients*3/4, clients))) // not all: they are told to take up to 5 s
		t.Logf("%s left within %v; the next one goes %v after it", i.name, out.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
	}
	all.awaitMore(t, 100)
	hush()
	acks := all.answered(t)
	var readers []*reader
	for _, c := range all.list {
		readers = append(readers, c.reader)
	}
	figures := allComplete(t, readers, acks)
	all.wellTreated(t)
	t.Logf("%d messages, %d connects, %d of them refused", len(acks), figures.connects, figures.refused)
	s.exactlyOnce(acks)
}

// commuters are clients that change the connection when they are told to.
type commuters struct {
	url   string
	list  []*commuter
	step  atomic.Int64 // which instance is being restarted
	count atomic.Int64 // acknowledged messages
}

// commuter reads and sends. What has no answer when a connection ends, or has not been sent, goes over the next one.
type commuter struct {
	*reader
	all    *commuters
	groups []string

	state   sync.Mutex // guards what follows
	b       *bare      // nil while there is no connection, and once goodbye has come
	drafts  []draft    // to be sent
	pending map[int64]draft
	sendID  int64
	acks    []ack
	endings []ending
}

// draft is a message to be sent.
type draft struct{ group, clientID, text string }

// ending is how a connection was taken from a client.
type ending struct {
	step       int64
	bye        frame // zero: there was none
	code       int   // of the close
	unanswered int   // sends without an answer, of those that were on their way when goodbye came
	err        error
}

// sendIDs keeps the ids of sends apart from the reader's.
const sendIDs = 1 << 41

// commute reads one connection after the other.
func (c *commuter) commute(ctx context.Context) {
	for ctx.Err() == nil && c.wrong() == nil {
		b, first, err := dialBare(c.all.url, token(c.user), nil)
		c.count(err)
		e := ending{bye: first, err: err}
		switch {
		case err == nil:
			e = c.ride(ctx, b)
		case first.Event != "goodbye":
			pause(ctx, retryEvery)
			continue
		}
		if ctx.Err() != nil {
			return
		}
		e.step = c.all.step.Load()
		c.state.Lock()
		c.endings = append(c.endings, e)
		c.state.Unlock()
		pause(ctx, time.Duration(e.bye.ReconnectAfterMS)*time.Millisecond)
	}
}

// ride reads one connection until it ends.
func (c *commuter) ride(ctx context.Context, b *bare) (e ending) {
	stop := context.AfterFunc(ctx, func() { _ = b.ws.Close() })
	defer stop()
	defer b.ws.Close()
	c.board(b)
	var waiting map[int64]bool // since goodbye
	e.err = b.write(c.begin()...)
	for e.err == nil {
		var f frame
		if f, e.err = b.next(); e.err != nil {
			break
		}
		switch {
		case f.Event == "goodbye":
			e.bye, waiting = f, c.alight()
		case f.ID != nil && *f.ID > sendIDs:
			delete(waiting, *f.ID)
			c.answer(f)
		default:
			var requests []fields
			if requests, e.err = c.take(f); e.err == nil && len(requests) > 0 {
				e.err = b.write(requests...)
			}
		}
	}
	c.alight()
	var closed *websocket.CloseError
	if errors.As(e.err, &closed) {
		e.code = closed.Code
	}
	e.unanswered = len(waiting)
	c.repeat()
	return e
}

// board makes a connection the one that is sent on.
func (c *commuter) board(b *bare) {
	c.state.Lock()
	defer c.state.Unlock()
	c.b = b
	c.flush()
}

// alight stops sending, and returns what is on its way.
func (c *commuter) alight() map[int64]bool {
	c.state.Lock()
	defer c.state.Unlock()
	c.b = nil
	ids := make(map[int64]bool)
	for id := range c.pending {
		ids[id] = true
	}
	return ids
}

// repeat puts what got no answer back, to be sent under its client_id on the next connection.
func (c *commuter) repeat() {
	c.state.Lock()
	defer c.state.Unlock()
	for id, d := range c.pending {
		c.drafts = append(c.drafts, d)
		delete(c.pending, id)
	}
}

// flush needs state.
func (c *commuter) flush() {
	for c.b != nil && len(c.drafts) > 0 {
		d := c.drafts[0]
		c.sendID++
		c.pending[sendIDs+c.sendID] = d
		c.drafts = c.drafts[1:]
		request := fields{"id": sendIDs + c.sendID, "op": "send", "group": d.group, "client_id": d.clientID, "body": textBody(d.text)}
		if c.b.write(request) != nil {
			return // its reader learns of it
		}
	}
}

func (c *commuter) answer(f frame) {
	c.state.Lock()
	defer c.state.Unlock()
	d, ok := c.pending[*f.ID]
	delete(c.pending, *f.ID)
	a := ack{From: c.user, ClientID: d.clientID, Body: compactText(d.text)}
	switch {
	case !ok:
		c.broken(fmt.Errorf("%s: an answer to nothing: %s", c.user, f.raw))
	case f.Error != nil && f.Error.Retryable:
		c.drafts = append(c.drafts, d)
	case f.Error != nil:
		c.broken(fmt.Errorf("%s: send: %w", c.user, f.Error))
	default:
		if err := json.Unmarshal(f.OK, &a.sent); err != nil {
			c.broken(err)
		}
		c.acks = append(c.acks, a)
		c.all.count.Add(1)
	}
}

// talk writes messages until talking ends, and goes on sending until all of them have an answer.
func (c *commuter) talk(ctx, talking context.Context, every time.Duration) {
	pause(ctx, rand.N(every))
	for n := 0; ctx.Err() == nil; n++ {
		c.state.Lock()
		if talking.Err() == nil {
			c.drafts = append(c.drafts, draft{c.groups[n%len(c.groups)], fmt.Sprintf("%s-%d", c.user, n), say(c.user, n)})
		}
		c.flush()
		c.state.Unlock()
		pause(ctx, every)
	}
}

// awaitConnected waits until so many have a connection.
func (all *commuters) awaitConnected(t testing.TB, want int) {
	t.Helper()
	await(t, patience, fmt.Sprintf("%d clients are connected", want), func() (bool, any) {
		n := 0
		for _, c := range all.list {
			if err := c.wrong(); err != nil {
				t.Fatal(err)
			}
			c.state.Lock()
			if c.b != nil {
				n++
			}
			c.state.Unlock()
		}
		return n >= want, n
	})
}

func (all *commuters) awaitMore(t testing.TB, n int64) {
	t.Helper()
	want := all.count.Load() + n
	await(t, patience, fmt.Sprintf("%d messages acknowledged", want), func() (bool, any) {
		return all.count.Load() >= want, all.count.Load()
	})
}

// answered waits until nothing is without an answer, and returns what was acknowledged.
func (all *commuters) answered(t testing.TB) (acks []ack) {
	t.Helper()
	for _, c := range all.list {
		await(t, patience, c.user+" has an answer to everything", func() (bool, any) {
			c.state.Lock()
			defer c.state.Unlock()
			return len(c.drafts)+len(c.pending) == 0, fmt.Sprintf("%d not sent, %d without an answer", len(c.drafts), len(c.pending))
		})
		c.state.Lock()
		acks = append(acks, c.acks...)
		c.state.Unlock()
	}
	return acks
}

// wellTreated fails where a client was sent away otherwise than promised.
func (all *commuters) wellTreated(t testing.TB) {
	t.Helper()
	unanswered, moved := 0, make(map[int64]int)
	for _, c := range all.list {
		times := make(map[int64]int)
		for _, e := range c.endings {
			moved[e.step]++
			unanswered += e.unanswered
			if times[e.step]++; times[e.step] > 1 {
				t.Errorf("%s: restart %d: disconnected %d times, want once at most", c.user, e.step+1, times[e.step])
			}
			if e.bye.Code != 4000 || e.bye.ReconnectAfterMS <= 0 || e.code != 4000 {
				t.Errorf("%s: restart %d: got goodbye %s and %v, want both with 4000, and reconnect_after_ms", c.user, e.step+1, e.bye.raw, e.err)
			}
		}
	}
	if unanswered > 0 {
		t.Errorf("sends that were on their way when goodbye came and got no answer: got %d, want none", unanswered)
	}
	if t.Logf("clients moved, by restart: %v", moved); len(moved) == 0 {
		t.Error("nobody was disconnected")
	}
}
