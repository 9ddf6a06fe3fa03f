package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"hearth/domain"
	"hearth/transport/auth"
	"hearth/transport/wire"
)

const (
	opTimeout      = 5 * time.Second  // of one request
	messageTimeout = 10 * time.Second // from a frame's first byte to its last
	closeTimeout   = time.Second      // for the client's half of a close
	leaveGrace     = time.Second      // from goodbye on frames are taken that were on their way
	leaveTimeout   = 3 * time.Second  // then, for the answers
	writeBatch     = 16 << 10         // bytes of queued objects that go in one frame
	maxBadFrames   = 10               // a minute; one more closes the connection
	tooManyFor     = 10 * time.Second // over the frame rate, then the connection is closed
	overGrace      = time.Second      // without a frame too many ends that
	expiryWarning  = time.Minute
	maxTasks       = wire.MaxObjects // that wait to be worked off; then no more frames are read
)

// ConnConfig bounds connections.
type ConnConfig struct {
	Instance     string // name shown in welcome
	Life         string // id of this life of the instance, under which its sessions are known
	FrameBytes   int64  // of a client's frame
	FrameRate    float64
	Connections  int     // of this instance at most; 0: no limit
	Handshakes   float64 // connections let in a second, as many at once; 0: no limit
	PingInterval time.Duration
	PongTimeout  time.Duration
	WriteTimeout time.Duration
	QueueFrames  int // pushes that may wait for a slow reader
	QueueBytes   int
	AutoCreate   bool // subscribing to an unknown room creates it
	Limits       wire.Limits
}

// Conn is one WebSocket. An idle one costs its socket and one goroutine, which reads; a second one writes while
// there is something to write, a third works while ops are under way.
type Conn struct {
	id        string
	claims    auth.Claims
	admission domain.Admission
	opened    time.Time
	server    *Server
	ws        *websocket.Conn
	done      chan struct{} // closed when nothing of the connection is left

	heard     atomic.Int64  // Unix ns of the last frame or pong
	limiter   *rate.Limiter // of frames; nil: no limit
	overSince time.Time     // since when the rate is exceeded, and when it last was; read goroutine only
	overLast  time.Time
	badFrames []time.Time // the last ones; read goroutine only

	work sync.WaitGroup // the writing and the working goroutine

	mu          sync.Mutex     // guards what follows
	timers      [3]*time.Timer // pings, the token's end, the end of a close
	room        *sync.Cond     // signalled when the queue has been written, and when an op is taken up
	open        bool           // welcome is queued: writing may start
	writing     bool
	queue       []queued
	queuedBytes int
	pushes      int // of the queue, those nobody asked for
	pushedBytes int
	overflowed  time.Time // when the reader was last too slow for them
	expires     time.Time // of the token
	leaving     int       // close code of the end that waits for what is under way; goodbye is said
	deaf        bool      // leaving, and no frames are taken any more
	closing     int       // close code, once the connection is to end
	reason      string
	gone        bool // the socket is dead: nothing is queued any more
	tasks       []task
	working     bool
	cancel      context.CancelFunc // of the task at hand; nil between tasks
	sending     int                // sends that are not answered yet
	feeds       map[string]*feed
	declined    map[string]string // groups that the client has unsubscribed, and its user's last note then
	told        map[string]int64  // version of each group whose event of the user's coming or going was the last
}

func newConn(s *Server, ws *websocket.Conn, claims auth.Claims, session domain.Session, a domain.Admission) *Conn {
	c := &Conn{
		id: session.Conn, claims: claims, admission: a, opened: time.Now(), server: s, ws: ws,
		done: make(chan struct{}), feeds: make(map[string]*feed),
	}
	c.expires = c.firstExpiry()
	c.room = sync.NewCond(&c.mu)
	if r := s.cfg.FrameRate; r > 0 {
		c.limiter = rate.NewLimiter(rate.Limit(r), int(max(1, r)))
	}
	c.heard.Store(c.opened.UnixNano())
	return c
}

func (c *Conn) actor() domain.Actor { return domain.Actor{User: c.claims.User} }

func (c *Conn) session() domain.Session {
	return domain.Session{
		Conn: c.id, User: c.claims.User, Device: c.claims.Device, Instance: c.server.cfg.Life, OpenedMS: c.admission.OpenedMS,
	}
}

// run serves the connection until it ends.
func (c *Conn) run() {
	defer close(c.done)
	c.ws.SetReadLimit(c.server.cfg.FrameBytes)
	c.ws.SetPongHandler(func(string) error { c.hear(); return nil })
	answer := c.ws.PingHandler()
	c.ws.SetPingHandler(func(data string) error { c.hear(); return answer(data) })
	c.startTimers()
	c.start(task{own: c.welcome})
	_ = c.read() // however it ended: what matters is that it has
	c.server.metrics.closed(c.closeCode())
	c.abort()
	c.stopTimers()
	c.cancelTask()
	c.work.Wait()
	c.leaveAll()
}

func (c *Conn) hear() { c.heard.Store(time.Now().UnixNano()) }

// read takes frames until the socket ends or is closed.
func (c *Conn) read() error {
	for {
		kind, r, err := c.ws.NextReader()
		if err != nil {
			return err
		}
		c.hear()
		if err := c.readFrame(kind, r); err != nil {
			return err
		}
		c.awaitRoom(maxTasks)
	}
}

var frameBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (c *Conn) readFrame(kind int, r io.Reader) error {
	buf, _ := frameBuffers.Get().(*bytes.Buffer)
	defer frameBuffers.Put(buf)
	buf.Reset()
	_ = c.ws.SetReadDeadline(time.Now().Add(messageTimeout)) // for the whole message, however many fragments
	if _, err := buf.ReadFrom(r); err != nil {
		return err
	}
	_ = c.ws.SetReadDeadline(time.Time{})
	frame := buf.Bytes()
	c.server.metrics.received(len(frame))
	if kind == websocket.TextMessage && !utf8.Valid(frame) {
		c.closeNow(websocket.CloseInvalidFramePayloadData, "not valid UTF-8")
		return errors.New("not valid UTF-8")
	}
	if c.ending() {
		return nil // what still comes is not taken
	}
	c.frame(kind, frame)
	return nil
}

// frame handles the objects of one frame.
func (c *Conn) frame(kind int, frame []byte) {
	limited := c.overRate()
	if limited > 0 {
		c.server.metrics.overRate.Inc()
	}
	objects := wire.Objects(frame)
	bad := kind != websocket.TextMessage || len(objects) == 0
	if bad {
		c.reply(wire.AppendError(nil, wire.NoID, domain.Errorf(domain.CodeBadRequest, "a frame is text: JSON objects, one a line")))
		objects = nil
	}
	for i, object := range objects {
		request, ok, err := wire.ParseRequest(object)
		switch {
		case err == nil && limited > 0:
			err = &domain.Error{Code: domain.CodeRateLimited, Message: "too many frames", RetryAfter: limited}
		case i == wire.MaxObjects:
			ok, err = false, domain.Errorf(domain.CodeBadRequest, "a frame holds at most %d objects, the rest was not read", wire.MaxObjects)
		}
		bad = bad || !ok
		if err != nil {
			c.reply(wire.AppendError(nil, request.ID, err))
		} else {
			c.request(request)
		}
		if i == wire.MaxObjects {
			break
		}
	}
	if bad {
		c.countBadFrame(time.Now())
	}
}

// overRate is how long to wait when the connection sends frames too fast, 0 when it does not. A connection that
// goes on like that is closed.
func (c *Conn) overRate() time.Duration {
	if c.limiter == nil {
		return 0
	}
	now := time.Now()
	if c.limiter.AllowN(now, 1) {
		return 0
	}
	if now.Sub(c.overLast) > overGrace {
		c.overSince = now
	}
	c.overLast = now
	if now.Sub(c.overSince) > tooManyFor {
		c.close(domain.CloseTooMany, "too many requests")
	}
	return time.Duration(float64(time.Second) / float64(c.limiter.Limit()))
}

func (c *Conn) countBadFrame(now time.Time) {
	if len(c.badFrames) == maxBadFrames {
		if now.Sub(c.badFrames[0]) < time.Minute {
			c.close(domain.CloseAbuse, "too many frames that are not the protocol's")
			return
		}
		c.badFrames = c.badFrames[1:]
	}
	c.badFrames = append(c.badFrames, now)
}

// Indices of Conn.timers.
const (
	pingTimer = iota
	expiryTimer
	closeTimer
)
