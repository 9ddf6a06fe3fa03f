package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/transport/auth"
	"hearth/transport/wire"
)

var hmacSecret = []byte(strings.Repeat("s", 32))

const (
	secretKey    = "key-of-the-shop-server"
	secretKeySum = "7ccc489d28c4920827403d1e815ac2c8b9280075711330ae8ab28c4166849198"
)

// fixture is a Server over a backend, with the room "r" and the group "g" (members ann and bob).
type fixture struct {
	*Server
	b          *backend
	ch         *channels
	ranking    *fakeRanking
	watermarks *domain.Watermarks
	registry   *prometheus.Registry
	log        *lockedBuffer
}

type options struct {
	cfg            ConnConfig
	origins        []string
	queryToken     bool
	confirmsByHand bool
	policy         domain.SessionPolicy
}

// newFixture makes a server without a listener; change may be nil.
func newFixture(t testing.TB, change func(*options)) *fixture {
	t.Helper()
	o := options{cfg: ConnConfig{
		Instance: "one", Life: "one-1", FrameBytes: 64 << 10, FrameRate: 100, PingInterval: 25 * time.Second, PongTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, QueueFrames: 256, QueueBytes: 1 << 20, Limits: wire.DefaultLimits,
	}}
	if change != nil {
		change(&o)
	}
	verifier, err := auth.New(auth.Config{
		HMACSecret: hmacSecret, APIKeys: map[string]string{"shop": secretKeySum}, AllowQueryToken: o.queryToken,
	})
	require.NoError(t, err)
	f := &fixture{b: newBackend(), registry: prometheus.NewRegistry(), ranking: &fakeRanking{}, watermarks: &domain.Watermarks{}, log: &lockedBuffer{}}
	f.b.add(domain.Room, "r")
	f.b.add(domain.Private, "g", "ann", "bob")
	heads := domain.NewHeads(f.b, f.b)
	sessions := domain.NewSessions(f.b, f.b, f.b, f.b, o.policy)
	f.Server = NewServer(o.cfg, Deps{
		Auth:     verifier,
		History:  domain.NewHistory(heads, f.b, f.b, f.b, f.b, f.b),
		Sends:    domain.NewSends(f.b, f.watermarks, sessions),
		Signals:  domain.NewSignals(f.b, nil), // it never finds anything missing
		Recalls:  domain.NewRecalls(f.b, f.b, nil),
		Sessions: sessions,
		Ranking:  f.ranking, HeatWindow: 5 * time.Minute,
		Notes:      f.b,
		Journal:    domain.NewJournal(16, 1<<20),
		Groups:     domain.NewGroups(f.b, f.b, f.b, heads, func() string { return "made" }),
		Watermarks: f.watermarks, Clock: localClock{}, Log: zerolog.New(f.log), Registerer: f.registry, AllowedOrigins: o.origins,
	})
	f.ch = &channels{hub: f.Hub(), byHand: o.confirmsByHand, open: map[string]bool{}, users: map[string]bool{}}
	f.Hub().UseChannels(f.ch)
	f.b.hub, f.b.publish = f.Hub(), f.Hub().Published
	return f
}

// end closes what is left, at once.
func (f *fixture) end() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f.Hub().Drain(ctx, 0)
	f.Close()
	f.ch.confirmed.Wait()
}

// conns are the connections of the server.
func (f *fixture) open() []*Conn {
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	var conns []*Conn
	for c := range f.hub.conns {
		conns = append(conns, c)
	}
	return conns
}

// piped is a fixture whose clients are connected by net.Pipe, in a bubble with a clock of its own.
type piped struct {
	*fixture
	dials chan net.Conn
}

// inBubble runs a test in a bubble: time passes when everybody waits.
func inBubble(t *testing.T, change func(*options), test func(t *testing.T, s *piped)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &piped{newFixture(t, change), make(chan net.Conn)}
		server := &http.Server{Handler: s}
		serving := make(chan struct{})
		go func() {
			defer close(serving)
			_ = server.Serve(pipeListener{s.dials})
		}()
		defer func() {
			s.end()
			_ = server.Close()
			<-serving
		}()
		test(t, s)
	})
}

type pipeListener struct{ dials chan net.Conn }

func (l pipeListener) Accept() (net.Conn, error) {
	conn, ok := <-l.dials
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l pipeListener) Close() error   { close(l.dials); return nil }
func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// dial connects a user who reads what comes.
func (s *piped) dial(t testing.TB, user string) *client {
	t.Helper()
	c := s.dialSilently(t, user, time.Hour)
	c.startReading()
	return c
}

// dialSilently connects a user who does not read until he is told to.
func (s *piped) dialSilently(t testing.TB, user string, lifetime time.Duration) *client {
	t.Helper()
	return s.dialToken(t, tokenOf(t, user, lifetime))
}

// dialToken connects who does not read until he is told to.
func (s *piped) dialToken(t testing.TB, token string) *client {
	t.Helper()
	ws, response, err := s.try(token)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return newClient(t, ws)
}

// turnedAway connects a user who must be refused with this status.
func (s *piped) turnedAway(t testing.TB, user string, status int) {
	t.Helper()
	_, response, err := s.try(tokenOf(t, user, time.Hour))
	require.ErrorIs(t, err, websocket.ErrBadHandshake)
	require.NoError(t, response.Body.Close())
	require.Equal(t, status, response.StatusCode)
}

func (s *piped) try(token string) (*websocket.Conn, *http.Response, error) {
	dialer := websocket.Dialer{
		Subprotocols: []string{wire.Subprotocol},
		NetDial: func(string, string) (net.Conn, error) {
			here, there := net.Pipe()
			s.dials <- there
			return here, nil
		},
	}
	return dialer.Dial("ws://hearth/v1/ws", http.Header{"Authorization": {"Bearer " + token}})
}

func tokenOf(t testing.TB, user string, lifetime time.Duration) string {
	t.Helper()
	token, err := auth.Sign(hmacSecret, auth.Claims{User: user, Expires: time.Now().Add(lifetime)})
	require.NoError(t, err)
	return token
}

// listen serves a fixture on TCP.
func listen(t testing.TB, change func(*options)) (*fixture, string) {
	t.Helper()
	f := newFixture(t, change)
	server := httptest.NewServer(f)
	t.Cleanup(func() {
		f.end()
		server.Close()
	})
	return f, server.URL
}

// client is the other end of a connection: it reads objects until the socket ends.
type client struct {
	t       testing.TB
	ws      *websocket.Conn
	objects chan object
	frames  chan int      // number of objects in each frame read
	over    chan struct{} // closed when err is known
	err     error
}

func newClient(t testing.TB, ws *websocket.Conn) *client {
	c := &client{t: t, ws: ws, objects: make(chan object, 100_000), frames: make(chan int, 100_000), over: make(chan struct{})}
	t.Cleanup(func() { _ = ws.Close() })
	return c
}

// object is anything the server writes.
type object struct {
	raw   string
	ID    *int64          `json:"id"`
	OK    json.RawMessage `json:"ok"`
	Error *struct {
		Code         domain.Code `json:"code"`
		Message      string      `json:"message"`
		Retryable    bool        `json:"retryable"`
		RetryAfterMS int64       `json:"retry_after_ms"`
	} `json:"error"`
	Event   string          `json:"event"`
	Group   string          `json:"group"`
	Seq     int64           `json:"seq"`
	PrevSeq *int64          `json:"prev_seq"`
	Body    json.RawMessage `json:"body"`
	User    string          `json:"user"`
	Change  string          `json:"change"`
	Groups  []struct {
		Group    string `json:"group"`
		AfterSeq int64  `json:"after_seq"`
	} `json:"groups"`
	Code             int    `json:"code"`
	ReconnectAfterMS *int64 `json:"reconnect_after_ms"`
	ExpiresMS        int64  `json:"expires_ms"`
	Subscribed       int    `json:"subscribed"`
	SubscribedAll    bool   `json:"subscribed_all"`
}

// prev is the prev_seq of a message, -1 for none.
func (o object) prev() int64 {
	if o.PrevSeq == nil {
		return -1
	}
	return *o.PrevSeq
}

func parseObject(raw []byte) (o object, err error) {
	o.raw = string(raw)
	return o, json.Unmarshal(raw, &o)
}

func (c *client) startReading() {
	go func() {
		defer close(c.over)
		defer close(c.objects)
		for {
			_, frame, err := c.ws.ReadMessage()
			if err != nil {
				c.err = err
				return
			}
			lines := bytes.Split(frame, []byte("\n"))
			c.frames <- len(lines)
			for _, line := range lines {
				o, err := parseObject(line)
				if err != nil {
					o.Event = "not JSON"
				}
				c.objects <- o
			}
		}
	}()
}

const patience = 10 * time.Second

// next is the next object the server writes.
func (c *client) next() object {
	c.t.Helper()
	select {
	case o, ok := <-c.objects:
		if !ok {
			require.FailNow(c.t, "the connection ended", "%v", c.err)
		}
		return o
	case <-time.After(patience):
		require.FailNow(c.t, "nothing came")
		return object{}
	}
}

// ready reads the welcome.
func (c *client) ready() *client {
	c.t.Helper()
	require.Equal(c.t, "welcome", c.next().Event)
	return c
}

// write sends a text frame.
func (c *client) write(frame string) {
	c.t.Helper()
	require.NoError(c.t, c.ws.WriteMessage(websocket.TextMessage, []byte(frame)))
}

// ask sends one request and reads its reply, which must be the next object.
func (c *client) ask(request string) object {
	c.t.Helper()
	c.write(request)
	return c.next()
}

// ok is ask where the answer is good; it is decoded into v unless that is nil.
func (c *client) ok(request string, v any) {
	c.t.Helper()
	o := c.ask(request)
	require.Nil(c.t, o.Error, "%s: %s", request, o.raw)
	require.NotNil(c.t, o.OK, "%s: %s", request, o.raw)
	if v != nil {
		require.NoError(c.t, json.Unmarshal(o.OK, v))
	}
}

// refused is ask where the answer is an error with this code.
func (c *client) refused(request string, code domain.Code) object {
	c.t.Helper()
	o := c.ask(request)
	require.NotNil(c.t, o.Error, "%s: %s", request, o.raw)
	require.Equal(c.t, code, o.Error.Code, "%s: %s", request, o.raw)
	return o
}

// alive fails unless the connection answers and nothing else was waiting.
func (c *client) alive() {
	c.t.Helper()
	o := c.ask(`{"id":424242,"op":"ping"}`)
	require.NotNil(c.t, o.ID, o.raw)
	require.Equal(c.t, int64(424242), *o.ID, o.raw)
	require.NotNil(c.t, o.OK, o.raw)
}

// message reads the next object, which must be a message event with this seq.
func (c *client) message(seq int64) object {
	c.t.Helper()
	o := c.next()
	require.Equal(c.t, "message", o.Event, o.raw)
	require.Equal(c.t, seq, o.Seq, o.raw)
	return o
}

// goodbye reads the next object, which must say goodbye with this code, and then the close with the same.
func (c *client) goodbye(code int) object {
	c.t.Helper()
	o := c.goodbyeFirst(code)
	c.closed(code)
	return o
}

// goodbyeFirst is goodbye before there is a close.
func (c *client) goodbyeFirst(code int) object {
	c.t.Helper()
	o := c.next()
	require.Equal(c.t, "goodbye", o.Event, o.raw)
	require.Equal(c.t, code, o.Code)
	if code < 4500 {
		require.NotNil(c.t, o.ReconnectAfterMS, o.raw)
		require.GreaterOrEqual(c.t, *o.ReconnectAfterMS, int64(500))
		require.LessOrEqual(c.t, *o.ReconnectAfterMS, int64(5000))
	} else {
		require.Nil(c.t, o.ReconnectAfterMS, o.raw)
	}
	return o
}

// closed waits for the close, which must have this code and nothing before it.
func (c *client) closed(code int) {
	c.t.Helper()
	select {
	case <-c.over:
	case <-time.After(patience):
		require.FailNow(c.t, "not closed")
	}
	for o := range c.objects {
		require.Empty(c.t, o.raw, "before the close")
	}
	var closed *websocket.CloseError
	require.True(c.t, errors.As(c.err, &closed), "got %v, want a close frame", c.err)
	require.Equal(c.t, code, closed.Code)
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func readAll(t testing.TB, r io.ReadCloser) string {
	t.Helper()
	all, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(all)
}
