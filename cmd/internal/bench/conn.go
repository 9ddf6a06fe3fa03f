package bench

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// conn is one user on one connection in one group. After dial all of it belongs to the goroutine of loop, but for
// what is atomic; others may read the rest when loop has ended.
type conn struct {
	*socket
	template
	order
	load  *load
	group *group

	slots []slot // sends in flight
	idle  []int  // slots to be refilled after the frame at hand
	out   []byte

	seqs      []uint64 // by number: the seq of an own message, from ack or push, whichever came first
	ownPushes int64

	latency        *hdrhistogram.Histogram // µs, of measured acks
	measuredPushes int64

	// Written by loop, watched by the conductor.
	outstanding atomic.Int32
	acks        atomic.Int64
	seen        atomic.Uint64 // last
	highestAck  atomic.Uint64
}

type slot struct {
	number int // -1: empty
	sentAt time.Time
}

func newConn(l *load, index int, g *group) *conn {
	c := &conn{
		socket:   l.socket(l.cfg.userID(index), g.id),
		template: newTemplate(g.id, index, l.cfg.Bytes),
		load:     l, group: g,
		slots:   make([]slot, l.cfg.InFlight),
		latency: newLatency(),
	}
	for i := range c.slots {
		c.slots[i].number = -1
		c.idle = append(c.idle, i)
	}
	return c
}

func (c *conn) name() string   { return c.user }
func (c *conn) answers() int64 { return c.acks.Load() }
func (c *conn) waits() bool    { return c.outstanding.Load() > 0 }

// loop is the closed loop: fill the slots, read a frame, refill what it answered. It returns nil once the load closes
// the connection.
func (c *conn) loop() error {
	c.outstanding.Store(int32(len(c.slots))) // before anything is sent, or it would look settled
	now := time.Now()
	for {
		if err := c.refill(now); err != nil {
			return err
		}
		frame, err := c.readFrame()
		if err != nil {
			return c.lost(err)
		}
		now = time.Now()
		for line := range lines(frame) {
			if err := c.receive(line, now); err != nil {
				return err
			}
		}
	}
}

// refill sends one message for every idle slot, or retires the slot when the load has had enough.
func (c *conn) refill(now time.Time) error {
	c.out = c.out[:0]
	inFrame := 0
	for _, i := range c.idle {
		if !c.load.mayClaim() {
			c.slots[i].number = -1
			c.outstanding.Add(-1)
			continue
		}
		c.appendSend(i, now)
		if inFrame++; inFrame == c.load.cfg.Batch {
			if err := c.write(c.out); err != nil {
				return err
			}
			c.out, inFrame = c.out[:0], 0
		}
	}
	c.idle = c.idle[:0]
	if inFrame == 0 {
		return nil
	}
	return c.write(c.out)
}

func (c *conn) appendSend(slotIndex int, now time.Time) {
	if len(c.out) > 0 {
		c.out = append(c.out, '\n')
	}
	number := len(c.seqs)
	c.seqs = append(c.seqs, 0)
	c.slots[slotIndex] = slot{number: number, sentAt: now}
	c.out = c.template.append(c.out, number)
}

// receive takes one line as the server should write it, and hands what looks different to receiveOdd.
func (c *conn) receive(line []byte, now time.Time) error {
	switch {
	case bytes.HasPrefix(line, messageHead):
		if c.pushed(line) {
			return nil
		}
	case bytes.HasPrefix(line, replyHead):
		if c.acked(line, now) {
			return nil
		}
	}
	return c.receiveOdd(line, now)
}

// pushed checks a push; false when the line is not understood.
func (c *conn) pushed(line []byte) bool {
	seq, ok := numberAfter(line, seqField)
	if !ok {
		return false
	}
	if c.load.phase.Load() == measuring {
		c.measuredPushes++
	}
	if !bytes.Contains(line, c.groupField) {
		return c.violated("a push of another group: %.120q", line)
	}
	prev, jumps := numberAfter(line, prevField)
	if broken := c.follow(seq, prev, jumps); broken != "" {
		c.violated("%s", broken)
	}
	c.seen.Store(c.last)
	if own, ok := numberAfter(line, c.ownField); ok {
		c.ownPushes++
		c.bind(int(own)-firstNumber, seq, "push")
	}
	return true
}

// bind notes the seq of an own message, and that ack and push agree on it.
func (c *conn) bind(number int, seq uint64, by string) {
	switch {
	case number < 0 || number >= len(c.seqs):
		c.violated("%s with seq %d of a message that was never sent", by, seq)
	case c.seqs[number] == 0:
		c.seqs[number] = seq
	case c.seqs[number] != seq:
		c.violated("ack and push of one message differ: seq %d, now %d by %s", c.seqs[number], seq, by)
	}
}

// acked takes an ok; false when the line is something else.
func (c *conn) acked(line []byte, now time.Time) bool {
	id, seq, ok := okOf(line)
	if !ok {
		return false
	}
	number := int(id) - firstNumber
	i := c.slotOf(number)
	if i < 0 {
		return c.violated("an answer with seq %d to id %d, which has none in flight", seq, id)
	}
	if !bytes.Contains(line, c.groupField) {
		c.violated("an ack of another group: %.120q", line)
	}
	c.bind(number, seq, "ack")
	if seq > c.highestAck.Load() {
		c.highestAck.Store(seq)
	}
	if c.load.counts() {
		recordLatency(c.latency, now.Sub(c.slots[i].sentAt))
	}
	c.slots[i].number = -1
	c.idle = append(c.idle, i)
	c.acks.Add(1)
	return true
}

func (c *conn) slotOf(number int) int {
	for i := range c.slots {
		if c.slots[i].number == number && number >= 0 {
			return i
		}
	}
	return -1
}

func (c *conn) receiveOdd(line []byte, now time.Time) error {
	compact, err := c.odd(line, "send")
	if err != nil || compact == nil {
		return err
	}
	return c.receive(compact, now)
}

// violated notes a broken promise; it returns true: the line is dealt with.
func (c *conn) violated(format string, args ...any) bool {
	c.load.violations.add("user %s, group %s: %s", c.user, c.group.id, fmt.Sprintf(format, args...))
	return true
}
