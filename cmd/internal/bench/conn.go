package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/gorilla/websocket"
)

// Numbers of sends go over the wire with firstNumber added, so that they all have ten digits and a send is the
// template with two places overwritten.
const (
	firstNumber  = 1_000_000_000
	numberDigits = 10
	maxLatencyUS = 60_000_000
)

// The server writes id or event first (PROTOCOL.md §3), which makes a prefix enough to tell lines apart.
var (
	newline     = []byte("\n")
	messageHead = []byte(`{"event":"message",`)
	replyHead   = []byte(`{"id":`)
	okHead      = []byte(`,"ok":{`)
	seqField    = []byte(`"seq":`)
	prevField   = []byte(`"prev_seq":`)
)

// conn is one user on one connection in one group. After dial all of it belongs to the goroutine of loop, but for
// what is atomic; others may read the rest when loop has ended.
type conn struct {
	load  *load
	user  string
	group *group
	ws    *websocket.Conn

	template   []byte // a whole send
	idAt       int    // where its number stands as id,
	clientIDAt int    // and within client_id
	groupField []byte // as it stands in pushes and acks
	ownField   []byte // what only pushes of this connection's own messages have

	slots []slot // sends in flight
	idle  []int  // slots to be refilled after the frame at hand
	in    []byte
	out   []byte

	seqs      []uint64 // by number: the seq of an own message, from ack or push, whichever came first
	first     uint64   // seq of the first push
	last      uint64   // and of the last
	holes     []hole
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

// hole is a range of seqs without messages, both ends inclusive.
type hole struct{ from, to uint64 }

func newConn(l *load, index int, g *group) *conn {
	c := &conn{
		load: l, user: fmt.Sprintf("%su%d", l.cfg.Prefix, index), group: g,
		groupField: fmt.Appendf(nil, `"group":%q`, g.id),
		ownField:   fmt.Appendf(nil, `"client_id":"c%d-`, index),
		slots:      make([]slot, l.cfg.InFlight),
		in:         make([]byte, 0, 1024),
		latency:    hdrhistogram.New(1, maxLatencyUS, 2), // 1 % exact, 20 KiB
	}
	head := `{"id":`
	middle := fmt.Sprintf(`,"op":"send",%s,%s`, c.groupField, c.ownField)
	tail := fmt.Sprintf(`","body":[{"type":"text","text":"%s"}]}`, strings.Repeat("x", l.cfg.Bytes))
	blank := strings.Repeat("0", numberDigits)
	c.template = []byte(head + blank + middle + blank + tail)
	c.idAt = len(head)
	c.clientIDAt = c.idAt + numberDigits + len(middle)
	for i := range c.slots {
		c.slots[i].number = -1
		c.idle = append(c.idle, i)
	}
	return c
}

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
		for len(frame) > 0 {
			line, rest, _ := bytes.Cut(frame, newline)
			frame = rest
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
	start := len(c.out)
	c.out = append(c.out, c.template...)
	putNumber(c.out[start+c.idAt:], number)
	putNumber(c.out[start+c.clientIDAt:], number)
}

func putNumber(at []byte, number int) {
	v := firstNumber + number
	for i := numberDigits - 1; i >= 0; i-- {
		at[i] = byte('0' + v%10)
		v /= 10
	}
}

func (c *conn) write(frame []byte) error {
	if err := c.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
		return c.lost(err)
	}
	return nil
}

// readFrame returns the next frame; it is good until the next call. Unlike gorilla's ReadMessage it keeps its buffer.
func (c *conn) readFrame() ([]byte, error) {
	_, r, err := c.ws.NextReader()
	if err != nil {
		return nil, err
	}
	c.in = c.in[:0]
	for {
		n, err := r.Read(c.in[len(c.in):cap(c.in)])
		c.in = c.in[:len(c.in)+n]
		if errors.Is(err, io.EOF) {
			return c.in, nil
		}
		if err != nil {
			return nil, err
		}
		if len(c.in) == cap(c.in) {
			c.in = append(c.in, 0)[:len(c.in)]
		}
	}
}

func (c *conn) lost(err error) error {
	if c.load.closing.Load() {
		return nil
	}
	return errorf(Down, "user %s: connection lost: %w", c.user, err)
}

func (c *conn) close() {
	if c.ws == nil {
		return
	}
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = c.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Millisecond))
	_ = c.ws.Close()
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
	c.follow(line, seq)
	if own, ok := numberAfter(line, c.ownField); ok {
		c.ownPushes++
		c.bind(int(own)-firstNumber, seq, "push")
	}
	return true
}

// follow checks that seq is the next one.
func (c *conn) follow(line []byte, seq uint64) {
	prev, jumps := numberAfter(line, prevField)
	switch {
	case c.first == 0:
		c.first = seq
	case seq <= c.last:
		c.violated("push of seq %d after seq %d: repeated or out of order", seq, c.last)
		return // last stays, or the next right one would count as a gap
	case jumps && prev == c.last:
		c.holes = append(c.holes, hole{from: c.last + 1, to: seq - 1})
	case jumps:
		c.violated("push of seq %d says prev_seq %d after seq %d", seq, prev, c.last)
	case seq != c.last+1:
		c.violated("push of seq %d after seq %d: a gap", seq, c.last)
	}
	c.last = seq
	c.seen.Store(seq)
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
	id, ok := numberAfter(line, replyHead)
	if !ok || !bytes.HasPrefix(line[len(replyHead)+digits(id):], okHead) {
		return false
	}
	seq, ok := numberAfter(line, seqField)
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
		_ = c.latency.RecordValue(min(max(now.Sub(c.slots[i].sentAt).Microseconds(), 1), maxLatencyUS))
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

// receiveOdd takes errors, other events, and messages and acks with white space in them. This command measures a
// healthy server: whatever says that it is not, ends it.
func (c *conn) receiveOdd(line []byte, now time.Time) error {
	var odd struct {
		ID    *int64
		OK    json.RawMessage
		Error *struct{ Code, Message string }
		Event string
	}
	if err := json.Unmarshal(line, &odd); err != nil {
		return errorf(Wrong, "user %s: the server wrote %.120q: %w", c.user, line, err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, line); err == nil && compact.Len() < len(line) {
		return c.receive(compact.Bytes(), now)
	}
	switch {
	case odd.Error != nil:
		return refusal("send", odd.Error.Code, odd.Error.Message)
	case odd.Event == "resync":
		return errorf(Down, "user %s: the server unsubscribed the connection: %.200s", c.user, line)
	case odd.Event == "message" || odd.ID != nil || odd.Event == "":
		return errorf(Wrong, "user %s: the server wrote %.120q", c.user, line)
	}
	return nil // other events are none of our business
}

// violated notes a broken promise; it returns true: the line is dealt with.
func (c *conn) violated(format string, args ...any) bool {
	c.load.violations.add("user %s, group %s: %s", c.user, c.group.id, fmt.Sprintf(format, args...))
	return true
}

// numberAfter finds field in line and reads the digits right after it.
func numberAfter(line, field []byte) (n uint64, ok bool) {
	at := bytes.Index(line, field)
	if at < 0 {
		return 0, false
	}
	for _, b := range line[at+len(field):] {
		if b < '0' || b > '9' {
			break
		}
		n, ok = n*10+uint64(b-'0'), true
	}
	return n, ok
}

func digits(n uint64) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}
