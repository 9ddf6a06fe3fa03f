package bench

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// subscriber is one member of the large group. After dial it belongs to the goroutine of loop, but for what is atomic;
// others may read the rest when loop has ended.
type subscriber struct {
	*socket
	order
	fanout *fanout

	next    int                     // number of the message that has to come next
	seen    atomic.Int64            // next, for others
	latency *hdrhistogram.Histogram // µs, of measured pushes
}

func newSubscriber(f *fanout, s *socket) *subscriber {
	return &subscriber{socket: s, fanout: f, latency: newLatency()}
}

func (s *subscriber) loop() error {
	for {
		frame, err := s.readFrame()
		if err != nil {
			return s.lost(err)
		}
		now := time.Now()
		for line := range lines(frame) {
			if err := s.receive(line, now); err != nil {
				return err
			}
		}
	}
}

// receive takes one line as the server should write it; what looks different goes to odd.
func (s *subscriber) receive(line []byte, now time.Time) error {
	switch {
	case bytes.HasPrefix(line, messageHead):
		if s.pushed(line, now) {
			return nil
		}
	case bytes.HasPrefix(line, replyHead):
		if s.fanout.publisher.via == s && s.fanout.publisher.acked(line) {
			return nil
		}
	}
	compact, err := s.odd(line, "send")
	if err != nil || compact == nil {
		return err
	}
	return s.receive(compact, now)
}

// push is a message as it is pushed. Everybody gets the same bytes, so only the first one has to read them.
type push struct {
	line      []byte
	number    int
	seq, prev uint64
	jumps     bool // there is a prev_seq
}

// read returns nil for a line that is not understood.
func (s *subscriber) read(line []byte) *push {
	if p := s.fanout.flight(s.next).push.Load(); p != nil && bytes.Equal(p.line, line) {
		return p
	}
	seq, ok := numberAfter(line, seqField)
	if !ok {
		return nil
	}
	p := &push{line: bytes.Clone(line), number: -1, seq: seq}
	p.prev, p.jumps = numberAfter(line, prevField)
	if own, ok := numberAfter(line, s.fanout.template.ownField); ok && bytes.Contains(line, s.fanout.template.groupField) {
		p.number = int(own) - firstNumber
	}
	return p
}

// pushed checks a push; false when the line is not understood.
func (s *subscriber) pushed(line []byte, now time.Time) bool {
	f, p := s.fanout, s.read(line)
	if p == nil {
		return false
	}
	if p.number < 0 || int64(p.number) >= f.sent.Load() {
		return s.violated("a push of a message that was never sent: %.160q", line)
	}
	if broken := s.follow(p.seq, p.prev, p.jumps); broken != "" {
		s.violated("%s", broken)
	}
	if p.number < s.next {
		return s.violated("message %d pushed with seq %d behind message %d", p.number, p.seq, s.next-1)
	}
	for ; s.next < p.number; s.next++ { // the load goes on without them
		s.violated("message %d not pushed", s.next)
		f.landed(s.next)
	}
	f.flight(p.number).push.CompareAndSwap(nil, p)
	s.arrived(p.number, p.seq, now)
	return true
}

func (s *subscriber) arrived(number int, seq uint64, now time.Time) {
	f := s.fanout
	if former, same := f.told(number, seq); !same {
		s.violated("message %d has seq %d here, %d elsewhere", number, seq, former)
	}
	if f.phase.Load() == measuring {
		recordLatency(s.latency, now.Sub(f.publisher.epoch)-time.Duration(f.flight(number).due.Load()))
	}
	s.next = number + 1
	s.seen.Store(int64(s.next))
	f.landed(number)
}

// violated notes a broken promise; it returns true: the line is dealt with.
func (s *subscriber) violated(format string, args ...any) bool {
	s.fanout.violations.add("user %s: %s", s.user, fmt.Sprintf(format, args...))
	return true
}
