package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const replyTimeout = 20 * time.Second

// frame is one object that the server wrote: a reply or an event.
type frame struct {
	ID    *int64          `json:"id"`
	OK    json.RawMessage `json:"ok"`
	Error *failure        `json:"error"`

	Event string `json:"event"`
	message
	PrevSeq          int64  `json:"prev_seq"`
	Subscribed       int    `json:"subscribed"`
	Code             int    `json:"code"`
	Reason           string `json:"reason"`
	ReconnectAfterMS int64  `json:"reconnect_after_ms"`
	Groups           []struct {
		Group    string `json:"group"`
		AfterSeq *int64 `json:"after_seq"`
	} `json:"groups"`

	Conn      string          `json:"conn"`     // welcome
	Instance  string          `json:"instance"` // welcome
	User      string          `json:"user"`     // welcome, group, read, presence
	Change    string          `json:"change"`   // group
	By        string          `json:"by"`
	Role      string          `json:"role"`
	Online    *bool           `json:"online"` // presence
	Kind      string          `json:"kind"`   // signal
	Data      json.RawMessage `json:"data"`
	ExpiresMS int64           `json:"expires_ms"` // token_expiring

	raw []byte
}

// message is a stored message as clients see it.
type message struct {
	Group    string          `json:"group"`
	Seq      int64           `json:"seq"`
	TimeMS   int64           `json:"time_ms"`
	From     string          `json:"from"`
	Body     json.RawMessage `json:"body"`
	ClientID string          `json:"client_id"`
	Mentions []string        `json:"mentions"`
	ReplyTo  int64           `json:"reply_to"`
	Operator string          `json:"operator"`
}

// hole is a range of seqs without messages.
type hole struct {
	From   int64  `json:"from"`
	To     int64  `json:"to"`
	Reason string `json:"reason"`
}

// page is the answer to pull and subscribe, and a result of sync.
type page struct {
	Group        string    `json:"group"`
	Role         *string   `json:"role"`
	MaxSeq       int64     `json:"max_seq"`
	MinSeq       int64     `json:"min_seq"`
	ReadSeq      int64     `json:"read_seq"`
	Unread       int64     `json:"unread"`
	PersistedSeq int64     `json:"persisted_seq"`
	Messages     []message `json:"messages"`
	Holes        []hole    `json:"holes"`
	More         bool      `json:"more"`
	Error        *failure  `json:"error"`
}

// sent is the answer to a send.
type sent struct {
	Group        string `json:"group"`
	Seq          int64  `json:"seq"`
	TimeMS       int64  `json:"time_ms"`
	Duplicate    bool   `json:"duplicate"`
	Durable      bool   `json:"durable"`
	PersistedSeq int64  `json:"persisted_seq"`
}

// failure is an error reply.
type failure struct {
	Code         string `json:"code"`
	Message      string `json:"message"`
	Retryable    bool   `json:"retryable"`
	RetryAfterMS int64  `json:"retry_after_ms"`
}

func (f *failure) Error() string { return f.Code + ": " + f.Message }

func codeOf(err error) string {
	var f *failure
	if errors.As(err, &f) {
		return f.Code
	}
	return ""
}

var errNoReply = errors.New("no reply in time")

// client is a WebSocket connection of one user. Methods that take a *testing.T's place end the test; the others may
// be called from any goroutine.
type client struct {
	t    testing.TB
	user string
	ws   *websocket.Conn
	tap  func(frame) // gets every frame, in order, from the reading goroutine; may be nil
	done chan struct{}

	writing sync.Mutex // one writer at a time

	mu      sync.Mutex // guards what follows
	changed chan struct{}
	lastID  int64
	deaf    bool // messages that are pushed are not kept
	waiting map[int64]chan frame
	pushes  map[string][]frame // messages by group
	events  []frame            // other events
	strays  []failure          // errors that answer no request of ask
	err     error              // why the connection ended
}

// dial connects a user and waits for welcome. The connection ends with the test.
func (s *stack) dial(i *instance, user string, tap func(frame)) (*client, error) {
	return dial(s.t, i.ws(), token(user), user, tap)
}

func dial(t testing.TB, url, token, user string, tap func(frame)) (*client, error) {
	dialer := websocket.Dialer{HandshakeTimeout: replyTimeout, Subprotocols: []string{"hearth.v1"}}
	ws, response, err := dialer.Dial(url, http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%w: %s", err, response.Status)
		}
		return nil, err
	}
	c := &client{
		t: t, user: user, ws: ws, tap: tap, done: make(chan struct{}), changed: make(chan struct{}),
		waiting: make(map[int64]chan frame), pushes: make(map[string][]frame),
	}
	go c.read()
	t.Cleanup(c.close)
	if !c.wait(replyTimeout, func() bool { return len(c.events) > 0 }) {
		c.close()
		return nil, fmt.Errorf("no welcome: %w", c.why())
	}
	if first := c.seen()[0]; first.Event != "welcome" {
		c.close()
		return nil, fmt.Errorf("first event: got %s, want welcome", first.raw)
	}
	return c, nil
}

// connect is dial for the test's own goroutine.
func (s *stack) connect(n int, user string) *client {
	s.t.Helper()
	c, err := s.dial(s.instances[n], user, nil)
	if err != nil {
		s.t.Fatalf("connect %s: %v", user, err)
	}
	return c
}

func (c *client) close() {
	_ = c.ws.Close() // twice is fine
	<-c.done
}

func (c *client) read() {
	defer close(c.done)
	for {
		kind, data, err := c.ws.ReadMessage()
		if err == nil && kind != websocket.TextMessage {
			err = fmt.Errorf("a frame of kind %d", kind)
		}
		if err != nil {
			c.end(err)
			return
		}
		for object := range bytes.SplitSeq(data, []byte{'\n'}) {
			f := frame{raw: object}
			if err := json.Unmarshal(object, &f); err != nil {
				c.end(fmt.Errorf("the server wrote %q: %w", object, err))
				return
			}
			c.take(f)
		}
	}
}

func (c *client) take(f frame) {
	if c.tap != nil {
		c.tap(f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case f.Event == "message" && c.deaf:
	case f.Event == "message":
		c.pushes[f.Group] = append(c.pushes[f.Group], f)
	case f.Event != "":
		c.events = append(c.events, f)
	case f.ID != nil && c.waiting[*f.ID] != nil:
		c.waiting[*f.ID] <- f
		delete(c.waiting, *f.ID)
	case f.Error != nil:
		c.strays = append(c.strays, *f.Error)
	}
	c.wake()
}

// wake tells those who wait that something has changed; c.mu is held.
func (c *client) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *client) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	for id, reply := range c.waiting {
		delete(c.waiting, id)
		close(reply)
	}
	c.wake()
}

// wait waits until met, which is called with c.mu held, or the connection has ended.
func (c *client) wait(within time.Duration, met func() bool) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		c.mu.Lock()
		ok, ended, changed := met(), c.err != nil, c.changed
		c.mu.Unlock()
		if ok || ended {
			return ok
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		}
	}
}

// why is the reason of the connection's end; errNoReply while it lives.
func (c *client) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return errNoReply
	}
	return c.err
}

// seen are the events that are no messages.
func (c *client) seen() []frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]frame(nil), c.events...)
}

// got are the messages pushed in a group.
func (c *client) got(group string) []frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]frame(nil), c.pushes[group]...)
}

// awaitPushes waits for n messages in a group and returns them all.
func (c *client) awaitPushes(group string, n int) []frame {
	c.t.Helper()
	if !c.wait(patience, func() bool { return len(c.pushes[group]) >= n }) {
		c.t.Fatalf("%s: messages pushed in %s: got %d, want %d (%v)", c.user, group, len(c.got(group)), n, c.why())
	}
	return c.got(group)
}

// awaitEvent waits for an event that is no message.
func (c *client) awaitEvent(kind string) frame {
	c.t.Helper()
	var found frame
	ok := c.wait(patience, func() bool {
		for _, f := range c.events {
			if f.Event == kind {
				found = f
				return true
			}
		}
		return false
	})
	if !ok {
		c.t.Fatalf("%s: no event %s (%v)", c.user, kind, c.why())
	}
	return found
}

// awaitMatch waits for an event that is no message and that match, called with c.mu held, takes.
func (c *client) awaitMatch(what string, match func(frame) bool) frame {
	c.t.Helper()
	var found frame
	ok := c.wait(patience, func() bool {
		n := slices.IndexFunc(c.events, match)
		if n >= 0 {
			found = c.events[n]
		}
		return n >= 0
	})
	if !ok {
		c.t.Fatalf("%s: no event %s (%v); got %s", c.user, what, c.why(), rawOf(c.seen()))
	}
	return found
}

func rawOf(frames []frame) string {
	var raw [][]byte
	for _, f := range frames {
		raw = append(raw, f.raw)
	}
	return string(bytes.Join(raw, []byte(" ")))
}

// awaitClose waits for the end and fails unless it has this code.
func (c *client) awaitClose(code int) {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Fatalf("%s: not closed, want %d", c.user, code)
	}
	var closed *websocket.CloseError
	if err := c.why(); !errors.As(err, &closed) || closed.Code != code {
		c.t.Fatalf("%s: end of the connection: got %v, want close %d", c.user, err, code)
	}
}

// write sends a frame as it is.
func (c *client) write(kind int, data []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.ws.WriteMessage(kind, data)
}

// raw sends a text frame as it is.
func (c *client) raw(data string) {
	c.t.Helper()
	if err := c.write(websocket.TextMessage, []byte(data)); err != nil {
		c.t.Fatalf("%s: write: %v", c.user, err)
	}
}

// fields are those of a request beside id and op.
type fields = map[string]any

// ask sends a request; the reply comes through the channel, which is closed when the connection ends.
func (c *client) ask(op string, f fields) (<-chan frame, error) {
	reply := make(chan frame, 1)
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return nil, c.err
	}
	c.lastID++
	id := c.lastID
	c.waiting[id] = reply
	c.mu.Unlock()
	request := fields{"id": id, "op": op}
	for name, value := range f {
		request[name] = value
	}
	data, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	return reply, c.write(websocket.TextMessage, data)
}

// result waits for a reply and reads it into out.
func (c *client) result(reply <-chan frame, out any) error {
	timer := time.NewTimer(replyTimeout)
	defer timer.Stop()
	select {
	case f, ok := <-reply:
		switch {
		case !ok:
			return c.why()
		case f.Error != nil:
			return f.Error
		case out == nil:
			return nil
		}
		return json.Unmarshal(f.OK, out)
	case <-timer.C:
		return errNoReply
	}
}

// try does a request and reads its ok into out.
func (c *client) try(op string, f fields, out any) error {
	reply, err := c.ask(op, f)
	if err != nil {
		return err
	}
	return c.result(reply, out)
}

// do is try for what has to work, in the test's own goroutine.
func (c *client) do(op string, f fields, out any) {
	c.t.Helper()
	if err := c.try(op, f, out); err != nil {
		c.t.Fatalf("%s: %s: %v", c.user, op, err)
	}
}

// send sends a text.
func (c *client) send(group, text string) sent {
	c.t.Helper()
	var s sent
	c.do("send", fields{"group": group, "body": textBody(text)}, &s)
	return s
}

// pull asks for a page.
func (c *client) pull(group string, f fields) page {
	c.t.Helper()
	request := fields{"group": group}
	for name, value := range f {
		request[name] = value
	}
	var p page
	c.do("pull", request, &p)
	return p
}

// stream sends n messages, at most window of them without an answer, and returns the answers in the order of writing.
func (c *client) stream(n, window int, draft func(i int) fields) ([]sent, error) {
	answers := make([]sent, 0, n)
	var open []<-chan frame
	for i := range n {
		reply, err := c.ask("send", draft(i))
		if err != nil {
			return answers, err
		}
		open = append(open, reply)
		for len(open) == window || len(open) > 0 && i == n-1 {
			var s sent
			if err := c.result(open[0], &s); err != nil {
				return answers, fmt.Errorf("send %d of %s: %w", len(answers), c.user, err)
			}
			answers, open = append(answers, s), open[1:]
		}
	}
	return answers, nil
}

// element is a text element; its fields are written in this order, and hearth keeps it.
type element struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func textBody(text string) []element { return []element{{"text", text}} }

// compactText is what textBody is in MySQL and in pushes.
func compactText(text string) string {
	encoded, _ := json.Marshal(textBody(text)) // texts always marshal
	return string(encoded)
}

// bare is a connection that its owner reads himself, object by object: for tests that mind the order of everything, or
// need thousands. One goroutine reads it, any may write.
type bare struct {
	ws      *websocket.Conn
	objects [][]byte   // of the frame that is being read
	writing sync.Mutex // one writer at a time
}

// bareBuffers are shared by all: a connection needs one while it writes only.
var bareBuffers sync.Pool

// dialBare connects and reads the welcome. socket is nil for an ordinary one.
func dialBare(url, token string, socket *net.Dialer) (*bare, frame, error) {
	dialer := websocket.Dialer{
		HandshakeTimeout: replyTimeout, Subprotocols: []string{"hearth.v1"},
		ReadBufferSize: 1024, WriteBufferSize: 1024, WriteBufferPool: &bareBuffers,
	}
	if socket != nil {
		dialer.NetDialContext = socket.DialContext
	}
	ws, response, err := dialer.Dial(url, http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		if response != nil {
			err = fmt.Errorf("%w: %s", err, response.Status)
		}
		return nil, frame{}, err
	}
	b := &bare{ws: ws}
	first, err := b.nextWithin(replyTimeout)
	if err == nil && first.Event != "welcome" {
		err = fmt.Errorf("first event: got %s, want welcome", first.raw)
	}
	if err != nil {
		_ = ws.Close()
		return nil, first, err
	}
	return b, first, b.ws.SetReadDeadline(time.Time{})
}

// next is the next object, as soon as there is one.
func (b *bare) next() (frame, error) {
	for len(b.objects) == 0 {
		_, data, err := b.ws.ReadMessage()
		if err != nil {
			return frame{}, err
		}
		b.objects = bytes.Split(data, []byte{'\n'})
	}
	f := frame{raw: b.objects[0]}
	b.objects = b.objects[1:]
	if err := json.Unmarshal(f.raw, &f); err != nil {
		return f, fmt.Errorf("the server wrote %q: %w", f.raw, err)
	}
	return f, nil
}

// nextWithin is next with a deadline; a connection that has missed one is of no more use.
func (b *bare) nextWithin(d time.Duration) (frame, error) {
	if err := b.ws.SetReadDeadline(time.Now().Add(d)); err != nil {
		return frame{}, err
	}
	return b.next()
}

// write sends requests in one frame.
func (b *bare) write(requests ...fields) error {
	objects := make([][]byte, len(requests))
	for i, r := range requests {
		var err error
		if objects[i], err = json.Marshal(r); err != nil {
			return err
		}
	}
	b.writing.Lock()
	defer b.writing.Unlock()
	return b.ws.WriteMessage(websocket.TextMessage, bytes.Join(objects, []byte{'\n'}))
}

// leave ends the connection: with a close frame, as an app does, or by cutting it, as a dying phone does.
func (b *bare) leave(cleanly bool) {
	if cleanly {
		bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		_ = b.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Second)) // it may be broken already
		return                                                                          // the reader ends with the answer
	}
	if tcp, ok := b.ws.NetConn().(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset, not a farewell
	}
	_ = b.ws.Close()
}
