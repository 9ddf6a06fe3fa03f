package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	maxInFlight   = 16
	answerTimeout = 8 * time.Second // longer than a server tries
	retryPause    = 50 * time.Millisecond
	senderTick    = 10 * time.Millisecond
)

// outgoing is a message on its way until it is acknowledged or refused; it keeps its client_id.
type outgoing struct {
	group, clientID string
	durable, probe  bool
	unnamed         bool      // without a client_id: it cannot be repeated
	attempt         *Attempt  // in flight; nil: to be written
	id              int64     // of the request in flight
	due             time.Time // not to be written before
}

// sender is a user who sends to his groups on a schedule, over one connection after the other.
type sender struct {
	run      *run
	user     string
	groups   []string
	at       int // instance that is tried next
	every    time.Duration
	rand     *rand.Rand
	stopping <-chan struct{} // closed: no new messages, the others to their end

	next    time.Time
	count   int
	order   int // of writing on this connection
	pending []*outgoing
	acked   []*outgoing // some, to be repeated on purpose

	attempts []*Attempt
}

// work sends until stopping, then until everything is answered or ctx ends.
func (s *sender) work(ctx context.Context) {
	for ctx.Err() == nil && !s.done() {
		i := s.run.instances[s.at%len(s.run.instances)]
		s.at++
		sock, err := dial(i.ws(), s.user, true)
		if err != nil {
			pause(ctx, retryPause)
			continue
		}
		s.attend(ctx, sock)
		sock.close()
		s.pending = slices.DeleteFunc(s.pending, func(o *outgoing) bool { return o.unnamed && o.attempt != nil })
		for _, o := range s.pending {
			o.attempt, o.due = nil, time.Time{}
		}
	}
}

func (s *sender) done() bool {
	select {
	case <-s.stopping:
		return len(s.pending) == 0
	default:
		return false
	}
}

// attend uses a connection until it breaks, an answer does not come, or all is done.
func (s *sender) attend(ctx context.Context, sock *socket) {
	s.order = 0
	tick := time.NewTicker(senderTick)
	defer tick.Stop()
	for !s.done() {
		select {
		case <-ctx.Done():
			return
		case line, ok := <-sock.frames:
			if !ok {
				return
			}
			s.heard(line)
		case <-tick.C:
			s.invent()
			if s.write(sock) != nil || s.overdue() {
				return
			}
		}
	}
}

// invent makes a new message when it is time.
func (s *sender) invent() {
	select {
	case <-s.stopping:
		return
	default:
	}
	if now := time.Now(); now.Before(s.next) || len(s.pending) >= maxInFlight {
		return
	} else if s.next = s.next.Add(s.every); s.next.Before(now.Add(-time.Second)) { // not all at once after a fault
		s.next = now
	}
	s.count++
	if len(s.acked) > 0 && s.rand.IntN(50) == 0 { // is a repeat of old known?
		old := s.acked[s.rand.IntN(len(s.acked))]
		s.pending = append(s.pending, &outgoing{group: old.group, clientID: old.clientID, probe: true})
		return
	}
	s.pending = append(s.pending, &outgoing{
		group: s.groups[s.rand.IntN(len(s.groups))], durable: s.rand.IntN(20) == 0, unnamed: s.rand.IntN(4) == 0,
		clientID: fmt.Sprintf("%s-%d", s.user, s.count),
	})
}

// write writes what is due, in order.
func (s *sender) write(sock *socket) error {
	now := time.Now()
	for _, o := range s.pending {
		if o.attempt != nil || now.Before(o.due) {
			continue
		}
		request := fields{
			"op": "send", "group": o.group, "body": []fields{{"type": "text", "text": words + o.clientID}},
		}
		if !o.unnamed {
			request["client_id"] = o.clientID
		}
		if o.durable {
			request["ack"] = "durable"
		}
		s.order++
		o.attempt = &Attempt{
			Conn: sock.conn, Order: s.order, User: s.user, Group: o.group, ClientID: o.clientID, Sent: s.run.now(),
		}
		s.attempts = append(s.attempts, o.attempt)
		var err error
		if o.id, err = sock.ask(request); err != nil {
			return err
		}
	}
	return nil
}

// overdue tells that the connection does not answer.
func (s *sender) overdue() bool {
	return slices.ContainsFunc(s.pending, func(o *outgoing) bool {
		return o.attempt != nil && s.run.now()-o.attempt.Sent > answerTimeout
	})
}

func (s *sender) heard(line []byte) {
	var f frame
	if err := json.Unmarshal(line, &f); err != nil {
		s.run.note("%s: the server wrote %.200q", s.user, line)
		return
	}
	if f.ID == nil {
		return
	}
	n := slices.IndexFunc(s.pending, func(o *outgoing) bool { return o.attempt != nil && o.id == *f.ID })
	if n < 0 {
		return
	}
	o := s.pending[n]
	a := o.attempt
	a.Answered = s.run.now()
	if f.Error != nil {
		if a.Code, a.Retry = f.Error.Code, f.Error.Retryable; a.Retry && !o.unnamed {
			o.attempt, o.due = nil, time.Now().Add(retryPause)
			return
		}
	} else {
		s.accepted(o, f.OK)
	}
	s.pending = slices.Delete(s.pending, n, n+1)
}

func (s *sender) accepted(o *outgoing, ok json.RawMessage) {
	var answer struct {
		Seq                int64
		Duplicate, Durable bool
	}
	a := o.attempt
	if err := json.Unmarshal(ok, &answer); err != nil || answer.Seq == 0 {
		a.Code = "an ok without a seq"
		return
	}
	a.Seq, a.Repeat, a.Durable = answer.Seq, answer.Duplicate, answer.Durable
	s.run.acked(o.group, a)
	if a.Durable {
		a.Stored = s.run.lookUp(a)
	}
	if !o.probe && !o.unnamed && s.rand.IntN(4) == 0 {
		s.acked = append(s.acked, o)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
