package client

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"time"
)

// session is a connection and what its objects mean. Its methods belong to the goroutine that reads.
type session struct {
	client   *Client
	conn     *conn
	beside   sync.WaitGroup // what goes on beside the reading
	welcomed bool
	user     string // of the welcome
}

// welcome is the first event.
type welcome struct {
	Conn           string `json:"conn"`
	User           string `json:"user"`
	Instance       string `json:"instance"`
	PingIntervalMS int64  `json:"ping_interval_ms"`
	Limits         struct {
		Page int `json:"page"`
	} `json:"limits"`
}

var messageEvent = []byte(`{"event":"message",`)

// take sorts what the server wrote: messages and the follower's replies go to the inbox, in this order; other replies
// straight to who waits for them. ctx ends with the connection.
func (s *session) take(ctx context.Context, object []byte) {
	if bytes.HasPrefix(object, messageEvent) {
		s.message(object)
		return
	}
	id, event := int64(-1), ""
	var r reply
	eachMember(object, func(name, value []byte) {
		switch string(name) {
		case "event":
			event, _ = unquote(value)
		case "id":
			if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
				id = n
			}
		case "ok":
			r.ok = value
		case "error":
			if r.err = new(Error); json.Unmarshal(value, r.err) != nil {
				r.err = errNoAnswer
			}
		}
	})
	switch {
	case event != "":
		s.event(ctx, event, object)
	case id >= 0:
		s.conn.answer(id, r)
	}
}

// message leaves a push that cannot be read to the gap it makes.
func (s *session) message(object []byte) {
	p, ok := parsePush(object)
	if !ok {
		return
	}
	f := s.client.follower
	s.client.inbox.message(&p, func() { f.missed(p.Group, p.prevSeq) })
}

func (s *session) event(ctx context.Context, name string, raw json.RawMessage) {
	f := s.client.follower
	switch name {
	case "message": // written in another order than usual
		s.message(raw)
		return
	case "welcome":
		s.welcome(raw)
	case "goodbye":
		_ = json.Unmarshal(raw, &s.conn.goodbye) // without a code it is a lost connection like any other
	case "token_expiring":
		s.beside.Go(func() { s.refresh(ctx) })
	case "resync":
		s.resync(raw)
	case "group":
		s.groupChanged(raw)
	}
	if f.cfg.OnEvent != nil {
		own := bytes.Clone(raw) // the frame it came in may hold much else
		s.client.inbox.event(len(own), func() { f.cfg.OnEvent(name, own) })
	}
}

// resync leaves it to the follower to subscribe again to groups that the server has dropped.
func (s *session) resync(raw json.RawMessage) {
	var event struct {
		Groups []struct {
			Group    string `json:"group"`
			AfterSeq *int64 `json:"after_seq"`
		} `json:"groups"`
	}
	if json.Unmarshal(raw, &event) != nil {
		return
	}
	for _, r := range event.Groups {
		after := int64(fromCursor)
		if r.AfterSeq != nil {
			after = *r.AfterSeq
		}
		s.client.inbox.resync(r.Group, after, s.client.follower.told)
	}
}

// groupChanged leaves it to the follower to follow a group that the user has got into.
func (s *session) groupChanged(raw json.RawMessage) {
	var event struct {
		Group  string `json:"group"`
		Change string `json:"change"`
		User   string `json:"user"`
	}
	if !s.client.cfg.All || json.Unmarshal(raw, &event) != nil {
		return
	}
	mine := event.User == "" || event.User == s.user
	if mine && (event.Change == "joined" || event.Change == "created") {
		s.client.inbox.joined(event.Group, s.client.follower.told)
	}
}

func (s *session) welcome(raw json.RawMessage) {
	var w welcome
	if json.Unmarshal(raw, &w) != nil || s.welcomed {
		return
	}
	s.welcomed, s.user = true, w.User
	if w.PingIntervalMS <= 0 {
		w.PingIntervalMS = (25 * time.Second).Milliseconds()
	}
	s.conn.setPingInterval(milliseconds(w.PingIntervalMS))
	c := s.client
	c.inbox.do(func() { c.follower.welcome(s.conn, w) })
	c.cfg.OnState(State{Connected: true, URL: s.conn.url, Conn: w.Conn, User: w.User, Instance: w.Instance})
	c.setConn(s.conn)
}

// refresh gives the connection a newer token. When that fails, the server closes it with 4002, and the next connection
// has a token of its own.
func (s *session) refresh(ctx context.Context) {
	token, err := s.client.cfg.Token(ctx)
	if err != nil {
		return
	}
	request, err := encodeRequest("refresh", map[string]string{"token": token})
	if err != nil {
		return
	}
	s.conn.ask(request, func(reply) {})
}
