package bots_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hearth/cmd/internal/bots"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// fake is a hearth that hears everything and says yes to everything.
type fake struct {
	server *httptest.Server
	heard  chan heard       // what bots wrote
	came   chan *connection // accepted connections
	refuse atomic.Int32     // so many upgrades get a 503 first
}

type heard struct {
	ID              int64
	User, Op, Group string
	ClientID        string `json:"client_id"`
	Body            []struct{ Type, Text string }
}

type connection struct {
	*websocket.Conn
	user    string
	over    chan struct{} // closed when the bot is gone
	writing sync.Mutex    // held while writing
}

func startFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{heard: make(chan heard, 10_000), came: make(chan *connection, 10_000)}
	f.server = httptest.NewServer(http.HandlerFunc(f.connect))
	t.Cleanup(f.server.Close)
	return f
}

func (f *fake) connect(w http.ResponseWriter, r *http.Request) {
	user, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer token of ")
	if !ok || r.URL.Path != "/v1/ws" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if f.refuse.Add(-1) >= 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	upgrader := websocket.Upgrader{Subprotocols: []string{"hearth.v1"}}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	c := &connection{Conn: ws, user: user, over: make(chan struct{})}
	defer close(c.over)
	c.say(`{"event":"welcome","user":"` + user + `","ping_interval_ms":25000}`)
	f.came <- c
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			return
		}
		for line := range strings.Lines(string(frame)) {
			in := heard{User: user}
			if err := json.Unmarshal([]byte(line), &in); err != nil {
				in.Op = "not JSON"
			}
			f.heard <- in
			c.say(fmt.Sprintf(`{"id":%d,"ok":{"group":%q,"seq":1,"max_seq":0}}`, in.ID, in.Group))
		}
	}
}

func (c *connection) say(object string) {
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.WriteMessage(websocket.TextMessage, []byte(object)) // fails when the bot is gone
}

// run starts bots on the fake servers and returns what ends them and waits.
func run(t testing.TB, count int, servers ...*fake) (stop func() error) {
	t.Helper()
	cfg := bots.Config{
		Count: count, Rooms: []string{"tea", "music", "chess"}, Pace: time.Millisecond, Log: zerolog.Nop(),
		Token: func(user string) string { return "token of " + user },
	}
	for _, f := range servers {
		cfg.URLs = append(cfg.URLs, f.server.URL)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- bots.Run(ctx, cfg) }()
	stopped := false
	stop = func() error {
		stopped = true
		cancel()
		return receive(t, ended, "the end of Run")
	}
	t.Cleanup(func() {
		if !stopped {
			_ = stop()
		}
	})
	return stop
}

func receive[T any](t testing.TB, from <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("waited %s for %s", patience, what)
	}
	return v
}

func TestBotsEnterRoomsBeforeTheyTalkThere(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	stop := run(t, 4, f)
	in := map[string]string{} // user → room
	users, rooms, ids := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for sends := 0; sends < 300; {
		h := receive(t, f.heard, "a bot's word")
		switch h.Op {
		case "subscribe":
			require.Empty(t, in[h.User], "%s left before he entered %s", h.User, h.Group)
			in[h.User] = h.Group
		case "unsubscribe":
			require.Equal(t, in[h.User], h.Group)
			delete(in, h.User)
		case "send":
			sends++
			require.Equal(t, in[h.User], h.Group, "%s talks where he is", h.User)
			require.Len(t, h.Body, 1)
			require.Equal(t, "text", h.Body[0].Type)
			require.NotEmpty(t, h.Body[0].Text)
			require.Regexp(t, regexp.MustCompile(`^[A-Za-z0-9_.@#-]{1,64}$`), h.ClientID)
			require.False(t, ids[h.ClientID], "client_id %s repeats", h.ClientID)
			ids[h.ClientID], users[h.User], rooms[h.Group] = true, true, true
		default:
			t.Fatalf("got op %q, want subscribe, unsubscribe or send", h.Op)
		}
	}
	require.Len(t, users, 4)
	require.Greater(t, len(rooms), 1)
	require.NoError(t, stop())
}

func TestBotsSpreadOverTheInstances(t *testing.T) {
	t.Parallel()
	one, two := startFake(t), startFake(t)
	run(t, 2, one, two)
	require.NotEqual(t, receive(t, one.came, "a bot at one").user, receive(t, two.came, "a bot at two").user)
}

func TestEndOfContextEndsTheConnections(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	stop := run(t, 3, f)
	var conns []*connection
	for range 3 {
		conns = append(conns, receive(t, f.came, "a bot"))
	}
	require.NoError(t, stop())
	for _, c := range conns {
		receive(t, c.over, "the end of a connection")
	}
}

func TestBotsComeBack(t *testing.T) {
	t.Parallel()
	for name, closing := range map[string]func(c *connection){
		"cut":           func(c *connection) { _ = c.NetConn().Close() },
		"shutting down": func(c *connection) { sayGoodbye(c, 4000, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t)
			run(t, 1, f)
			for range 3 {
				closing(receive(t, f.came, "the bot"))
			}
			receive(t, f.came, "the bot once more")
		})
	}
}

func TestBotsComeBackToTheirRoom(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	run(t, 1, f)
	for room := ""; ; {
		switch h := receive(t, f.heard, "a word of the bot"); h.Op {
		case "subscribe":
			if h.Group == room {
				return // without having left it
			}
			room = h.Group
		case "send":
			select {
			case c := <-f.came:
				_ = c.NetConn().Close()
			default: // cut already
			}
		case "unsubscribe":
			room = ""
		}
	}
}

func TestBotsTryTheNextInstance(t *testing.T) {
	t.Parallel()
	bad, good := startFake(t), startFake(t)
	bad.refuse.Store(1 << 30)
	run(t, 1, bad, good)
	receive(t, good.came, "the bot")
}

func TestBotsTryAgainWhenRefused(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.refuse.Store(2)
	run(t, 1, f)
	receive(t, f.came, "the bot")
}

func TestBotsSentAwayStayAway(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	var log signal
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	log.said = make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- bots.Run(ctx, bots.Config{
			URLs: []string{f.server.URL}, Count: 1, Rooms: []string{"tea"}, Pace: time.Millisecond,
			Token: func(user string) string { return "token of " + user }, Log: zerolog.New(log),
		})
	}()
	sayGoodbye(receive(t, f.came, "the bot"), 4503, 0)
	for !strings.Contains(receive(t, log.said, "a word about it"), "bot was sent away") {
	}
	require.Empty(t, f.came)
	cancel()
	require.NoError(t, receive(t, ended, "the end of Run"))
}

// signal is a log that can be waited for.
type signal struct{ said chan string }

func (s signal) Write(p []byte) (int, error) {
	s.said <- string(p)
	return len(p), nil
}

func sayGoodbye(c *connection, code, afterMS int) {
	event := fmt.Sprintf(`{"event":"goodbye","code":%d,"reason":"test","reconnect_after_ms":%d}`, code, afterMS)
	c.say(`{"event":"other"}` + "\n" + event)
	_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, "test"), time.Now().Add(time.Second))
}

func TestRunWithoutBotsWaits(t *testing.T) {
	t.Parallel()
	require.NoError(t, run(t, 0, startFake(t))())
}

func TestRunNeedsSomewhereToGo(t *testing.T) {
	t.Parallel()
	require.Error(t, bots.Run(context.Background(), bots.Config{Count: 1}))
}
