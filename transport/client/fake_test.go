package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hearth/transport/client"
	"hearth/transport/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inBubble runs a test on fake time, with a server at the other end of pipes.
func inBubble(t *testing.T, test func(t *testing.T, f *fake)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(t, startFake(t)) })
}

// fake is a server that does what the test says.
type fake struct {
	t       testing.TB
	url     string
	pipes   pipes
	links   chan *link
	refuse  func(w http.ResponseWriter, r *http.Request) bool // answers instead of the upgrade, and says so
	serving sync.WaitGroup
}

// link is a connection, from the server's side.
type link struct {
	t        testing.TB
	ws       *websocket.Conn
	token    string
	host     string
	requests chan request // closed at the connection's end
	frames   chan int     // objects in each frame that came
}

// request is what a client wrote.
type request struct {
	ID       int64           `json:"id"`
	Op       string          `json:"op"`
	Group    string          `json:"group"`
	AfterSeq *int64          `json:"after_seq"`
	Limit    int             `json:"limit"`
	ClientID string          `json:"client_id"`
	Cursor   string          `json:"cursor"`
	Token    string          `json:"token"`
	Body     json.RawMessage `json:"body"`
	raw      string
	link     *link
}

func startFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{t: t, pipes: newPipes(), links: make(chan *link, 100)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	_ = server.Listener.Close() // the real one
	server.Listener = f.pipes
	server.Start()
	f.url = server.URL
	t.Cleanup(func() {
		server.Close()
		f.serving.Wait()
	})
	return f
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	f.serving.Add(1)
	defer f.serving.Done()
	if f.refuse != nil && f.refuse(w, r) {
		return
	}
	upgrader := websocket.Upgrader{Subprotocols: []string{wire.Subprotocol}}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	l := &link{
		t: f.t, ws: ws, token: token, host: r.Host, requests: make(chan request, 10_000), frames: make(chan int, 10_000),
	}
	defer close(l.requests)
	f.links <- l
	l.read()
}

func (l *link) read() {
	for {
		_, frame, err := l.ws.ReadMessage()
		if err != nil {
			return
		}
		objects := wire.Objects(frame)
		l.frames <- len(objects)
		for _, object := range objects {
			r := request{raw: string(object), link: l}
			if json.Unmarshal(object, &r) != nil {
				r.Op = "not JSON"
			}
			l.requests <- r
		}
	}
}

// accept waits for a connection.
func (f *fake) accept() *link { return receive(f.t, f.links, "a connection") }

// welcome is accept and the welcome.
func (f *fake) welcome() *link {
	f.t.Helper()
	l := f.accept()
	l.write(`{"event":"welcome","conn":"c1","user":"ann","instance":"one","ping_interval_ms":25000,"limits":{"page":200}}`)
	return l
}

// receive fails after a minute; in a bubble, as soon as nothing can come any more.
func receive[T any](t testing.TB, from <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v, ok := <-from:
		if !ok {
			t.Fatalf("the end came before %s", what)
		}
		return v
	case <-time.After(time.Minute):
		t.Fatalf("no %s", what)
	}
	return v
}

func (l *link) write(objects ...string) {
	l.t.Helper()
	if err := l.ws.WriteMessage(websocket.TextMessage, []byte(strings.Join(objects, "\n"))); err != nil {
		l.t.Errorf("write to the client: %v", err)
	}
}

// expect is the next request, which has to be this op.
func (l *link) expect(op string) request {
	l.t.Helper()
	r := receive(l.t, l.requests, "request "+op)
	require.Equal(l.t, op, r.Op, r.raw)
	return r
}

// expectSubscribe is the next request, which has to be a subscribe after a seq; -1: without one.
func (l *link) expectSubscribe(group string, after int64) request {
	l.t.Helper()
	r := l.expect("subscribe")
	require.Equal(l.t, group, r.Group)
	if after < 0 {
		require.Nil(l.t, r.AfterSeq, r.raw)
	} else {
		require.NotNil(l.t, r.AfterSeq, r.raw)
		require.Equal(l.t, after, *r.AfterSeq)
	}
	return r
}

// quiet fails when a request waits.
func (l *link) quiet() {
	l.t.Helper()
	synctest.Wait()
	select {
	case r, ok := <-l.requests:
		require.False(l.t, ok, "the client wrote %s", r.raw)
	default:
	}
}

func (l *link) push(group string, seqs ...int64) {
	l.t.Helper()
	for _, seq := range seqs {
		l.write(pushOf(group, seq))
	}
}

func (l *link) pushBehind(group string, prev, seq int64) {
	l.t.Helper()
	l.write(strings.Replace(pushOf(group, seq), `,`, fmt.Sprintf(`,"prev_seq":%d,`, prev), 1))
}

// close says goodbye; after 0 leaves the hint out.
func (l *link) close(code int, after time.Duration) {
	l.t.Helper()
	l.write(string(wire.AppendGoodbye(nil, code, "test", after)))
	_ = l.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "test"), time.Now().Add(time.Second))
}

// cut ends the link without a word.
func (l *link) cut() { _ = l.ws.NetConn().Close() }

func (r request) ok(object string) {
	r.link.t.Helper()
	r.link.write(fmt.Sprintf(`{"id":%d,"ok":%s}`, r.ID, object))
}

func (r request) fail(code string, again bool, after time.Duration) {
	r.link.t.Helper()
	hint := ""
	if after > 0 {
		hint = `,"retry_after_ms":` + strconv.FormatInt(after.Milliseconds(), 10)
	}
	r.link.write(fmt.Sprintf(`{"id":%d,"error":{"code":%q,"message":"no","retryable":%v%s}}`, r.ID, code, again, hint))
}

// page answers a subscribe with these messages.
func (r request) page(max int64, more bool, seqs ...int64) {
	r.link.t.Helper()
	r.pageWithHoles(max, more, "", seqs...)
}

func (r request) pageWithHoles(max int64, more bool, holes string, seqs ...int64) {
	r.link.t.Helper()
	var messages []string
	for _, seq := range seqs {
		messages = append(messages, messageOf(r.Group, seq))
	}
	r.ok(fmt.Sprintf(`{"group":%q,"role":null,"max_seq":%d,"messages":[%s],"holes":[%s],"more":%v}`,
		r.Group, max, strings.Join(messages, ","), holes, more))
}

func messageOf(group string, seq int64) string {
	return fmt.Sprintf(`{"group":%q,"seq":%d,"time_ms":%d,"from":"bob","body":[{"type":"text","text":"no. %d"}]}`, group, seq, 1_700_000_000_000+seq, seq)
}

func pushOf(group string, seq int64) string {
	return `{"event":"message",` + messageOf(group, seq)[1:]
}

// pipes are a network of its own, on which fake time passes.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   *sync.Once
}

func newPipes() pipes {
	return pipes{make(chan net.Conn), make(chan struct{}), new(sync.Once)}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (p pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, errors.New("nobody listens")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// diary is what the hooks were told, a line each.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// read returns the lines since the last read, once nothing moves any more.
func (d *diary) read() []string {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := d.lines
	d.lines = nil
	return lines
}

// running is a client at work.
type running struct {
	*client.Client
	diary
	states []client.State
	cancel context.CancelFunc
	ended  chan error
}

// config is a client's for this fake; its hooks write the diary.
func (f *fake) config(r *running) client.Config {
	return client.Config{
		URLs:         []string{f.url},
		Token:        func(context.Context) (string, error) { return "token", nil },
		Dialer:       &websocket.Dialer{NetDialContext: f.pipes.dial},
		OnMessage:    func(m client.Message) { r.add("%s %d", m.Group, m.Seq) },
		OnHole:       func(g string, h client.Hole) { r.add("%s hole %d-%d %s", g, h.From, h.To, h.Reason) },
		OnLive:       func(g string) { r.add("%s live", g) },
		OnGroupError: func(g string, err error) { r.add("%s error %v", g, err) },
		OnState: func(s client.State) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.states = append(r.states, s)
		},
	}
}

// start runs a client until the test ends.
func (f *fake) start(change func(r *running, cfg *client.Config)) *running {
	f.t.Helper()
	r := &running{ended: make(chan error, 1)}
	cfg := f.config(r)
	if change != nil {
		change(r, &cfg)
	}
	var err error
	r.Client, err = client.New(cfg)
	require.NoError(f.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	done := make(chan struct{})
	go func() { defer close(done); r.ended <- r.Run(ctx) }()
	f.t.Cleanup(func() { cancel(); <-done })
	return r
}

func (r *running) lastState() client.State {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.states[len(r.states)-1]
}
