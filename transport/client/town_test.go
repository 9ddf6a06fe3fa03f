package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"hearth/transport/client"
	"hearth/transport/wire"
)

const (
	townPage   = 3
	townUser   = "ann"
	townGroups = 4
)

// town is a small hearth: groups with holes, pages of three, pushes, sends that are known by their client_id, and links
// that break at any point.
type town struct {
	mu     sync.Mutex // guards what follows; held while writing, so that replies and pushes keep their order
	random *rand.Rand
	calm   bool // nothing breaks any more
	groups map[string]*townGroup
	links  map[*townLink]bool
}

type townGroup struct {
	messages []client.Message
	top      int64 // highest seq, of a message or a hole
	previous int64 // seq of the message pushed last
	sent     map[string]int64
}

type townLink struct {
	ws         *websocket.Conn
	subscribed map[string]bool
	queue      chan []byte // nil: close
	over       bool
}

func newTown(seed uint64) *town {
	tn := &town{
		random: rand.New(rand.NewPCG(seed, 1)), groups: make(map[string]*townGroup), links: make(map[*townLink]bool),
	}
	for n := range townGroups {
		tn.groups[groupName(n)] = &townGroup{sent: make(map[string]int64)}
	}
	return tn
}

// serve is a connection, subscribed to all groups by itself.
func (tn *town) serve(ws *websocket.Conn) {
	l := &townLink{ws: ws, subscribed: make(map[string]bool), queue: make(chan []byte, 10_000)}
	var writing sync.WaitGroup
	writing.Go(l.write)
	tn.mu.Lock()
	tn.links[l] = true
	tn.tell(l, []byte(`{"event":"welcome","user":"`+townUser+`","ping_interval_ms":25000,"limits":{"page":200}}`))
	for id := range tn.groups {
		l.subscribed[id] = true
	}
	tn.mu.Unlock()
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			break
		}
		for _, object := range wire.Objects(frame) {
			tn.answer(l, object)
		}
	}
	tn.mu.Lock()
	delete(tn.links, l)
	l.over = true
	close(l.queue)
	tn.mu.Unlock()
	writing.Wait()
}

func (l *townLink) write() {
	for object := range l.queue {
		if object == nil {
			_ = l.ws.NetConn().Close()
			continue
		}
		_ = l.ws.WriteMessage(websocket.TextMessage, object) // fails when the client is gone
	}
}

// tell writes, or breaks the link; tn.mu is held.
func (tn *town) tell(l *townLink, object []byte) {
	switch {
	case l.over:
	case tn.calm || tn.random.IntN(25) > 0:
		l.queue <- object
	default:
		l.over = true
		if tn.random.IntN(2) == 0 {
			l.queue <- wire.AppendGoodbye(nil, 4000, "test", 10*time.Millisecond)
		}
		l.queue <- nil
	}
}

func (tn *town) answer(l *townLink, object []byte) {
	var r request
	_ = json.Unmarshal(object, &r)
	tn.mu.Lock()
	defer tn.mu.Unlock()
	var ok any
	switch g := tn.groups[r.Group]; r.Op {
	case "sync":
		ok = tn.heads(r.Cursor)
	case "subscribe":
		if !tn.calm && tn.random.IntN(5) == 0 {
			tn.tell(l, fmt.Appendf(nil, `{"id":%d,"error":{"code":"unavailable","message":"","retryable":true}}`, r.ID))
			return
		}
		l.subscribed[r.Group] = true
		ok = g.page(r.Group, r.AfterSeq)
	case "send":
		seq, known := g.sent[r.ClientID]
		if !known {
			seq = tn.accept(r.Group, r.ClientID)
		}
		ok = map[string]any{"group": r.Group, "seq": seq, "duplicate": known}
	}
	reply, _ := json.Marshal(map[string]any{"ok": ok})
	tn.tell(l, fmt.Appendf(nil, `{"id":%d,%s`, r.ID, reply[1:]))
}

func (tn *town) heads(cursor string) any {
	ids := make([]string, 0, len(tn.groups))
	for id := range tn.groups {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	answer := map[string]any{}
	results := []any{}
	for _, id := range ids {
		if id <= cursor {
			continue
		}
		if len(results) == townPage {
			answer["cursor"] = ids[len(results)-1]
			break
		}
		results = append(results, map[string]any{"group": id, "type": "group", "max_seq": tn.groups[id].top})
	}
	answer["results"] = results
	return answer
}

func (g *townGroup) page(id string, after *int64) any {
	p := client.Page{Group: id, MaxSeq: g.top, Messages: []client.Message{}, Holes: []client.Hole{}}
	last := g.top
	if after != nil {
		next := *after
		for _, m := range g.messages {
			if m.Seq <= *after {
				continue
			}
			if len(p.Messages) == townPage {
				p.More, last = true, next
				break
			}
			if m.Seq > next+1 {
				p.Holes = append(p.Holes, client.Hole{From: next + 1, To: m.Seq - 1, Reason: "lost"})
			}
			p.Messages, next = append(p.Messages, m), m.Seq
		}
		if !p.More && next < last {
			p.Holes = append(p.Holes, client.Hole{From: next + 1, To: last, Reason: "lost"})
		}
	}
	return p
}

// accept stores a message and pushes it; tn.mu is held.
func (tn *town) accept(id, clientID string) int64 {
	g := tn.groups[id]
	if tn.random.IntN(10) == 0 {
		g.top += 1 + tn.random.Int64N(3) // a hole
	}
	g.top++
	m := client.Message{Group: id, Seq: g.top, From: townUser, ClientID: clientID, Body: client.Text(fmt.Sprint("no. ", g.top))}
	g.messages = append(g.messages, m)
	g.sent[clientID] = g.top
	object, _ := json.Marshal(m)
	event := append([]byte(`{"event":"message",`), object[1:]...)
	if g.previous != g.top-1 {
		event = wire.WithPrevSeq(event, g.previous)
	}
	g.previous = g.top
	for l := range tn.links {
		switch {
		case !l.subscribed[id]:
		case !tn.calm && tn.random.IntN(40) == 0:
			delete(l.subscribed, id)
			tn.tell(l, wire.AppendResync(nil, []wire.Resync{{Group: id, AfterSeq: g.top - 1}}))
		default:
			tn.tell(l, event)
		}
	}
	return g.top
}

// view is what a client has seen.
type view struct {
	mu     sync.Mutex
	groups map[string][]int64 // seqs of messages
	holes  map[string][]client.Hole
	faults []string
}

func (v *view) message(m client.Message) {
	v.mu.Lock()
	defer v.mu.Unlock()
	seen := v.groups[m.Group]
	if len(seen) > 0 && m.Seq <= seen[len(seen)-1] {
		v.faults = append(v.faults, fmt.Sprintf("%s: %d after %d", m.Group, m.Seq, seen[len(seen)-1]))
	}
	v.groups[m.Group] = append(seen, m.Seq)
}

func (v *view) hole(group string, h client.Hole) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.holes[group] = append(v.holes[group], h)
}

func TestWhateverBreaksTheViewIsCompleteAndInOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(24) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, f *fake) { liveInTown(t, f, seed) })
		})
	}
}

func liveInTown(t *testing.T, f *fake, seed uint64) {
	tn := newTown(seed)
	f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil); err == nil {
			defer ws.Close()
			tn.serve(ws)
		}
		return true
	}
	seen := &view{groups: make(map[string][]int64), holes: make(map[string][]client.Hole)}
	random := rand.New(rand.NewPCG(seed, 2))
	connects := 0
	r := f.start(func(_ *running, cfg *client.Config) {
		cfg.All, cfg.Held = seed%2 == 0, 1+random.IntN(50)
		cfg.OnMessage, cfg.OnHole = seen.message, seen.hole
		if seed%4 < 2 {
			cfg.OnMessage = func(m client.Message) { time.Sleep(time.Millisecond); seen.message(m) }
		}
		cfg.OnState = func(s client.State) {
			if s.Connected {
				connects++
			}
		}
	})
	for n := range townGroups {
		r.Follow(groupName(n), 0)
	}
	var sending sync.WaitGroup
	for n := range 3 {
		sending.Go(func() { sendInTurn(t, r, n) })
	}
	for range 300 {
		tn.mu.Lock()
		tn.accept(groupName(tn.random.IntN(townGroups)), fmt.Sprint("other ", tn.random.Uint64()))
		tn.mu.Unlock()
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
	}
	sending.Wait()
	tn.mu.Lock()
	tn.calm = true
	for l := range tn.links { // a push may have gone with the link
		l.queue <- nil
	}
	tn.mu.Unlock()
	time.Sleep(5 * time.Minute)
	synctest.Wait()
	require.Empty(t, seen.faults)
	require.Greater(t, connects, 3)
	for id, g := range tn.groups {
		requireComplete(t, id, g, seen)
	}
}

// sendInTurn sends one message after the other; none is stored twice, and they keep their order.
func sendInTurn(t *testing.T, r *running, sender int) {
	last := int64(0)
	for n := range 20 {
		receipt, err := r.Send(context.Background(), client.Draft{
			Group: groupName(0), Body: client.Text("hi"), ClientID: fmt.Sprint(sender, "-", n),
		})
		if err != nil || receipt.Seq <= last {
			t.Errorf("send %d of %d: seq %d after %d, %v", n, sender, receipt.Seq, last, err)
			return
		}
		last = receipt.Seq
	}
}

func requireComplete(t *testing.T, id string, g *townGroup, seen *view) {
	t.Helper()
	var want []int64
	for _, m := range g.messages {
		want = append(want, m.Seq)
	}
	require.Equal(t, want, seen.groups[id], id)
	told := map[int64]bool{}
	for _, h := range seen.holes[id] {
		for seq := h.From; seq <= h.To; seq++ {
			require.False(t, told[seq], "%s: the hole at %d is told twice", id, seq)
			told[seq] = true
		}
	}
	require.Len(t, told, int(g.top)-len(want), "%s: seqs in holes", id)
}
