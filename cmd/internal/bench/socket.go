package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"
)

// socket is the connection of one user. One goroutine may read and one may write.
type socket struct {
	user    string
	home    string       // the group that it is subscribed to when dial has returned
	closing *atomic.Bool // of the crowd: from here on an error is nobody's fault

	ws *websocket.Conn
	in []byte
}

// dial connects and returns when the server has welcomed the user and subscribed him.
func (s *socket) dial(ctx context.Context, dialer *websocket.Dialer, base, token string) error {
	//nolint:bodyclose // gorilla has read and closed it; what is left is a buffer
	ws, resp, err := dialer.DialContext(ctx, "ws"+strings.TrimPrefix(base, "http")+"/v1/ws",
		http.Header{"Authorization": {"Bearer " + token}})
	if errors.Is(err, websocket.ErrBadHandshake) {
		answer, _ := io.ReadAll(resp.Body) // what gorilla kept of it, from memory
		return refusedHTTP(base+"/v1/ws, user "+s.user, resp.StatusCode, answer)
	}
	if err != nil {
		return errorf(Down, "%s/v1/ws: %w", base, err)
	}
	s.ws = ws
	release := context.AfterFunc(ctx, func() { _ = ws.Close() })
	defer release()
	return s.enter(dialer.HandshakeTimeout)
}

func userToken(secret []byte, user string, expires time.Time) (string, error) {
	claims := jwt.RegisteredClaims{Subject: user, ExpiresAt: jwt.NewNumericDate(expires)}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
}

// object is one line of the server in full, for what comes seldom.
type object struct {
	ID         *int64
	OK         json.RawMessage
	Error      *struct{ Code, Message string }
	Event      string
	Subscribed int
}

func (s *socket) parse(line []byte) (o object, err error) {
	if err := json.Unmarshal(line, &o); err != nil {
		return o, errorf(Wrong, "user %s: the server wrote %.120q: %w", s.user, line, err)
	}
	return o, nil
}

// enter waits for welcome, and subscribes where the server has not done so.
func (s *socket) enter(timeout time.Duration) error {
	_ = s.ws.SetReadDeadline(time.Now().Add(timeout))
	welcomed, subscribed := false, false
	for !subscribed {
		frame, err := s.readFrame()
		if err != nil {
			return errorf(Down, "user %s: waiting for welcome: %w", s.user, err)
		}
		for line := range lines(frame) {
			o, err := s.parse(line)
			switch {
			case err != nil:
				return err
			case o.Error != nil:
				return refusal("subscribe", o.Error.Code, o.Error.Message)
			case o.Event == "welcome" && o.Subscribed >= 1, welcomed && o.OK != nil:
				subscribed = true
			case o.Event == "welcome":
				welcomed = true
				if err := s.write(fmt.Appendf(nil, `{"id":1,"op":"subscribe","group":%q}`, s.home)); err != nil {
					return err
				}
			}
		}
	}
	return s.ws.SetReadDeadline(time.Time{})
}

// odd takes a line that the hot path did not understand: an error, an event of no interest, or one with white space in
// it; compact is the latter without. This is for loads of a healthy server: whatever says that it is not, is an error.
func (s *socket) odd(line []byte, request string) (compact []byte, err error) {
	o, err := s.parse(line)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Compact(&b, line); err == nil && b.Len() < len(line) {
		return b.Bytes(), nil
	}
	switch {
	case o.Error != nil:
		return nil, refusal(request, o.Error.Code, o.Error.Message)
	case o.Event == "resync":
		return nil, errorf(Down, "user %s: the server unsubscribed the connection: %.200s", s.user, line)
	case o.Event == "message" || o.ID != nil || o.Event == "":
		return nil, errorf(Wrong, "user %s: the server wrote %.120q", s.user, line)
	}
	return nil, nil // other events are none of our business
}

func (s *socket) write(frame []byte) error {
	if err := s.ws.WriteMessage(websocket.TextMessage, frame); err != nil {
		return s.lost(err)
	}
	return nil
}

// readFrame returns the next frame; it is good until the next call. Unlike gorilla's ReadMessage it keeps its buffer.
func (s *socket) readFrame() ([]byte, error) {
	_, r, err := s.ws.NextReader()
	if err != nil {
		return nil, err
	}
	if s.in == nil {
		s.in = make([]byte, 0, 1024)
	}
	s.in = s.in[:0]
	for {
		n, err := r.Read(s.in[len(s.in):cap(s.in)])
		s.in = s.in[:len(s.in)+n]
		if errors.Is(err, io.EOF) {
			return s.in, nil
		}
		if err != nil {
			return nil, err
		}
		if len(s.in) == cap(s.in) {
			s.in = append(s.in, 0)[:len(s.in)]
		}
	}
}

// lost is the error of a read or write that failed; nil once the bench itself closes its connections.
func (s *socket) lost(err error) error {
	if s.closing.Load() {
		return nil
	}
	return errorf(Down, "user %s: connection lost: %w", s.user, err)
}

func (s *socket) close() {
	if s.ws == nil {
		return
	}
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = s.ws.WriteControl(websocket.CloseMessage, bye, time.Now().Add(time.Millisecond))
	_ = s.ws.Close()
}
