package domain

import (
	"context"
	"sync"
	"time"
)

// Verdict is what becomes of a message that was asked about before it is accepted.
type Verdict struct {
	Refused *Error // nil: it is allowed
	Body    []byte // takes the place of the message's, valid and compact; nil: the message stays as it is
}

// BeforeSend asks the app's back end about messages.
type BeforeSend interface {
	// Judge says what becomes of a checked draft, which it does not change. It blocks for a bounded time, whatever the back
	// end does, and is called for many at once.
	Judge(ctx context.Context, d *Draft) Verdict
}

// How many sends may be asked about at once, or wait for their turn behind those; one more is refused, as where the appender's
// queue is full. A user has far fewer by the rates, which are looked at behind the hook: whoever floods it while it is slow
// would otherwise take all there is.
const (
	maxAsking       = 20_000
	maxAskingOfUser = 1000
)

// asking holds what is being asked about. A connection's sends to a group are asked about at the same time and queued in
// their order; nobody else's wait for them.
type asking struct {
	hook BeforeSend
	jobs sync.WaitGroup // one a send

	mu       sync.Mutex // guards what follows
	waiting  int
	ofUser   map[string]int         // of waiting; app servers' are not counted
	last     map[lane]chan struct{} // closed when the last send of the lane has been queued
	stopping bool
}

// lane is where sends keep their order.
type lane struct{ conn, group string }

// turn is a send's place in its lane.
type turn struct {
	lane   lane
	user   string        // "" for an app server
	before chan struct{} // closed when the send before it has been queued; nil: there is none
	queued chan struct{}
}

// UseBeforeSend has every send asked about from now on; it is called before the first one.
func (s *Sends) UseBeforeSend(hook BeforeSend) {
	s.asking = &asking{hook: hook, ofUser: make(map[string]int), last: make(map[lane]chan struct{})}
}

// Drain refuses what would have to be asked about, and waits until everything that was has been queued, or ctx is done.
func (s *Sends) Drain(ctx context.Context) {
	if s.asking == nil {
		return
	}
	s.asking.mu.Lock()
	s.asking.stopping = true
	s.asking.mu.Unlock()
	queued := make(chan struct{})
	go func() {
		s.asking.jobs.Wait()
		close(queued)
	}()
	select {
	case <-queued:
	case <-ctx.Done():
	}
}

// ask queues a send when the hook has been asked about it.
func (s *Sends) ask(send Append, reply func(Receipt, error), durable func(Accepted)) {
	started := time.Now()
	turn, err := s.asking.enter(&send.Draft)
	if err != nil {
		reply(Receipt{}, err)
		return
	}
	go func() {
		defer s.asking.leave(turn)
		verdict := s.asking.hook.Judge(context.Background(), &send.Draft) // it was sent, whoever has gone meanwhile
		turn.await()
		send.judged(verdict)
		if send.Ack == AckDurable { // the hook's time is the sender's; it is not shortened, or he could leave the hook none
			send.Timeout = max(1, send.timeout()-time.Since(started))
		}
		s.queue(send, reply, durable)
	}()
}

// judged makes of a send what the verdict says.
func (a *Append) judged(v Verdict) {
	a.Judged, a.Refused = true, v.Refused
	if v.Refused == nil && v.Body != nil {
		a.replace(v.Body)
	}
}

// Replaced tells that the body is not the one that was sent.
func (a *Append) Replaced() bool { return isReplaced(a.Hash) }

func (a *asking) enter(d *Draft) (*turn, error) {
	t := &turn{lane: lane{d.Conn, d.Group}}
	if d.Operator == "" {
		t.user = d.From
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping {
		return nil, Errorf(CodeUnavailable, "this instance is shutting down")
	}
	if a.waiting >= maxAsking || a.ofUser[t.user] >= maxAskingOfUser {
		return nil, &Error{Code: CodeOverloaded, Message: "too many sends are waiting", RetryAfter: time.Second}
	}
	a.waiting++
	if t.user != "" {
		a.ofUser[t.user]++
	}
	a.jobs.Add(1)
	if t.lane.conn != "" {
		t.before, t.queued = a.last[t.lane], make(chan struct{})
		a.last[t.lane] = t.queued
	}
	return t, nil
}

func (t *turn) await() {
	if t.before != nil {
		<-t.before
	}
}

func (a *asking) leave(t *turn) {
	defer a.jobs.Done()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting--
	if t.user != "" {
		if a.ofUser[t.user]--; a.ofUser[t.user] == 0 {
			delete(a.ofUser, t.user)
		}
	}
	if t.queued == nil {
		return
	}
	close(t.queued)
	if a.last[t.lane] == t.queued {
		delete(a.last, t.lane)
	}
}

// replacedMark stands in place of a content hash's first digit where the stored body is not the one that was sent.
const replacedMark = 'x'

func markReplaced(hash string) string { return string(replacedMark) + hash[1:] }

func isReplaced(hash string) bool { return hash != "" && hash[0] == replacedMark }
