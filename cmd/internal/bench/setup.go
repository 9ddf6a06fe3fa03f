package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
)

const (
	createsAtOnce = 16
	dialsAtOnce   = 64
	tokenSlack    = time.Hour // a token's life beside the measured time
)

// crowd is the groups and connections of a run, and what is wrong with what they were told.
type crowd struct {
	base       Base
	groups     []roster
	sockets    []*socket
	violations violations
	closing    atomic.Bool
}

// roster is a group with its members.
type roster struct {
	id      string
	members []string
}

// socket makes the connection of a user who is at home in a group; connect will dial it.
func (w *crowd) socket(user, home string) *socket {
	s := &socket{user: user, home: home, closing: &w.closing}
	w.sockets = append(w.sockets, s)
	return s
}

// plan says how the connections of a run are made.
type plan struct {
	readBuffer, writeBuffer int // bytes, of each connection; 0: gorilla's
	pool                    websocket.BufferPool
	lasts                   time.Duration // the run: tokens live longer
	entered                 func(i int)   // called when a connection is subscribed, by any goroutine; may be nil
}

// connect creates the groups and opens the connections. When it fails, none is left open.
func (w *crowd) connect(ctx context.Context, p plan) error {
	err := w.createGroups(ctx)
	if err == nil {
		err = w.dialAll(ctx, p)
	}
	return err
}

func (w *crowd) createGroups(ctx context.Context) error {
	client := w.client()
	defer client.CloseIdleConnections()
	return w.each(ctx, len(w.groups), createsAtOnce, func(ctx context.Context, i int) error {
		return w.createGroup(ctx, client, w.url(i)+"/v1/groups", w.groups[i])
	})
}

func (w *crowd) client() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: createsAtOnce}, Timeout: w.base.Timeout}
}

func (w *crowd) url(i int) string { return w.base.URLs[i%len(w.base.URLs)] }

// each calls f for 0 to n-1, several at once. When one fails or ctx ends, the connections are closed.
func (w *crowd) each(ctx context.Context, n, atOnce int, f func(ctx context.Context, i int) error) error {
	tasks, working := errgroup.WithContext(ctx)
	tasks.SetLimit(atOnce)
	for i := range n {
		tasks.Go(func() error { return f(working, i) })
	}
	err := tasks.Wait()
	if err != nil {
		w.closeAll()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (w *crowd) createGroup(ctx context.Context, client *http.Client, base string, g roster) error {
	first := min(len(g.members), membersACall)
	err := w.post(ctx, client, base, map[string]any{"group": g.id, "type": "group", "name": g.id, "members": g.members[:first]})
	for rest := g.members[first:]; err == nil && len(rest) > 0; rest = rest[min(len(rest), membersACall):] {
		err = w.post(ctx, client, base+"/"+g.id+"/members", map[string]any{"members": rest[:min(len(rest), membersACall)]})
	}
	return err
}

func (w *crowd) post(ctx context.Context, client *http.Client, url string, body any) error {
	payload, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(payload))
	if err != nil {
		return &Error{Kind: Setup, Err: err}
	}
	req.Header.Set("Authorization", "Bearer "+w.base.APIKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return &Error{Kind: Down, Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return &Error{Kind: Down, Err: err}
	}
	if resp.StatusCode/100 != 2 {
		return refusedHTTP("POST "+url, resp.StatusCode, answer)
	}
	return nil
}

func refusedHTTP(what string, status int, answer []byte) error {
	var problem struct{ Code, Detail string }
	if err := json.Unmarshal(answer, &problem); err == nil && problem.Code != "" {
		return refusal(what, problem.Code, problem.Detail)
	}
	if status >= 500 {
		return errorf(Down, "%s: HTTP %d", what, status)
	}
	return errorf(Setup, "%s: HTTP %d", what, status)
}

func (w *crowd) dialAll(ctx context.Context, p plan) error {
	dialer := &websocket.Dialer{
		HandshakeTimeout: w.base.Timeout, Subprotocols: []string{"hearth.v1"},
		ReadBufferSize: p.readBuffer, WriteBufferSize: p.writeBuffer, WriteBufferPool: p.pool,
	}
	expires := time.Now().Add(tokenSlack + p.lasts)
	return w.each(ctx, len(w.sockets), dialsAtOnce, func(ctx context.Context, i int) error {
		s := w.sockets[i]
		token, err := userToken(w.base.Secret, s.user, expires)
		if err != nil {
			return &Error{Kind: Setup, Err: err}
		}
		if err := s.dial(ctx, dialer, w.url(i), token); err != nil {
			return err
		}
		if p.entered != nil {
			p.entered(i)
		}
		return nil
	})
}

// closeAll may be called more than once, and while the connections are in use.
func (w *crowd) closeAll() {
	w.closing.Store(true)
	for _, s := range w.sockets {
		s.close()
	}
}

// brokenDown puts first what matters most: that the run was interrupted, then that it was wrong.
func (w *crowd) brokenDown(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if f := w.violations.findings(); f.Violations > 0 {
		return errorf(Wrong, "%d violations, the first: %s; then %w", f.Violations, f.Samples[0], err)
	}
	return err
}
