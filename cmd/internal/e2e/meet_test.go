package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestPageAndPushesMeet: subscribe calls from random places, with random limits, into a group in which 500 messages a
// second are accepted. What is pushed after each answer goes on exactly where the answer says.
func TestPageAndPushesMeet(t *testing.T) {
	t.Parallel()
	const calls, workers, perSecond, before = 200, 8, 500, 1500
	s := newStack(t, setup{instances: 2})
	senders, users := names("s", 20), names("u", workers)
	s.createGroup("group", "g", append(users, senders...)...)
	first := s.in(t)
	first.instances = s.instances[:1]
	l := startTalk(first, senders, []string{"g"}, perSecond)
	l.awaitMore(before) // more than Redis keeps: pages come from both stores
	var work errgroup.Group
	for n, user := range users {
		home := 0
		if n == workers-1 {
			home = 1 // alone there: with each unsubscribe the instance may leave the channel
		}
		work.Go(func() error {
			m, err := s.newMeeting(user, s.instances[home])
			if err != nil {
				return err
			}
			defer m.ws.Close()
			for call := range calls / workers {
				if err := m.meet(n%2 == 1 && call%2 == 1 || home == 1); err != nil {
					return fmt.Errorf("%s, call %d: %w", user, call, err)
				}
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		t.Error(err)
	}
	l.stop()
}

// meeting is a connection that subscribes again and again.
type meeting struct {
	*bare
	lastID int64
	last   int64 // seq of the last push
	known  bool  // pushes flow, and the next is last+1
}

func (s *stack) newMeeting(user string, i *instance) (*meeting, error) {
	b, _, err := dialBare(i.ws(), token(user), nil)
	if err != nil {
		return nil, err
	}
	m := &meeting{bare: b}
	f, err := m.pushed() // by welcome alone: whatever the first one is
	m.last, m.known = f.Seq, true
	return m, err
}

// meet subscribes, checks the page and the pushes around the answer. afresh: it unsubscribes before.
func (m *meeting) meet(afresh bool) error {
	if afresh {
		if _, err := m.ask("unsubscribe", fields{"group": "g"}); err != nil {
			return err
		}
		m.known = false
	}
	after, limit := m.somewhere(), 1+rand.Int64N(200)
	answer, err := m.ask("subscribe", fields{"group": "g", "after_seq": after, "limit": limit})
	if err != nil {
		return err
	}
	p, err := parsePage(answer.OK)
	if err != nil {
		return err
	}
	upTo, err := p.explained(after)
	what := fmt.Sprintf("subscribe after %d, limit %d, last push %d: max_seq %d, more %v, messages %s, holes %v",
		after, limit, m.last, p.MaxSeq, p.More, seqsOf(p.Messages), p.Holes)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case int64(len(p.Messages)) > limit || p.More && int64(len(p.Messages)) < limit:
		return fmt.Errorf("%s: got %d messages", what, len(p.Messages))
	case !p.More && upTo != p.MaxSeq:
		return fmt.Errorf("%s: the page ends at %d", what, upTo)
	case m.known && p.MaxSeq < m.last:
		return fmt.Errorf("%s: max_seq is behind a push", what)
	}
	m.last, m.known = p.MaxSeq, true // with more false the page ends there; with more true it starts there
	for range 3 {
		f, err := m.pushed()
		if err != nil {
			return err
		}
		if f.Seq != m.last+1 || f.PrevSeq != 0 {
			return fmt.Errorf("%s: push of %d (prev_seq %d), want %d", what, f.Seq, f.PrevSeq, m.last+1)
		}
		m.last = f.Seq
	}
	return nil
}

// somewhere is a seq: near the end, where it is hardest, or anywhere.
func (m *meeting) somewhere() int64 {
	if rand.IntN(2) == 0 {
		return max(0, m.last-rand.Int64N(20))
	}
	return rand.Int64N(m.last + 1)
}

// ask sends a request and reads up to its answer. Pushes before it belong to the subscription so far.
func (m *meeting) ask(op string, f fields) (frame, error) {
	m.lastID++
	f["id"], f["op"] = m.lastID, op
	if err := m.write(f); err != nil {
		return frame{}, err
	}
	for {
		f, err := m.nextWithin(replyTimeout)
		switch {
		case err != nil:
			return f, fmt.Errorf("no answer to %s: %w", op, err)
		case f.ID != nil && f.Error != nil:
			return f, fmt.Errorf("%s: %w", op, f.Error)
		case f.ID != nil:
			return f, nil
		case f.Event == "message" && !m.known:
			return f, fmt.Errorf("push of %d before the answer to %s, and it is not subscribed", f.Seq, op)
		case f.Event == "message" && f.Seq != m.last+1:
			return f, fmt.Errorf("push of %d before the answer to %s, want %d", f.Seq, op, m.last+1)
		case f.Event == "message":
			m.last = f.Seq
		}
	}
}

// pushed waits for the next message.
func (m *meeting) pushed() (frame, error) {
	for {
		f, err := m.nextWithin(replyTimeout)
		if err != nil || f.Event == "message" {
			return f, err
		}
	}
}
