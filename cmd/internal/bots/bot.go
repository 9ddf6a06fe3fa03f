package bots

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
	"github.com/gorilla/websocket"
)

const (
	handshakeTimeout = 10 * time.Second
	writeTimeout     = 5 * time.Second
	silence          = time.Minute // the server pings every 25 s; after this long without a word it is gone
	firstBackoff     = 500 * time.Millisecond
	longestBackoff   = 15 * time.Second
	visitMessages    = 4 // in one room before moving on, on average
	neverReconnect   = 4500
)

// bot is one user. All of it belongs to the goroutine of run.
type bot struct {
	cfg    Config
	town   *town
	user   string
	server int // counts through cfg.URLs, one on after every failure
	random *rand.Rand
	spoken int
}

// run stays connected until ctx ends or the server sends the bot away for good.
func (b *bot) run(ctx context.Context) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = firstBackoff, longestBackoff
	pause(ctx, b.upTo(b.cfg.Pace/4)) // not all in the same moment
	for ctx.Err() == nil {
		spoken := b.spoken
		err := b.visit(ctx)
		if ctx.Err() != nil {
			return
		}
		var gone *goodbye
		if errors.As(err, &gone) && gone.Code >= neverReconnect && gone.Code < 5000 {
			b.cfg.Log.Warn().Str("user", b.user).Int("code", gone.Code).Msg("bot was sent away")
			return
		}
		b.cfg.Log.Debug().Err(err).Str("user", b.user).Msg("bot lost its connection")
		if b.spoken > spoken {
			wait.Reset()
		}
		b.server++
		delay := wait.NextBackOff()
		if gone != nil && gone.ReconnectAfterMS > 0 {
			delay = time.Duration(gone.ReconnectAfterMS) * time.Millisecond
		}
		pause(ctx, delay)
	}
}

// visit is the life of one connection.
func (b *bot) visit(ctx context.Context) error {
	ws, err := b.dial(ctx)
	if err != nil {
		return err
	}
	lost := make(chan error, 1)
	go func() { lost <- listen(ws) }()
	err = b.wander(ctx, ws, lost)
	if ctx.Err() != nil {
		farewell := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		_ = ws.WriteControl(websocket.CloseMessage, farewell, time.Now().Add(time.Second)) // politeness
	}
	_ = ws.Close()
	if heard := <-lost; heard != nil { // what the server said tells more than a failed write
		return heard
	}
	return err
}

func (b *bot) dial(ctx context.Context) (*websocket.Conn, error) {
	dialer := websocket.Dialer{HandshakeTimeout: handshakeTimeout, Subprotocols: []string{"hearth.v1"}}
	base := b.cfg.URLs[b.server%len(b.cfg.URLs)]
	header := http.Header{"Authorization": {"Bearer " + b.cfg.Token(b.user)}}
	ws, resp, err := dialer.DialContext(ctx, "ws"+strings.TrimPrefix(strings.TrimSuffix(base, "/"), "http")+"/v1/ws", header)
	if resp != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", base, err)
	}
	return ws, nil
}

// wander goes from room to room and talks. It returns nil when listen has something to say.
func (b *bot) wander(ctx context.Context, ws *websocket.Conn, lost chan error) error {
	room, quiet := "", b.upTo(b.cfg.Pace) // everybody says hello soon
	for left := 0; ; left-- {
		if left <= 0 {
			next, messages := b.nextStay(time.Now())
			if err := move(ws, room, next); err != nil {
				return err
			}
			room, left = next, messages
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-lost:
			lost <- err // visit waits for it, too
			return nil
		case <-time.After(quiet):
		}
		if err := b.talk(ws, room); err != nil {
			return err
		}
		quiet = b.nextPause()
	}
}

// nextStay is where to go at a time, and how much to say there.
func (b *bot) nextStay(at time.Time) (room string, messages int) {
	return b.town.choose(at, b.random), 1 + b.random.IntN(2*visitMessages-1)
}

// nextPause is Pace on average, and uneven: three quick sentences, then a long silence.
func (b *bot) nextPause() time.Duration {
	quick := b.cfg.Pace / 4
	if b.random.IntN(3) > 0 {
		return quick/2 + b.upTo(quick)
	}
	return b.cfg.Pace + b.upTo(3*b.cfg.Pace)
}

func (b *bot) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(b.random.Int64N(int64(d)))
}

// move leaves one room and enters another; "" is none.
func move(ws *websocket.Conn, from, to string) error {
	if from == to {
		return nil
	}
	if from != "" {
		if err := write(ws, request{Op: "unsubscribe", Group: from}); err != nil {
			return err
		}
	}
	return write(ws, request{Op: "subscribe", Group: to})
}

func (b *bot) talk(ws *websocket.Conn, room string) error {
	sentence := sentences[b.random.IntN(len(sentences))]
	b.spoken++
	return write(ws, request{
		Op: "send", Group: room, ClientID: uuid.NewString(), Body: []text{{Type: "text", Text: sentence}},
	})
}

// request is what bots say. They number nothing: a sentence that is refused is not missed.
type request struct {
	Op       string `json:"op"`
	Group    string `json:"group"`
	ClientID string `json:"client_id,omitempty"`
	Body     []text `json:"body,omitempty"`
}

type text struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

func write(ws *websocket.Conn, r request) error {
	if err := ws.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return ws.WriteJSON(r)
}

// goodbye is the event before a close, or the close alone.
type goodbye struct {
	Event            string `json:"event"`
	Code             int    `json:"code"`
	Reason           string `json:"reason"`
	ReconnectAfterMS int64  `json:"reconnect_after_ms"`
}

func (g *goodbye) Error() string { return fmt.Sprintf("closed with %d %s", g.Code, g.Reason) }

// listen reads until the connection ends and returns why. Reading is also what answers the server's pings.
func listen(ws *websocket.Conn) error {
	var last *goodbye
	pong := ws.PingHandler()
	ws.SetPingHandler(func(data string) error {
		_ = ws.SetReadDeadline(time.Now().Add(silence)) // fails only when reading does
		return pong(data)
	})
	for {
		_ = ws.SetReadDeadline(time.Now().Add(silence))
		_, frame, err := ws.ReadMessage()
		if err != nil {
			var closed *websocket.CloseError
			if last == nil && errors.As(err, &closed) {
				last = &goodbye{Code: closed.Code, Reason: closed.Text}
			}
			if last != nil {
				return last
			}
			return err
		}
		for line := range strings.Lines(string(frame)) {
			if strings.HasPrefix(line, `{"event":"goodbye"`) { // the event comes first in what the server writes
				last = &goodbye{}
				_ = json.Unmarshal([]byte(line), last) // without a code it is a lost connection like any other
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
