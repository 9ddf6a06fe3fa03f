package client

import (
	"cmp"
	"context"
	"time"
)

const (
	defaultPage = 200
	maxAsked    = 20 // subscribes under way at once
	maxSeq      = 1<<53 - 1
)

// follower keeps the cursors and calls the hooks. All of it belongs to the goroutine of run; others put into the inbox
// what it is to do.
//
// A connection is subscribed to a group by subscribe with after_seq, page after page until there is no more. Pushes are
// handed out whenever they fit behind the cursor. One that does not fit while a page is under way is dropped: the server
// wrote it before the page, so the page, or one behind it, has it. One that does not fit in a live group makes the
// client subscribe again.
type follower struct {
	cfg    Config
	inbox  *inbox
	groups map[string]*group
	left   map[string]bool // unfollowed by the caller; All does not bring them back

	conn  *conn // nil while there is none
	page  int
	due   []*group
	asked int
	retry backoff // of the list of groups
}

// newFollower fills the hooks in that are called without a look.
func newFollower(cfg Config, box *inbox) *follower {
	if cfg.OnMessage == nil {
		cfg.OnMessage = func(Message) {}
	}
	if cfg.OnHole == nil {
		cfg.OnHole = func(string, Hole) {}
	}
	if cfg.OnLive == nil {
		cfg.OnLive = func(string) {}
	}
	if cfg.OnGroupError == nil {
		cfg.OnGroupError = func(string, error) {}
	}
	return &follower{cfg: cfg, inbox: box, groups: make(map[string]*group), left: make(map[string]bool)}
}

func (f *follower) run(ctx context.Context) {
	for {
		i, ok := f.inbox.next(ctx)
		switch {
		case !ok:
			return
		case i.push != nil:
			f.push(i.push)
		default:
			i.then()
		}
	}
}

// FromHere as the seq of Follow starts with what is accepted after the subscription.
const FromHere = fromHere

// Follow hands out the messages of a group with a seq above after, from now on and over every connection. A group that
// is followed already goes on as it was. It does not wait: OnLive and OnGroupError tell how it went.
func (c *Client) Follow(group string, after int64) {
	c.inbox.do(func() { c.follower.follow(group, after) })
}

// Unfollow ends it, with All also for the groups that the server brings by itself. Messages that wait already are not
// handed out any more.
func (c *Client) Unfollow(group string) {
	c.inbox.do(func() { c.follower.unfollow(group) })
}

func (f *follower) follow(id string, after int64) {
	delete(f.left, id)
	if f.groups[id] == nil {
		f.catchUp(f.add(id, max(after, fromHere)))
	}
}

func (f *follower) add(id string, after int64) *group {
	g := &group{id: id, cursor: after}
	f.groups[id] = g
	return g
}

func (f *follower) unfollow(id string) {
	if f.cfg.All {
		f.left[id] = true
	}
	if g := f.groups[id]; g != nil {
		f.drop(g)
	}
	if f.conn != nil {
		f.ask("unsubscribe", map[string]string{"group": id}, func(reply) {}) // it cannot fail but with the connection
	}
}

func (f *follower) drop(g *group) {
	delete(f.groups, g.id)
	if g.phase == asked {
		f.asked--
	}
	g.phase, g.request = idle, nil
}

// ours reports whether a group that is not known is to be followed because the server says so.
func (f *follower) ours(id string) bool { return f.cfg.All && !f.left[id] }

// welcome starts the catch-up on a new connection.
func (f *follower) welcome(c *conn, w welcome) {
	f.conn, f.page = c, cmp.Or(w.Limits.Page, defaultPage)
	for _, g := range f.groups {
		f.catchUp(g)
	}
	if f.cfg.All {
		f.learn("")
	}
}

// lost waits for the next connection.
func (f *follower) lost() {
	f.conn, f.due, f.asked = nil, nil, 0
	for _, g := range f.groups {
		g.phase, g.request, g.again, g.young = idle, nil, false, false
	}
}

// catchUp subscribes to a group, in its turn.
func (f *follower) catchUp(g *group) {
	if f.conn == nil || g.phase != idle && g.phase != live {
		return
	}
	g.phase = due
	f.due = append(f.due, g)
	f.pump()
}

// pump subscribes to groups whose turn it is.
func (f *follower) pump() {
	for f.asked < maxAsked && len(f.due) > 0 {
		g := f.due[0]
		f.due = f.due[1:]
		if g.phase == due {
			f.subscribe(g)
		}
	}
}

// subscribeFields are those of the op subscribe.
type subscribeFields struct {
	Group    string `json:"group"`
	AfterSeq *int64 `json:"after_seq,omitempty"`
	Limit    int    `json:"limit,omitempty"`
}

func (f *follower) subscribe(g *group) {
	r := &request{after: g.position()}
	fields := subscribeFields{Group: g.id}
	if r.after != fromHere {
		fields.AfterSeq, fields.Limit = &r.after, f.page
	}
	g.phase, g.request, g.again = asked, r, false
	f.asked++
	f.ask("subscribe", fields, func(answer reply) { f.subscribed(g, r, answer) })
}

// ask sends a request; the answer comes through the inbox, in its place among the pushes.
func (f *follower) ask(op string, fields any, then func(reply)) {
	answer := func(r reply) { f.inbox.answer(len(r.ok), func() { then(r) }) }
	request, err := encodeRequest(op, fields)
	if err != nil {
		answer(reply{err: &Error{Code: "bad_request", Message: err.Error()}})
		return
	}
	f.conn.ask(request, answer)
}

// subscribed takes the answer to a subscribe, unless its connection is gone or nobody wants it any more.
func (f *follower) subscribed(g *group, r *request, answer reply) {
	if g.request != r {
		return
	}
	f.asked--
	g.phase, g.request = idle, nil
	var p Page
	err := answer.into(&p)
	switch refused, again := retryable(err); {
	case again:
		f.later(g, refused.RetryAfter)
	case err != nil:
		f.drop(g)
		f.cfg.OnGroupError(g.id, err)
	default:
		f.subscribedTo(g, r.after, p)
	}
	f.pump()
}

func (f *follower) subscribedTo(g *group, after int64, p Page) {
	if after == fromHere && g.cursor == fromHere {
		g.cursor = p.MaxSeq
	}
	if after == fromHere && g.cursor < p.MaxSeq || after > g.position() { // pushes or a resync began before the page
		f.catchUp(g)
		return
	}
	before := g.position()
	f.handOutPage(g, p)
	switch {
	case p.More && g.position() == before: // nothing in it: a server that is not ready
		f.later(g, 0)
		return
	case p.More || g.again:
		f.catchUp(g)
		return
	}
	g.young, g.phase = false, live
	g.retry.reset()
	f.cfg.OnLive(g.id)
}

func (f *follower) handOutPage(g *group, p Page) {
	holes := p.Holes
	for _, m := range p.Messages {
		holes = f.tellHoles(g, holes, m.Seq)
		switch {
		case m.Seq > g.cursor:
			g.cursor = m.Seq
			f.cfg.OnMessage(m)
		case m.Seq <= g.repairTo:
			f.cfg.OnRepair(m)
		}
		g.read(m.Seq)
	}
	if !p.More {
		f.tellHoles(g, holes, maxSeq)
		g.cursor = max(g.cursor, p.MaxSeq)
		g.read(maxSeq)
	}
}

// tellHoles tells of the holes before seq that are above the cursor, and returns the others.
func (f *follower) tellHoles(g *group, holes []Hole, seq int64) []Hole {
	for len(holes) > 0 && holes[0].From < seq {
		h := holes[0]
		holes = holes[1:]
		if h.From = max(h.From, g.cursor+1); h.From <= h.To {
			f.cfg.OnHole(g.id, h)
		}
	}
	return holes
}

// later subscribes again after a while, if it is still wanted then.
func (f *follower) later(g *group, after time.Duration) {
	g.phase = waiting
	f.after(max(after, g.retry.next()), func() {
		if g.phase == waiting {
			g.phase = idle
			f.catchUp(g)
		}
	})
}

// after does something later, unless the connection is another one by then.
func (f *follower) after(d time.Duration, then func()) {
	c := f.conn
	time.AfterFunc(d, func() {
		f.inbox.do(func() {
			if f.conn == c {
				then()
			}
		})
	})
}

// push hands a message out when it fits.
func (f *follower) push(p *push) {
	g := f.groups[p.Group]
	if g == nil {
		if !f.ours(p.Group) {
			return
		}
		g = f.add(p.Group, p.prevSeq)
		defer f.catchUp(g)
	}
	g.begin(p)
	switch {
	case g.fits(p):
		if p.prevSeq != p.Seq-1 {
			f.tellHoles(g, []Hole{{From: p.prevSeq + 1, To: p.Seq - 1}}, p.Seq)
		}
		g.cursor = p.Seq
		f.cfg.OnMessage(p.Message)
	case p.Seq > g.cursor:
		f.catchUp(g)
	}
}

// missed is told that pushes were dropped, the first of them behind the seq prev.
func (f *follower) missed(id string, prev int64) {
	g := f.groups[id]
	switch {
	case g == nil && !f.ours(id):
		return
	case g == nil:
		g = f.add(id, prev)
	}
	g.again = g.phase == asked
	f.catchUp(g)
}

// told does what the server's events ask for.
func (f *follower) told(n news) {
	for id := range n.joined {
		if f.ours(id) && f.groups[id] == nil {
			f.catchUp(f.add(id, fromHere))
		}
	}
	for id, after := range n.resync {
		f.resync(id, after)
	}
	if n.more {
		for id := range f.groups {
			f.resync(id, fromCursor)
		}
		if f.cfg.All && f.conn != nil { // the next welcome learns by itself
			f.learn("")
		}
	}
}

// resync subscribes again to a group that the server has dropped. Below the cursor it goes for who has OnRepair.
func (f *follower) resync(id string, after int64) {
	g := f.groups[id]
	if g == nil && !f.ours(id) {
		return
	}
	if g == nil {
		g = f.add(id, fromHere)
	}
	if after < g.cursor && f.cfg.OnRepair != nil {
		g.rewind(after)
	}
	g.again = g.phase == asked // the server may have dropped it behind what the reply covers
	f.catchUp(g)
}
