package bench_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"hearth/cmd/internal/bench"
)

const (
	secret = "a secret that is long enough for HS256"
	apiKey = "the key"
)

// fake is just enough of a hearth: groups, welcome, subscribe, send, pages. Its knobs break promises.
type fake struct {
	server *httptest.Server

	refuse       int                                                // status for everything
	silent       bool                                               // never answers a send
	unsubscribed bool                                               // leaves subscribing to the client
	spaced       bool                                               // writes JSON with white space
	welcome      string                                             // instead of the usual one
	reply        func(s sent, usual string) string                  // "": none
	push         func(s sent, to int, usual string) string          // to: the how-manieth member; "": none
	page         func(op string, after uint64, usual string) string // "": none
	number       func(group string, before uint64) uint64
	onSend       func(s sent)
	pingEvery    time.Duration // 0: never

	mu     sync.Mutex // guards what follows; held while a message goes to its group
	groups map[string]*fakeGroup
	users  map[string]string // user → group
	frames int
}

type fakeGroup struct {
	id     string
	seq    uint64
	conns  []*websocket.Conn
	stored []stored
}

type sent struct {
	Group, User, ClientID string
	ID                    int64
	Seq, Prev             uint64
}

func startFake(t testing.TB, f *fake) *fake {
	t.Helper()
	if f == nil {
		f = &fake{}
	}
	f.groups, f.users = map[string]*fakeGroup{}, map[string]string{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/groups", f.create)
	mux.HandleFunc("POST /v1/groups/{group}/members", f.add)
	mux.HandleFunc("POST /v1/groups/{group}/messages", f.say)
	mux.HandleFunc("GET /v1/ws", f.connect)
	f.server = httptest.NewServer(mux)
	t.Cleanup(f.server.Close)
	return f
}

// base is how a bench gets in.
func (f *fake) base() bench.Base {
	return bench.Base{URLs: []string{f.server.URL}, Secret: []byte(secret), APIKey: apiKey}
}

func (f *fake) create(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Group, Type, Name string
		Members           []string
	}
	if !f.accept(w, r, &in) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.groups[in.Group] != nil {
		problem(w, http.StatusConflict, "conflict")
		return
	}
	f.groups[in.Group] = &fakeGroup{id: in.Group}
	f.join(in.Group, in.Members)
	w.WriteHeader(http.StatusCreated)
}

func (f *fake) add(w http.ResponseWriter, r *http.Request) {
	var in struct{ Members []string }
	if !f.accept(w, r, &in) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.join(r.PathValue("group"), in.Members)
}

func (f *fake) join(group string, members []string) {
	for _, m := range members {
		f.users[m] = group
	}
}

func (f *fake) accept(w http.ResponseWriter, r *http.Request, in any) bool {
	switch {
	case f.refuse != 0:
		w.WriteHeader(f.refuse)
	case r.Header.Get("Authorization") != "Bearer "+apiKey:
		problem(w, http.StatusUnauthorized, "unauthorized")
	case json.NewDecoder(r.Body).Decode(in) != nil:
		problem(w, http.StatusBadRequest, "bad_request")
	default:
		return true
	}
	return false
}

func problem(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"code":%q,"detail":"no"}`, code)
}

func (f *fake) connect(w http.ResponseWriter, r *http.Request) {
	var claims jwt.RegisteredClaims
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if _, err := jwt.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return []byte(secret), nil },
		jwt.WithExpirationRequired(), jwt.WithValidMethods([]string{"HS256"})); err != nil {
		problem(w, http.StatusUnauthorized, "unauthorized")
		return
	}
	up := websocket.Upgrader{Subprotocols: []string{"hearth.v1"}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = ws.Close() }()
	user := claims.Subject
	f.mu.Lock()
	g := f.groups[f.users[user]]
	if f.unsubscribed {
		_ = f.write(ws, `{"event":"welcome","subscribed":0}`)
	} else {
		g.conns = append(g.conns, ws)
		hello := `{"event":"welcome","subscribed":1}`
		if f.welcome != "" {
			hello = f.welcome
		}
		_ = f.write(ws, hello)
	}
	f.mu.Unlock()
	if f.pingEvery > 0 {
		stop := f.ping(ws)
		defer stop()
	}
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			return
		}
		f.frame(ws, user, g, frame)
	}
}

// ping pings until stop.
func (f *fake) ping(ws *websocket.Conn) (stop func()) {
	tick, done := time.NewTicker(f.pingEvery), make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				_ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
			}
		}
	}()
	return func() { tick.Stop(); close(done) }
}

func (f *fake) frame(ws *websocket.Conn, user string, g *fakeGroup, frame []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frames++
	for line := range bytes.SplitSeq(frame, []byte("\n")) {
		var in request
		if err := json.Unmarshal(line, &in); err != nil || in.Group != g.id && in.Op != "sync" {
			_ = f.write(ws, `{"error":{"code":"bad_request","message":"no"}}`)
			continue
		}
		switch {
		case in.AfterSeq != nil || in.Groups != nil:
			f.answerPage(ws, g, in)
		case in.Op == "subscribe":
			g.conns = append(g.conns, ws)
			_ = f.write(ws, fmt.Sprintf(`{"id":%d,"ok":{"group":%q}}`, in.ID, g.id))
		case !f.silent:
			f.send(ws, g, sent{Group: g.id, User: user, ClientID: in.ClientID, ID: in.ID}, in.Body[0].Text)
		}
	}
}

type request struct {
	ID        int64
	Op, Group string
	ClientID  string `json:"client_id"`
	Body      []struct{ Type, Text string }
	AfterSeq  *uint64 `json:"after_seq"`
	Limit     int
	Groups    map[string]uint64
}

func (f *fake) send(ws *websocket.Conn, g *fakeGroup, s sent, text string) {
	s.Prev = g.seq
	g.seq++
	if f.number != nil {
		g.seq = f.number(g.id, s.Prev)
	}
	s.Seq = g.seq
	if f.onSend != nil {
		f.onSend(s)
	}
	prev := ""
	if s.Prev != s.Seq-1 {
		prev = fmt.Sprintf(`,"prev_seq":%d`, s.Prev)
	}
	reply := fmt.Sprintf(`{"id":%d,"ok":{"group":%q,"seq":%d,"time_ms":1,"duplicate":false,"durable":false,"persisted_seq":0}}`, s.ID, g.id, s.Seq)
	message := fmt.Sprintf(`"group":%q,"seq":%d,"time_ms":1,"from":%q,"client_id":%q,"body":[{"type":"text","text":%q}]}`,
		g.id, s.Seq, s.User, s.ClientID, text)
	g.stored = append(g.stored, stored{s.Seq, "{" + message})
	push := fmt.Sprintf(`{"event":"message"%s,%s`, prev, message)
	if f.reply != nil {
		reply = f.reply(s, reply)
	}
	for i, to := range g.conns {
		line := push
		if f.push != nil {
			line = f.push(s, i, push)
		}
		if to == ws { // in one frame with the reply, and before it
			line = strings.TrimSuffix(line+"\n"+reply, "\n")
		}
		_ = f.write(to, strings.TrimPrefix(line, "\n"))
	}
}

func (f *fake) write(ws *websocket.Conn, lines string) error {
	if lines == "" {
		return nil
	}
	if f.spaced {
		lines = strings.NewReplacer(`":`, `": `, `,"`, `, "`).Replace(lines)
	}
	return ws.WriteMessage(websocket.TextMessage, []byte(lines))
}
