package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// habit is how a reader reads.
type habit int

const (
	stays  habit = iota // on one connection as long as it lives
	roams               // drops and comes back, with a sync first
	isLate              // comes when there is a history, and pulls it page by page
)

const (
	pingEvery    = 2 * time.Second
	silenceLimit = 6 * time.Second // a server that answers no ping for so long is left
	readEvery    = time.Second
)

// reader is a user who reads his groups by the rules of the protocol and keeps what he is told.
type reader struct {
	run  *run
	user string
	kind habit
	at   int // instance that is tried next
	rand *rand.Rand

	mu    sync.Mutex // guards what follows
	views map[string]*following
	marks []*Read
}

// following is a view with its cursor.
type following struct {
	View
	cursor int64
	live   bool // subscribed: pushes count
}

// question is a request that waits for its answer.
type question struct {
	op    string
	view  *following
	after int64
	mark  *Read
	at    time.Duration
}

func newReader(r *run, user string, kind habit, at int, groups []string) *reader {
	reader := &reader{run: r, user: user, kind: kind, at: at, rand: rand.New(rand.NewPCG(r.seed, uint64(at)+1000)), views: make(map[string]*following)}
	for _, g := range groups {
		reader.views[g] = &following{View: View{User: user, Group: g}}
	}
	return reader
}

// work reads until ctx ends. When settled is closed, nobody drops his connection on purpose any more.
func (r *reader) work(ctx context.Context, settled <-chan struct{}) {
	for ctx.Err() == nil {
		i := r.run.instances[r.at%len(r.run.instances)]
		if r.at++; i == r.run.instances[0] && r.run.setup.readElsewhere {
			continue
		}
		sock, err := dial(i.ws(), r.user, false)
		if err != nil {
			pause(ctx, retryPause)
			continue
		}
		until := time.Time{}
		if r.kind == roams {
			until = time.Now().Add(300*time.Millisecond + time.Duration(r.rand.Int64N(int64(2*time.Second))))
		}
		r.attend(ctx, settled, sock, until)
		sock.close()
	}
}

// visit is a reader on one connection; questions belong to its goroutine.
type visit struct {
	*reader
	sock      *socket
	questions map[int64]*question
	retries   []*following // to be subscribed again
}

func (r *reader) attend(ctx context.Context, settled <-chan struct{}, sock *socket, until time.Time) {
	v := &visit{reader: r, sock: sock, questions: make(map[int64]*question)}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	heard, pinged, marked := time.Now(), time.Now(), time.Now()
	if v.begin() != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case line, ok := <-sock.frames:
			if !ok {
				return
			}
			heard = time.Now()
			if err := v.take(line); err != nil {
				return
			}
		case now := <-tick.C:
			if now.Sub(heard) > silenceLimit || v.overdue() {
				return
			}
			select {
			case <-settled:
			default:
				if !until.IsZero() && now.After(until) {
					return
				}
			}
			err := v.again()
			if err == nil && now.Sub(pinged) > pingEvery {
				pinged = now
				_, err = sock.ask(fields{"op": "ping"})
			}
			if err == nil && now.Sub(marked) > readEvery {
				marked = now
				err = v.mark()
			}
			if err != nil {
				return
			}
		}
	}
}

// begin asks for what every view lacks.
func (v *visit) begin() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	cursors := make(map[string]int64)
	for _, f := range v.views {
		f.live = false
		cursors[f.Group] = f.cursor
	}
	if v.kind == roams {
		id, err := v.sock.ask(fields{"op": "sync", "groups": cursors, "limit": 100})
		v.questions[id] = &question{op: "sync", at: v.run.now()}
		return err
	}
	for _, f := range v.views {
		if err := v.pull(f); err != nil {
			return err
		}
	}
	return nil
}

// pull asks a view's next page: who comes late pulls until there is no more, and then subscribes as the others do. It
// needs mu.
func (v *visit) pull(f *following) error {
	if v.kind == isLate {
		return v.askPage("pull", f)
	}
	return v.askPage("subscribe", f)
}

// askPage needs mu. An earlier question about the view is forgotten.
func (v *visit) askPage(op string, f *following) error {
	f.live = false
	for id, q := range v.questions {
		if q.view == f && q.mark == nil {
			delete(v.questions, id)
		}
	}
	asked := v.run.now()
	id, err := v.sock.ask(fields{"op": op, "group": f.Group, "after_seq": f.cursor, "limit": 200})
	v.questions[id] = &question{op: op, view: f, after: f.cursor, at: asked}
	return err
}

func (v *visit) overdue() bool {
	for _, q := range v.questions {
		if v.run.now()-q.at > answerTimeout {
			return true
		}
	}
	return false
}

// again subscribes what was refused for now.
func (v *visit) again() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, f := range v.retries {
		if err := v.pull(f); err != nil {
			return err
		}
	}
	v.retries = nil
	return nil
}

// mark sets the read mark of some view to its cursor.
func (v *visit) mark() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, f := range v.views { // one of them, by chance
		if f.cursor == 0 {
			continue
		}
		m := &Read{User: v.user, Group: f.Group, Seq: f.cursor}
		v.marks = append(v.marks, m)
		id, err := v.sock.ask(fields{"op": "read", "group": f.Group, "seq": f.cursor})
		v.questions[id] = &question{op: "read", mark: m, at: v.run.now()}
		return err
	}
	return nil
}

// take notes an object. An error ends the connection.
func (v *visit) take(line []byte) error {
	var f frame
	if err := json.Unmarshal(line, &f); err != nil {
		v.run.note("%s: the server wrote %.200q", v.user, line)
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case f.Event == "message":
		v.push(&f)
	case f.Event == "resync":
		return v.resync(&f)
	case f.ID != nil && v.questions[*f.ID] != nil:
		q := v.questions[*f.ID]
		delete(v.questions, *f.ID)
		return v.answered(q, &f)
	}
	return nil
}

func (v *visit) push(f *frame) {
	view := v.views[f.Group]
	if view == nil {
		v.run.note("%s was pushed a message of %s, which he does not follow", v.user, f.Group)
		return
	}
	previous := f.PrevSeq
	if previous == 0 {
		previous = f.Seq - 1
	}
	view.Steps = append(view.Steps, Step{
		Kind: Push, At: v.run.now(), Conn: v.sock.conn, Live: view.live, Previous: previous,
		Messages: []Message{{f.Seq, f.Body.id()}},
	})
	if view.live {
		view.cursor = max(view.cursor, f.Seq)
	}
}

func (v *visit) resync(f *frame) error {
	v.run.resyncs.Add(1)
	for _, g := range f.Groups {
		view := v.views[g.Group]
		if view == nil {
			continue
		}
		from := view.cursor
		if g.AfterSeq != nil {
			from = min(from, *g.AfterSeq)
		}
		view.cursor = from
		view.Steps = append(view.Steps, Step{Kind: Resync, At: v.run.now(), Conn: v.sock.conn, After: from})
		if err := v.askPage("subscribe", view); err != nil {
			return err
		}
	}
	return nil
}

func (v *visit) answered(q *question, f *frame) error {
	if f.Error != nil {
		return v.refused(q, f)
	}
	if q.op == "sync" {
		return v.synced(q, f.OK)
	}
	var p page
	if err := json.Unmarshal(f.OK, &p); err != nil {
		v.run.note("%s: the answer to %s is %.200q", v.user, q.op, f.OK)
		return err
	}
	if q.op == "read" {
		q.mark.Answer = p.ReadSeq
		return nil
	}
	v.page(q.view, &p, q)
	switch {
	case p.More:
		return v.askPage(q.op, q.view)
	case q.op == "pull":
		return v.askPage("subscribe", q.view)
	}
	q.view.live = true
	return nil
}

func (v *visit) refused(q *question, f *frame) error {
	switch {
	case !f.Error.Retryable:
		v.run.note("%s: %s was refused with %s", v.user, q.op, f.Error.Code)
		fallthrough
	case q.op == "sync":
		return fmt.Errorf("refused: %s", f.Error.Code)
	case q.view != nil:
		v.retries = append(v.retries, q.view)
	}
	return nil
}

// synced takes the pages, then subscribes everything.
func (v *visit) synced(q *question, ok json.RawMessage) error {
	var answer struct{ Results []page }
	if err := json.Unmarshal(ok, &answer); err != nil {
		v.run.note("%s: the answer to sync is %.200q", v.user, ok)
		return err
	}
	for i := range answer.Results {
		p := &answer.Results[i]
		if view := v.views[p.Group]; view != nil && p.Error == nil {
			v.page(view, p, &question{op: q.op, after: view.cursor, at: q.at})
		}
	}
	for _, f := range v.views {
		if err := v.askPage("subscribe", f); err != nil {
			return err
		}
	}
	return nil
}

func (v *visit) page(view *following, p *page, q *question) {
	s := Step{
		Kind: Page, At: v.run.now(), Conn: v.sock.conn, Asked: q.at, After: q.after, MaxSeq: p.MaxSeq, Joins: q.op == "subscribe", More: p.More,
	}
	for _, m := range p.Messages {
		s.Messages = append(s.Messages, Message{m.Seq, m.Body.id()})
		view.cursor = max(view.cursor, m.Seq)
	}
	for _, h := range p.Holes {
		s.Holes = append(s.Holes, Hole{From: h.From, To: h.To})
	}
	if !p.More {
		view.cursor = max(view.cursor, p.MaxSeq)
	}
	view.Steps = append(view.Steps, s)
}

// behind names a group in which the reader has not got as far as he should.
func (r *reader) behind(tops map[string]int64) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.views {
		if f.cursor < tops[f.Group] {
			return fmt.Sprintf("%s in %s at %d of %d (live %v)", r.user, f.Group, f.cursor, tops[f.Group], f.live)
		}
	}
	return ""
}
