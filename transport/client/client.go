package client

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Config is what a client needs to know. The hooks may be nil. All of them but OnState are called by one goroutine, one
// call after the other; they may block, and may use the client, Send included.
type Config struct {
	// URLs are base URLs of instances, such as http://127.0.0.1:8080. They are taken in turn: the next one after every
	// connection that was lost or not made.
	URLs []string
	// Token is asked at every connect, and again when the server says that the token is about to expire. An error is
	// like a failure to connect: the client tries again.
	Token func(ctx context.Context) (string, error)
	// All follows the user's groups and direct conversations, from the first connection on, and those he gets into
	// later. Rooms need Follow.
	All bool

	// OnMessage gets every message of the followed groups: in each group in the order of seq, and none twice.
	OnMessage func(m Message)
	// OnHole is told, in its place among the messages, that seqs have none.
	OnHole func(group string, h Hole)
	// OnRepair gets messages again that the server says it has lost and found (PROTOCOL §1.5): all from the seq on that
	// it names up to where OnMessage was, most of which OnMessage had. Without it they are not asked for.
	OnRepair func(m Message)
	// OnLive is told that a group has been caught up with: after every connect, and after every repair.
	OnLive func(group string)
	// OnGroupError is told why a group is no longer followed; err is an *Error. With group "" the list of the user's
	// groups was refused.
	OnGroupError func(group string, err error)
	// OnEvent gets every event that is no message, as the server wrote it. Those that come while the inbox is full are
	// dropped.
	OnEvent func(name string, raw json.RawMessage)
	// OnState is told of connections made and lost, by the goroutine that called Run. It must not block.
	OnState func(s State)

	// Held is how many messages may wait while a hook is at work; what comes beyond it is asked for again later.
	// Zero: 10,000.
	Held int
	// Dialer is for TLS and proxies of one's own. Nil: the environment's proxy.
	Dialer *websocket.Dialer
}

// State is a change of the connection.
type State struct {
	Connected            bool
	URL                  string
	Conn, User, Instance string // of the welcome, when connected
	// Code is the close code, or the HTTP status of a refused connect; 0 when the server said neither.
	Code   int
	Reason string
	// Delay is how long the client waits before it tries again. When it does not, Run returns an *EndedError.
	Delay time.Duration
	Err   error // for errors.Is and As; nil when connected
}

// Client is one user's connection. Its methods may be called by any goroutine, before and during Run.
type Client struct {
	cfg      Config
	inbox    *inbox
	follower *follower

	mu      sync.Mutex    // guards what follows
	conn    *conn         // nil while there is none
	changed chan struct{} // closed when conn or stopped change
	stopped error
	started bool
}

// New makes a client; it does nothing until Run.
func New(cfg Config) (*Client, error) {
	switch {
	case len(cfg.URLs) == 0:
		return nil, errors.New("client: URLs are required")
	case cfg.Token == nil:
		return nil, errors.New("client: Token is required")
	case cfg.Held < 0:
		return nil, errors.New("client: Held must not be negative")
	}
	if cfg.Held == 0 {
		cfg.Held = defaultHeld
	}
	if cfg.OnState == nil {
		cfg.OnState = func(State) {}
	}
	box := newInbox(cfg.Held)
	return &Client{cfg: cfg, inbox: box, follower: newFollower(cfg, box), changed: make(chan struct{})}, nil
}

// Run connects, and connects again, until ctx ends, and returns nil then; or until the server says that the client must
// not come back, and returns an *EndedError. It waits for the hook that is at work. A client runs once.
func (c *Client) Run(ctx context.Context) error {
	c.mu.Lock()
	again := c.started
	c.started = true
	c.mu.Unlock()
	if again {
		return errors.New("client: a client runs once")
	}
	var following sync.WaitGroup
	following.Go(func() { c.follower.run(ctx) })
	err := c.stayConnected(ctx)
	c.stop(err) // before the wait: a hook may be waiting for a connection
	c.inbox.close()
	following.Wait()
	return err
}

func (c *Client) stayConnected(ctx context.Context) error {
	var wait backoff
	welcomedOnce := false
	for turn := 0; ; turn++ {
		url := c.cfg.URLs[turn%len(c.cfg.URLs)]
		lost := c.session(ctx, url)
		if ctx.Err() != nil {
			return nil
		}
		welcomedOnce = welcomedOnce || lost.welcomed
		state := State{URL: url, Code: lost.code, Reason: lost.reason, Err: lost.err}
		if err := lost.final(welcomedOnce); err != nil {
			state.Err = err
			c.cfg.OnState(state)
			return err
		}
		if lost.welcomed {
			wait.reset()
		}
		if state.Delay = lost.after; state.Delay <= 0 {
			state.Delay = wait.next()
		}
		c.cfg.OnState(state)
		if !pause(ctx, state.Delay) {
			return nil
		}
	}
}

// session is the life of one connection.
func (c *Client) session(ctx context.Context, url string) loss {
	ws, refused := c.dial(ctx, url)
	if ws == nil {
		return refused
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &session{client: c, conn: newConn(ws, url)}
	left := make(chan struct{})
	stay := context.AfterFunc(ctx, func() { defer close(left); s.conn.bye() })
	s.beside.Go(s.conn.write)
	lost := s.conn.read(func(object []byte) { s.take(ctx, object) })
	lost.welcomed = s.welcomed
	c.setConn(nil)
	c.inbox.do(c.follower.lost) // before the follower's requests are answered, which are to be made again
	s.conn.end()
	if !stay() {
		<-left
	}
	cancel()
	s.beside.Wait()
	return lost
}

// setConn lets requests go to a connection; nil lets them wait for the next one.
func (c *Client) setConn(n *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = n
	c.tell()
}

// stop lets requests fail from now on.
func (c *Client) stop(err error) {
	if err == nil {
		err = ErrStopped
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = err
	c.tell()
}

// tell is called with mu held.
func (c *Client) tell() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// connected waits for a connection.
func (c *Client) connected(ctx context.Context) (*conn, error) {
	for {
		c.mu.Lock()
		n, stopped, changed := c.conn, c.stopped, c.changed
		c.mu.Unlock()
		switch {
		case stopped != nil:
			return nil, stopped
		case n != nil:
			return n, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}
